"""Global shares: which leaf deserves the next job, from statistics that a daemon script refreshes.

A request never counts jobs. What a connection has given since the last statistics is added to them, so that the shares
alternate also within a minute.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pandaserver.taskbuffer.db_proxy_mods.remembered import remembered
from pandaserver.taskbuffer.JobSpec import JobSpec
from pandaserver.taskbuffer.share_order import Standing
from pandaserver.taskbuffer.sharing import ShareNode, share_tree
from pandaserver.taskbuffer.transaction import Transaction

#: Seconds for which a connection trusts what it has read.
TREE_LIFETIME: Final = 3600.0
USAGE_LIFETIME: Final = 10.0

_USAGE: Final = "share usage"

SHARES: Final = """
    SELECT name, value, parent, queue_ID
    FROM ATLAS_PANDA.Global_Shares
"""

USAGE: Final = """
    SELECT gshare, computingSite, jobStatus, SUM(HS), SUM(nJobs), SUM(COALESCE(prorated_mem_avg, 0) * nJobs), MAX(ts)
    FROM ATLAS_PANDA.Jobs_Share_Stats
    WHERE jobStatus IN ('activated', 'sent', 'starting', 'running')
    GROUP BY gshare, computingSite, jobStatus
"""

#: States of jobs that use their share, and of those whose memory counts at a queue that watches its mean.
_EXECUTING: Final = frozenset({"sent", "running"})
_IN_MEMORY: Final = frozenset({"starting", "running"})


@dataclass(slots=True)
class Usage:
    """One snapshot of the statistics, and what this connection has given since."""

    standing: Standing
    taken: Any = None  # time of the snapshot
    waiting: Mapping[str, frozenset[str]] = field(default_factory=dict)  # queue -> leaves with jobs waiting
    memory: Mapping[str, float] = field(default_factory=dict)  # queue -> MB per core, mean of what runs
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
    usage = _usage(tx)
    waiting = usage.waiting.get(site, frozenset())
    # One share at a queue is the same as none, and costs a search less.
    return usage.standing.in_order(waiting) if len(waiting) > 1 else iter(())


def all_leaves_in_order(tx: Transaction) -> list[str]:
    """Return all leaves, those of the most under-used branch first."""
    standing = _usage(tx).standing
    return list(standing.in_order(standing.leaves))


def mean_memory(tx: Transaction, site: str) -> float:
    """Return what a core of the jobs that run at a queue has asked for, in MB, on average; 0 if none runs."""
    return _usage(tx).memory.get(site, 0.0)


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


def read_tree(tx: Transaction) -> ShareNode:
    """Return the share tree as it is now."""
    return share_tree(tx.dicts(SHARES))


def _read_usage(tx: Transaction) -> Usage:
    executing: dict[str, float] = defaultdict(float)
    waiting: dict[str, set[str]] = defaultdict(set)
    memory: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    taken = None
    for share, site, status, power, jobs, megabytes, time in tx.rows(USAGE):
        taken = max(taken or time, time)
        if status in _EXECUTING:
            executing[share] += float(power or 0)
        if status in _IN_MEMORY:
            memory[site][0] += float(megabytes or 0)
            memory[site][1] += float(jobs or 0)
        if status == "activated" and jobs:
            waiting[site].add(share)
    usage = Usage(
        Standing(remembered(tx, "share tree", TREE_LIFETIME, read_tree), executing),
        taken,
        {site: frozenset(shares) for site, shares in waiting.items()},
        {site: total / count for site, (total, count) in memory.items() if count},
    )
    kept = tx.memory.get(_USAGE)
    if kept and kept[1].taken == taken:  # the same snapshot again
        for leaf, power in kept[1].given.items():
            usage.give(leaf, power)
    return usage
