"""Metrics for brokerage: what they are made of, and where they are kept."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pandaserver.taskbuffer.db_proxy_mods.share import SHARES
from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.sharing import share_tree
from pandaserver.taskbuffer.transaction import Transaction

#: Stands in the keys of a metric that is of no queue, or of no share; part of a key, so it is never NULL.
NONE: Final = "NULL"

#: Jobs whose waiting times are looked at.
MOST_WAITS: Final = 100_000

_CORES: Final = "CASE WHEN coreCount > 0 THEN coreCount ELSE 1 END"

SHARE_USE: Final = """
    SELECT gshare, jobStatus, SUM(HS), SUM(nJobs) FROM ATLAS_PANDA.Jobs_Share_Stats
    GROUP BY gshare, jobStatus
"""

USER_JOBS: Final = f"""
    SELECT prodUserName, computingSite, gshare, jobStatus, COUNT(*), SUM({_CORES}) FROM ATLAS_PANDA.jobsActive4
    WHERE prodSourceLabel IN ('user', 'panda') AND prodUserName IS NOT NULL
    GROUP BY prodUserName, computingSite, gshare, jobStatus
"""

MERGE_WAITS: Final = tuple(
    f"""
    SELECT computingSite, creationTime, startTime, jobStatus FROM ATLAS_PANDA.{table}
    WHERE processingType = 'pmerge' AND prodSourceLabel IN ('user', 'panda') AND computingSite IS NOT NULL
      AND {moment} > CURRENT_TIMESTAMP - :hours * INTERVAL '1' HOUR
    ORDER BY PandaID DESC FETCH FIRST :n ROWS ONLY
"""
    for table, moment in (("jobsActive4", "creationTime"), ("jobsArchived4", "modificationTime"))
)

SITE_RESULTS: Final = """
    SELECT computingSite, jobStatus, COUNT(*) FROM ATLAS_PANDA.jobsArchived4
    WHERE modificationTime > CURRENT_TIMESTAMP - :hours * INTERVAL '1' HOUR
      AND prodSourceLabel IN ('user', 'panda') AND jobStatus IN ('finished', 'failed') AND computingSite IS NOT NULL
    GROUP BY computingSite, jobStatus
"""

LIVE_TASKS: Final = """
    SELECT jediTaskID, MIN(prodUserName), MIN(gshare) FROM ATLAS_PANDA.jobsActive4
    WHERE jediTaskID IS NOT NULL AND prodSourceLabel IN ('user', 'panda')
    GROUP BY jediTaskID
    ORDER BY jediTaskID
"""

FORGET_METRIC: Final = "DELETE FROM ATLAS_PANDA.Metrics WHERE metric = :metric AND timestamp < :now"

READ_METRIC: Final = """
    SELECT computingSite, gshare, value_json, timestamp FROM ATLAS_PANDA.Metrics
    WHERE metric = :metric
    ORDER BY computingSite, gshare
"""

FORGET_EVALUATIONS: Final = """
    DELETE FROM ATLAS_PANDA.Task_Evaluation
    WHERE metric = :metric AND timestamp < CURRENT_TIMESTAMP - :minutes * INTERVAL '1' MINUTE
