"""Activity of queues in SITEDATA: what pilots asked for, and how many jobs run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pandaserver.taskbuffer.labels import ANALYSIS_LABELS
from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.transaction import Transaction

_TABLE: Final = "ATLAS_PANDAMETA.SiteData"

#: Rows about a queue as a whole. Every other flag is the name of a server, and its row what that server counted.
PRODUCTION: Final = "production"
ANALYSIS: Final = "analysis"

#: Window of the rows that tell how many jobs run.
AT_PRESENT: Final = 0

_FLAG_LIMIT: Final = 30
_SITE_LIMIT: Final = 60

FORGET: Final = """
    UPDATE ATLAS_PANDAMETA.SiteData SET getJob = 0, updateJob = 0, nWN = 0, lastMod = CURRENT_TIMESTAMP
    WHERE flag = :flag AND hours = :hours AND (getJob > 0 OR updateJob > 0)
"""

#: Nodes talk to several servers, so the largest count of one server is nearer to the truth than the sum.
SUMS: Final = """
    SELECT site, SUM(getJob), SUM(updateJob), MAX(nWN) FROM ATLAS_PANDAMETA.SiteData
    WHERE hours = :hours AND flag NOT IN ('production', 'analysis')
      AND lastMod > CURRENT_TIMESTAMP - :hours * INTERVAL '1' HOUR
    GROUP BY site
    ORDER BY site
"""

RUNNING: Final = """
    SELECT computingSite, prodSourceLabel, COUNT(*) FROM ATLAS_PANDA.jobsActive4
    WHERE jobStatus = 'running' AND computingSite IS NOT NULL
    GROUP BY computingSite, prodSourceLabel
    ORDER BY computingSite, prodSourceLabel
"""

NONE_RUNS: Final = """
    UPDATE ATLAS_PANDAMETA.SiteData SET running = 0, lastMod = CURRENT_TIMESTAMP
    WHERE hours = :hours AND flag IN ('production', 'analysis') AND running > 0
"""

MISPLACED: Final = """
    SELECT PandaID, jobStatus FROM ATLAS_PANDA.jobsDefined4
    WHERE jobStatus NOT IN ('pending', 'waiting', 'defined', 'assigned')
    UNION ALL
    SELECT d.PandaID, a.jobStatus FROM ATLAS_PANDA.jobsDefined4 d JOIN ATLAS_PANDA.jobsActive4 a
        ON a.PandaID = d.PandaID
    UNION ALL
    SELECT d.PandaID, a.jobStatus FROM ATLAS_PANDA.jobsDefined4 d JOIN ATLAS_PANDA.jobsArchived4 a
        ON a.PandaID = d.PandaID
    UNION ALL
    SELECT PandaID, jobStatus FROM ATLAS_PANDA.jobsWaiting4
    ORDER BY PandaID
"""


JUMBO_JOBS: Final = "SELECT COUNT(*) FROM ATLAS_PANDA.jobsActive4 WHERE eventService = 4"

STUCK_MERGES: Final = """
    SELECT COUNT(*) FROM ATLAS_PANDA.jobsActive4
    WHERE jobStatus = 'merging' AND prodSourceLabel = 'managed' AND COALESCE(eventService, 0) = 0
      AND modificationTime < CURRENT_TIMESTAMP - :minutes * INTERVAL '1' MINUTE
"""


@dataclass(frozen=True, slots=True)
class SiteRequests:
    """What one server saw of a queue's pilots in a window."""

    get_job: int
    update_job: int
    nodes: int


@operation(timeout=120)
def update_site_requests(tx: Transaction, host: str, hours: int, counts: Mapping[str, SiteRequests]) -> int:
    """Store what this server counted, and the sums of all servers under ``production`` and ``analysis``."""
    flag = host[:_FLAG_LIMIT]
    tx.change(FORGET, flag=flag, hours=hours)
    for site, found in sorted(counts.items()):
        key = {"site": site[:_SITE_LIMIT], "flag": flag, "hours": hours}
        tx.upsert(_TABLE, key, _counted(tx, found.get_job, found.update_job, found.nodes))
    sums = tx.rows(SUMS, hours=hours)
    for site, get_job, update_job, nodes in sums:
        for whole in (PRODUCTION, ANALYSIS):
            key = {"site": site, "flag": whole, "hours": hours}
            tx.upsert(_TABLE, key, _counted(tx, int(get_job), int(update_job), int(nodes or 0)))
    return len(sums)


@operation(timeout=120)
def update_running_counts(tx: Transaction) -> int:
    """Store how many jobs run at each queue, of users and of production; return the number of rows."""
    running: dict[tuple[str, str], int] = {}
    for site, label, number in tx.rows(RUNNING):
        key = (site[:_SITE_LIMIT], ANALYSIS if label in ANALYSIS_LABELS else PRODUCTION)
        running[key] = running.get(key, 0) + int(number)
    tx.change(NONE_RUNS, hours=AT_PRESENT)
    for (site, flag), number in sorted(running.items()):
        values = {"running": number, "lastMod": tx.now()}
        tx.upsert(_TABLE, {"site": site, "flag": flag, "hours": AT_PRESENT}, values)
    return len(running)


@operation(timeout=60, repeatable=True)
def misplaced_jobs(tx: Transaction) -> list[tuple[int, str]]:
    """Return jobs that are where no transition leaves any: in the wrong table, or in two."""
    return [(int(job_id), status) for job_id, status in tx.rows(MISPLACED)]


@operation(timeout=60, repeatable=True)
def stuck_merges(tx: Transaction, minutes: float) -> int:
    """Return how many production jobs have waited for that long for their outputs to be merged."""
    return int(tx.value(STUCK_MERGES, minutes=minutes))


def _counted(tx: Transaction, get_job: int, update_job: int, nodes: int) -> dict[str, object]:
    return {"getJob": get_job, "updateJob": update_job, "nWN": nodes, "lastMod": tx.now()}
