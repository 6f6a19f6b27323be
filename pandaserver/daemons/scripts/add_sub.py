"""Frequent chores: jobs where none should be, what pilots asked for, how many jobs run, co-jumbo jobs.

Earlier servers also started set-ups again whose files ``set.*`` were left behind. Here a set-up leaves no file: jobs
that wait for one are found in the database by ``setup_lost_jobs``.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from datetime import datetime, time, timedelta
from typing import Any, Final

from pandacommon.pandalogger.LogWrapper import LogWrapper
from pandacommon.pandalogger.PandaLogger import PandaLogger
from pandacommon.pandautils.PandaUtils import naive_utcnow
from pandaserver.config.settings import ServerSettings
from pandaserver.daemons.environment import configuration, required
from pandaserver.daemons.sections import run_sections
from pandaserver.dataservice.pilot_counts import count_requests
from pandaserver.taskbuffer.db_proxy_mods.site_activity import SiteRequests
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer

_log = PandaLogger().getLogger("add_sub")

#: Hours over which requests of pilots are counted.
WINDOWS: Final = (3, 1)

#: Logs are rotated and compressed around this moment (UTC), so they are not counted.
ROTATION: Final = time(3, 2)
QUIET: Final = timedelta(minutes=5)

#: Minutes after which a co-jumbo job should have been looked at.
CO_JUMBO_MINUTES: Final = 30.0

#: Co-jumbo jobs that one run ends at most.
CO_JUMBO_JOBS: Final = 500

#: Jobs that one line names.
MOST_NAMES: Final = 20


def main(argv: Sequence[Any] = (), tbuf: TaskBuffer | None = None, **_: Any) -> None:  # noqa: ARG001
    """Do each once."""
    tbuf, log, config = required(tbuf), LogWrapper(_log, None), configuration()
    run_sections(
        log,
        {
            "misplaced": lambda: report_misplaced(tbuf, log),
            "pilot counts": lambda: count_pilots(tbuf, log, naive_utcnow()),
            "running counts": lambda: count_running(tbuf, config.server, naive_utcnow()),
            "co-jumbo": lambda: tbuf.finishCoJumboJobs(CO_JUMBO_MINUTES, CO_JUMBO_JOBS),
        },
    )


def report_misplaced(tbuf: TaskBuffer, log: LogWrapper) -> int:
    """Tell of jobs that no transition can have left where they are. Nothing is deleted: somebody has to look."""
    found = tbuf.findMisplacedJobs()
    if found:
        names = ", ".join(f"{job_id} ({status})" for job_id, status in found[:MOST_NAMES])
        log.error(f"misplaced jobs n={len(found)}: in the wrong table, or in two: {names}")
    return len(found)


def count_pilots(tbuf: TaskBuffer, log: LogWrapper, now: datetime) -> int:
    """Count the requests of pilots to this machine, and store them; return the number of queues."""
    if is_rotation(now):
        log.info("pilot counts skipped: logs are being rotated")
        return 0
    queues = 0
    for hours, counts in count_requests(configuration().logger.logdir, now, WINDOWS).items():
        found = {site: SiteRequests(n.get_job, n.update_job, len(n.nodes)) for site, n in counts.items()}
        tbuf.updateSiteRequests(host_name(), hours, found)
        queues = max(queues, len(found))
    return queues


def is_rotation(now: datetime) -> bool:
    """Tell whether logs may be on the move."""
    return abs(now - datetime.combine(now.date(), ROTATION)) <= QUIET


def count_running(tbuf: TaskBuffer, server: ServerSettings, now: datetime) -> int:
    """Count running jobs, if it is this machine's turn."""
    return tbuf.updateRunningCounts() if is_our_turn(server, now) else 0


def is_our_turn(server: ServerSettings, now: datetime) -> bool:
    """Tell whose turn it is among several machines: they change every ``nrun_interval`` minutes."""
    return (now.minute // server.nrun_interval) % server.nrun_hosts == server.nrun_snum


def host_name() -> str:
    """Return the name under which this machine keeps its counts."""
    return socket.gethostname().partition(".")[0]