"""


@dataclass(frozen=True, slots=True)
class ShareUse:
    """A leaf of the tree of shares: its part of everything, what it uses and what waits, in HS06."""

    name: str
    percent: float
    running: float
    queued: float


@dataclass(frozen=True, slots=True)
class UserJobs:
    """Live jobs of a user in one status."""

    user: str
    site: str | None
    gshare: str | None
    status: str
    jobs: int
    cores: int


@dataclass(frozen=True, slots=True)
class MergeWait:
    """How long a merge job waited, or waits; ``start`` None: it has not begun."""

    site: str
    creation: datetime
    start: datetime | None
    status: str


@dataclass(frozen=True, slots=True)
class LiveTask:
    """A task with jobs in the queue."""

    id: int
    user: str | None
    gshare: str | None


@dataclass(frozen=True, slots=True)
class MetricRow:
    """One value of a metric; ``site`` and ``share`` say what it is of."""

    value: Mapping[str, Any]
    site: str = NONE
    share: str = NONE


@operation(timeout=30)
def lock_metric(tx: Transaction, component: str, owner: str, period: float) -> bool:
    """Record that somebody computes a metric now, unless it was computed less than ``period`` seconds ago."""
    return tx.lock_process(component, owner, period=period)


@operation(timeout=60)
def store_metric(tx: Transaction, metric: str, rows: Sequence[MetricRow]) -> int:
    """Replace a metric in one transaction; what no longer has a value goes."""
    now = tx.now()
    for row in sorted(rows, key=lambda row: (row.site, row.share)):
        key = {"computingSite": row.site[:128], "gshare": row.share[:32], "metric": metric}
        tx.upsert("ATLAS_PANDA.Metrics", key, {"value_json": json.dumps(row.value), "timestamp": now})
    tx.change(FORGET_METRIC, metric=metric, now=now)
    return len(rows)


@operation(timeout=60, repeatable=True)
def get_metric(tx: Transaction, metric: str) -> list[MetricRow]:
    """Return the values of a metric."""
    return [
        MetricRow(json.loads(text or "{}"), site, share) for site, share, text, _ in tx.rows(READ_METRIC, metric=metric)
    ]


@operation(timeout=60)
def store_evaluations(
    tx: Transaction, metric: str, values: Mapping[int, Mapping[str, Any]], keep_minutes: float
) -> int:
    """Store what tasks are worth, and forget those that were not evaluated for so many minutes; return how many."""
    now = tx.now()
    for task, value in sorted(values.items()):
        key = {"jediTaskID": task, "metric": metric}
        tx.upsert("ATLAS_PANDA.Task_Evaluation", key, {"value_json": json.dumps(value), "timestamp": now})
    return tx.change(FORGET_EVALUATIONS, metric=metric, minutes=keep_minutes)


@operation(timeout=60, repeatable=True)
def share_use(tx: Transaction) -> list[ShareUse]:
    """Return what each share uses and has waiting, in tree order."""
    running: dict[str, float] = {}
    queued: dict[str, float] = {}
    for name, status, hs, _jobs in tx.rows(SHARE_USE):
        where = running if status in ("running", "sent", "starting") else queued if status == "activated" else {}
        where[name] = where.get(name, 0.0) + float(hs or 0)
    root = share_tree(tx.dicts(SHARES))
    return [
        ShareUse(leaf.name, leaf.percent, running.get(leaf.name, 0.0), queued.get(leaf.name, 0.0))
        for leaf in root.leaves()
        if leaf is not root
    ]


@operation(timeout=120, repeatable=True)
def user_jobs(tx: Transaction) -> list[UserJobs]:
    """Return the live jobs of users, counted."""
    return [
        UserJobs(user, site, gshare, status, int(n), int(cores))
        for user, site, gshare, status, n, cores in tx.rows(USER_JOBS)
    ]


@operation(timeout=120, repeatable=True)
def merge_waits(tx: Transaction, hours: float) -> list[MergeWait]:
    """Return the merge jobs of users that ended, or came, within so many hours."""
    return [MergeWait(*row) for text in MERGE_WAITS for row in tx.rows(text, hours=hours, n=MOST_WAITS)]


@operation(timeout=120, repeatable=True)
def site_results(tx: Transaction, hours: float) -> dict[str, dict[str, int]]:
    """Return how many jobs of users finished and failed at each queue within so many hours."""
    found: dict[str, dict[str, int]] = {}
    for site, status, number in tx.rows(SITE_RESULTS, hours=hours):
        found.setdefault(site, {})[status] = int(number)
    return found


@operation(timeout=120, repeatable=True)
def live_tasks(tx: Transaction) -> list[LiveTask]:
    """Return the tasks of users that have active jobs."""
    return [LiveTask(int(task), user, gshare) for task, user, gshare in tx.rows(LIVE_TASKS)]
