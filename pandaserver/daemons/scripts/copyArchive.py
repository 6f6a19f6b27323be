"""Time limits: lost heartbeats, jobs that nobody moves or that would begin sooner elsewhere, and old files."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from os import environ
from pathlib import Path
from time import time
from typing import Any, Final

from pandacommon.pandalogger.LogWrapper import LogWrapper
from pandacommon.pandalogger.PandaLogger import PandaLogger
from pandaserver.config.plugins import plugin_for
from pandaserver.daemons.environment import configuration, required, site_mapper
from pandaserver.daemons.sections import Section, run_sections
from pandaserver.dataservice.Expirer import expire
from pandaserver.dataservice.Rebroker import Rebroker
from pandaserver.dataservice.sandbox_check import asking, check_sandboxes, keep_recent
from pandaserver.dataservice.Setupper import Setupper
from pandaserver.jobdispatcher.Watcher import Watcher
from pandaserver.taskbuffer import rebrokerage
from pandaserver.taskbuffer.expiry import expiry_rules, old_rules
from pandaserver.taskbuffer.lost_jobs import (
    LostRule,
    heartbeat_rules,
    production_rule,
    too_old_rule,
    workflow_rules,
)
from pandaserver.taskbuffer.SiteSpec import SiteSpec
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from pandaserver.taskbuffer.time_limits import COMPONENT, HOUR, heartbeat_hours, limits, unusable

_log = PandaLogger().getLogger("copyArchive")

#: Hours, unless the table CONFIG says otherwise.
HEARTBEAT_HOURS: Final = 2.0

CACHE_DAYS: Final = 7.0
JUMBO_JOBS: Final = 500  # closed by one run at most
CORE_DUMPS: Final = "core.[0-9]*"
WATCHER: Final = "watcher"


def main(argv: Sequence[Any] = (), tbuf: TaskBuffer | None = None, **_: Any) -> None:  # noqa: ARG001
    """Apply every limit once."""
    tbuf = required(tbuf)
    log = LogWrapper(_log, None)
    for component, judge in ((COMPONENT, unusable), (WATCHER, unusable), (rebrokerage.COMPONENT, rebrokerage.unusable)):
        for name in judge(tbuf.getConfigValues(component)):
            log.warning(f"CONFIG {component}/{name} is no number above 0: the default holds")
    for problem in tbuf.checkRetryRules():
        log.warning(f"retry rules: {problem}")
    run_sections(log, {**_of_jobs(tbuf, log), **_of_files(tbuf)})


def _of_jobs(tbuf: TaskBuffer, log: LogWrapper) -> dict[str, Section]:
    sites = site_mapper(tbuf).sites
    return {
        "merging": lambda: _tell_stuck_merges(tbuf, log),
        "lost": lambda: _fail_lost(tbuf),
        "fast rebrokered": lambda: Rebroker(tbuf, sites).fast(),
        "expired": lambda: _expire(tbuf, sites),
        "rebrokered": lambda: Rebroker(tbuf, sites).users(),
        "too old": lambda: _end_old(tbuf),
        "jumbo": lambda: tbuf.cleanupJumboJobs(JUMBO_JOBS),
    }


def _of_files(tbuf: TaskBuffer) -> dict[str, Section]:
    server = configuration().server
    host = server.sandboxHostname or server.pserverhost
    authorities = environ.get("X509_CERT_DIR")
    return {
        "kept files": lambda: keep_recent(tbuf, host, server.cache_dir),
        "cached files": lambda: remove_files(server.cache_dir.glob("*"), CACHE_DAYS),
        "core dumps": lambda: remove_files(server.logdir.parent.glob(CORE_DUMPS), 0),
        "sandboxes": lambda: check_sandboxes(
            tbuf, server.sandbox_check_url, asking(Path(authorities) if authorities else None)
        ),
    }


def _fail_lost(tbuf: TaskBuffer) -> int:
    timeouts, heartbeats = tbuf.getConfigValues(COMPONENT), tbuf.getConfigValues(WATCHER)
    return Watcher(tbuf).run(lost_rules(timeouts, heartbeats, site_mapper(tbuf).sites))


def _expire(tbuf: TaskBuffer, sites: Mapping[str, SiteSpec]) -> int:
    plugins = configuration().server.setupper_plugins
    setupper = Setupper(tbuf, site_mapper(tbuf), lambda vo: plugin_for(plugins, vo))
    return expire(tbuf, expiry_rules(limits(tbuf.getConfigValues(COMPONENT)), fixed_queues(sites)), setupper.set_up)


def _end_old(tbuf: TaskBuffer) -> int:
    """Tell jobs that are too old to end, and fail those that nobody has heard of for as long."""
    found = limits(tbuf.getConfigValues(COMPONENT))
    return expire(tbuf, old_rules(found)) + Watcher(tbuf).run([too_old_rule(found["too_old"])])


def _tell_stuck_merges(tbuf: TaskBuffer, log: LogWrapper) -> int:
    """Tell about jobs whose outputs wait for a merge: the task layer makes merge jobs, and ends them."""
    stuck = tbuf.countStuckMerges(limits(tbuf.getConfigValues(COMPONENT))["merging"])
    if stuck:
        log.warning(f"{stuck} production jobs are stuck in merging: ending them needs the task layer")
    return stuck


def fixed_queues(sites: Mapping[str, SiteSpec]) -> tuple[str, ...]:
    """Return the queues from which jobs are not moved: paused ones, and those whose description forbids it."""
    fixed = (site.sitename for site in sites.values() if site.status == "paused" or site.has_flag("disableReassign"))
    return tuple(sorted(fixed))


def lost_rules(
    timeouts: Mapping[str, Any], heartbeats: Mapping[str, Any], sites: Mapping[str, SiteSpec]
) -> list[LostRule]:
    """Return the heartbeat rules. A workflow with a limit of its own leaves the general rule for production.

    Queues that are paused leave it, too: nobody expects heartbeats from there.
    """
    found, silence = limits(timeouts), heartbeat_hours(heartbeats)
    by_workflow: defaultdict[str, list[str]] = defaultdict(list)
    for site in sites.values():
        if site.workflow in silence and site.status != "paused":
            by_workflow[site.workflow].append(site.sitename)
    paused = [site.sitename for site in sites.values() if site.status == "paused"]
    special = [name for names in by_workflow.values() for name in names]
    return [
        *heartbeat_rules(silence.get("analysis", HEARTBEAT_HOURS), found["holding"] / HOUR, found),
        production_rule(silence.get("production", HEARTBEAT_HOURS), tuple(sorted({*special, *paused}))),
        *(
            rule
            for workflow, names in sorted(by_workflow.items())
            for rule in workflow_rules(workflow, silence[workflow], sorted(names))
        ),
    ]


def remove_files(paths: Iterable[Path], days: float) -> int:
    """Remove plain files that were not touched for that many days; return how many."""
    removed = 0
    for path in paths:
        if _is_old(path, days):
            path.unlink(missing_ok=True)
            removed += 1
    return removed


def _is_old(path: Path, days: float) -> bool:
    try:
        return path.is_file() and not path.is_symlink() and time() - path.stat().st_mtime > days * 86400
    except FileNotFoundError:
        return False
