"""Global shares: which leaf deserves the next job, from statistics that a daemon script refreshes.

A request never counts jobs. What a connection has given since the last statistics is added to them, so that the shares
alternate also within a minute.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from pandaserver.taskbuffer.db_proxy_mods.remembered import remembered
from pandaserver.taskbuffer.JobSpec import JobSpec
from pandaserver.taskbuffer.share_order import Standing
from pandaserver.taskbuffer.sharing import ShareNode, share_tree
from pandaserver.taskbuffer.transaction import Transaction

#: Seconds for which a connection trusts what it has read.
TREE_LIFETIME: Final = 3600.0
USAGE_LIFETIME: Final = 10.0
#: As long as the statistics: every queue that a connection serves costs it a statement then.
VIEW_LIFETIME: Final = 60.0

_USAGE: Final = "share usage"

SHARES: Final = """
    SELECT name, value, parent, queue_ID
    FROM ATLAS_PANDA.Global_Shares
"""

EXECUTING: Final = """
    SELECT gshare, SUM(HS), MAX(ts) FROM ATLAS_PANDA.Jobs_Share_Stats
    WHERE jobStatus IN ('sent', 'running')
    GROUP BY gshare
"""

#: Of one queue only: all queues together may have a hundred thousand rows.
AT_SITE: Final = """
    SELECT gshare, jobStatus, SUM(nJobs), SUM(COALESCE(prorated_mem_avg, 0) * nJobs)
    FROM ATLAS_PANDA.Jobs_Share_Stats
    WHERE computingSite = :site AND jobStatus IN ('activated', 'starting', 'running')
    GROUP BY gshare, jobStatus
"""


@dataclass(frozen=True, slots=True)
class QueueView:
    """What statistics know of one queue."""

    waiting: frozenset[str]  # leaves with jobs waiting
    memory: float  # MB per core that jobs which run have asked for, on average; 0 if none runs


@dataclass(slots=True)
class Usage:
    """One snapshot of the statistics, and what this connection has given since."""

    standing: Standing
    taken: datetime | None  # time of the snapshot, None while nothing runs
    given: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def give(self, leaf: str, power: float) -> None:
        """Count a job as executing before the statistics do."""
        self.given[leaf] += power
        self.standing.add(leaf, power)


def leaves_in_order(tx: Transaction, site: str) -> Iterator[str]:
    """Yield the leaves that have jobs waiting at that queue, the most under-used first.

    What is read lives for seconds in the memory of the connection: a leaf that is missing here only loses its rank,
    because dispatch looks at the whole queue in the end.
    """
    waiting = _view(tx, site).waiting
    # One share at a queue is the same as none, and costs a search less.
    return _usage(tx).standing.in_order(waiting) if len(waiting) > 1 else iter(())


def all_leaves_in_order(tx: Transaction) -> list[str]:
    """Return all leaves, those of the most under-used branch first."""
    standing = _usage(tx).standing
    return list(standing.in_order(standing.leaves))


def mean_memory(tx: Transaction, site: str) -> float:
    """Return what a core of the jobs that run at a queue has asked for, in MB, on average; 0 if none runs."""
    return _view(tx, site).memory


def count_given(tx: Transaction, jobs: Iterable[JobSpec]) -> None:
    """Let shares use what has just been given, until the statistics know it; costs no statement."""
    kept = tx.memory.get(_USAGE)
    if kept is None:
        return
    for job in jobs:
        kept[1].give(job.gshare or "", job_power(job.hs06, job.coreCount))


def job_power(hs06: int | None, cores: int | None) -> float:
    """Return what a job uses of its share: its HS06, or its cores where the queue's core power is unknown."""
    return float(hs06 if hs06 and hs06 > 0 else max(cores or 1, 1))


def _usage(tx: Transaction) -> Usage:
    return remembered(tx, _USAGE, USAGE_LIFETIME, _read_usage)


def _view(tx: Transaction, site: str) -> QueueView:
    return remembered(tx, f"shares at {site}", VIEW_LIFETIME, lambda tx: _read_view(tx, site))


def read_tree(tx: Transaction) -> ShareNode:
    """Return the share tree as it is now."""
    return share_tree(tx.dicts(SHARES))


def _read_usage(tx: Transaction) -> Usage:
    rows = tx.rows(EXECUTING)
    executing = {share: float(power or 0) for share, power, _ in rows}
    taken = max((time for _, _, time in rows), default=None)
    usage = Usage(Standing(remembered(tx, "share tree", TREE_LIFETIME, read_tree), executing), taken)
    kept = tx.memory.get(_USAGE)
    if kept and taken is not None and kept[1].taken == taken:  # the same snapshot again
        for leaf, power in kept[1].given.items():
            usage.give(leaf, power)
    return usage


def _read_view(tx: Transaction, site: str) -> QueueView:
    rows = tx.rows(AT_SITE, site=site)
    waiting = frozenset(share for share, status, jobs, _ in rows if status == "activated" and jobs)
    running = [(float(jobs or 0), float(total or 0)) for _, status, jobs, total in rows if status != "activated"]
    jobs, megabytes = sum(n for n, _ in running), sum(total for _, total in running)
    return QueueView(waiting, megabytes / jobs if jobs else 0.0)
