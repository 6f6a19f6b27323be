"""Time limits: lost heartbeats, jobs that nobody moves, and files that nobody fetched."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from time import time
from typing import Any, Final

from pandacommon.pandalogger.LogWrapper import LogWrapper
from pandacommon.pandalogger.PandaLogger import PandaLogger
from pandaserver.daemons.environment import configuration, required, site_mapper
from pandaserver.daemons.sections import run_sections
from pandaserver.dataservice.Expirer import expire
from pandaserver.jobdispatcher.Watcher import Watcher
from pandaserver.taskbuffer.expiry import expiry_rules
from pandaserver.taskbuffer.lost_jobs import LostRule, heartbeat_rules, production_rule, workflow_rules
from pandaserver.taskbuffer.SiteSpec import SiteSpec
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer

_log = PandaLogger().getLogger("copyArchive")

#: Hours, unless the table CONFIG says otherwise.
HEARTBEAT_HOURS: Final = 2.0
HOLDING_HOURS: Final = 48.0
DEFINED_HOURS: Final = 4.0
WAITING_HOURS: Final = 1.0

CACHE_DAYS: Final = 7.0
CORE_DUMPS: Final = "core.[0-9]*"
_PER_WORKFLOW: Final = "HEARTBEAT_TIMEOUT_"


def main(argv: Sequence[Any] = (), tbuf: TaskBuffer | None = None, **_: Any) -> None:  # noqa: ARG001
    """Apply every limit once."""
    tbuf = required(tbuf)
    server = configuration().server
    run_sections(
        LogWrapper(_log, None),
        {
            "lost": lambda: _fail_lost(tbuf),
            "expired": lambda: _expire(tbuf),
            "cached files": lambda: remove_files(server.cache_dir.glob("*"), CACHE_DAYS),
            "core dumps": lambda: remove_files(server.logdir.parent.glob(CORE_DUMPS), 0),
        },
    )


def _fail_lost(tbuf: TaskBuffer) -> int:
    timeouts, heartbeats = tbuf.getConfigValues("job_timeout"), tbuf.getConfigValues("watcher")
    return Watcher(tbuf).run(lost_rules(timeouts, heartbeats, site_mapper(tbuf).sites))


def _expire(tbuf: TaskBuffer) -> int:
    timeouts = tbuf.getConfigValues("job_timeout")
    rules = expiry_rules(hours(timeouts, "defined", DEFINED_HOURS), hours(timeouts, "waiting", WAITING_HOURS))
    return expire(tbuf, rules)


def lost_rules(
    timeouts: Mapping[str, Any], heartbeats: Mapping[str, Any], sites: Mapping[str, SiteSpec]
) -> list[LostRule]:
    """Return the heartbeat rules. A workflow with a limit of its own leaves the general rule for production.

    Queues that are paused leave it, too: nobody expects heartbeats from there.
    """
    by_workflow: defaultdict[str, list[str]] = defaultdict(list)
    for site in sites.values():
        if site.workflow and f"{_PER_WORKFLOW}{site.workflow}" in heartbeats and site.status != "paused":
            by_workflow[site.workflow].append(site.sitename)
    paused = [site.sitename for site in sites.values() if site.status == "paused"]
    special = [name for names in by_workflow.values() for name in names]
    return [
        *heartbeat_rules(
            float(heartbeats.get(f"{_PER_WORKFLOW}analysis", HEARTBEAT_HOURS)),
            hours(timeouts, "holding", HOLDING_HOURS),
        ),
        production_rule(
            float(heartbeats.get(f"{_PER_WORKFLOW}production", HEARTBEAT_HOURS)), tuple(sorted({*special, *paused}))
        ),
        *(
            rule
            for workflow, names in sorted(by_workflow.items())
            for rule in workflow_rules(workflow, float(heartbeats[f"{_PER_WORKFLOW}{workflow}"]), sorted(names))
        ),
    ]


def hours(timeouts: Mapping[str, Any], name: str, default: float) -> float:
    """Return a limit: ``TIMEOUT_<name>_hours``, or the name without unit that installations brought along."""
    return float(timeouts.get(f"TIMEOUT_{name}_hours", timeouts.get(f"TIMEOUT_{name}", default)))


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
