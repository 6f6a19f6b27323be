"""What dispatch would do next, and why: read-only, for operators who look at shares."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pandaserver.taskbuffer.db_proxy_mods.share import job_power, read_tree
from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.requests import MAX_JOBS, Selection
from pandaserver.taskbuffer.selections import OF_SELECTION, WAITING
from pandaserver.taskbuffer.share_order import Standing
from pandaserver.taskbuffer.sharing import ShareNode
from pandaserver.taskbuffer.transaction import Transaction

USE: Final = """
    SELECT gshare, jobStatus, SUM(HS), SUM(nJobs), MAX(ts) FROM ATLAS_PANDA.Jobs_Share_Stats
    WHERE jobStatus IN ('activated', 'sent', 'running')
    GROUP BY gshare, jobStatus
"""

SHARES_AT: Final = """
    SELECT DISTINCT gshare FROM ATLAS_PANDA.Jobs_Share_Stats
    WHERE computingSite = :site AND jobStatus = 'activated' AND nJobs > 0
"""

#: The first jobs of one share, or of the whole queue, as a pilot without limits would get them.
HEADS: Final = {
    (selection, of_share): f"""
    SELECT PandaID, gshare, currentPriority, hs06, coreCount FROM ATLAS_PANDA.jobsActive4
    WHERE {WAITING} AND computingSite = :site AND {OF_SELECTION[selection]}{" AND gshare = :share" if of_share else ""}
    ORDER BY currentPriority DESC, PandaID FETCH FIRST :n ROWS ONLY
"""
    for selection in (Selection.user, Selection.managed, Selection.unified)
    for of_share in (True, False)
}


@dataclass(frozen=True, slots=True)
class ShareUse:
    """One share as statistics see it. Power is in HS06."""

    name: str
    depth: int  # 0: below the root
    is_leaf: bool
    percent: float  # of everything
    executing: float
    queued: float
    queued_jobs: int
    pledge: float  # its part of all that executes
    place: int | None  # of a leaf with jobs waiting: 1 is served first

    @property
    def deficit(self) -> float:
        """Return how much more of what executes the share should have."""
        return self.pledge - self.executing


@dataclass(frozen=True, slots=True)
class NextJob:
    """A job that would leave, and what its share used at that moment."""

    PandaID: int
    share: str
    priority: int
    executing: float
    pledge: float
    is_known: bool  # the share is a leaf of the tree


@dataclass(frozen=True, slots=True)
class Forecast:
    """The situation of all shares, and the next jobs of one queue."""

    taken: datetime | None  # time of the statistics, None without any
    shares: tuple[ShareUse, ...] = ()
    jobs: tuple[NextJob, ...] = ()


@operation(timeout=60, repeatable=True)
def forecast_dispatch(tx: Transaction, site: str | None = None, n: int = 0, selection: str = "unified") -> Forecast:
    """Return what shares use, and which ``n`` jobs would leave a queue next if pilots asked for one at a time.

    Pilots' limits, and the dice that give the oldest job to some of them, are left out.
    """
    executing: dict[str, float] = defaultdict(float)
    queued: dict[str, tuple[float, int]] = {}
    taken = None
    for share, status, power, jobs, time in tx.rows(USE):
        taken = max(taken or time, time)
        if status == "activated":
            queued[share] = float(power or 0), int(jobs or 0)
        else:
            executing[share] += float(power or 0)
    standing = Standing(read_tree(tx), executing)
    shares = tuple(_uses(standing, queued))
    n = min(n, MAX_JOBS)
    return Forecast(taken, shares, tuple(_next_jobs(tx, standing, site, n, Selection(selection))) if site else ())


def _uses(standing: Standing, queued: dict[str, tuple[float, int]]) -> Sequence[ShareUse]:
    places = {leaf: place for place, leaf in enumerate(standing.in_order(list(queued)), start=1)}
    found: list[ShareUse] = []

    def visit(node: ShareNode, depth: int) -> None:
        waiting = [queued.get(leaf.name, (0.0, 0)) for leaf in node.leaves()]
        found.append(
            ShareUse(
                node.name,
                depth,
                node.is_leaf,
                node.percent,
                standing.used(node),
                sum(power for power, _ in waiting),
                sum(jobs for _, jobs in waiting),
                standing.pledge(node),
                places.get(node.name),
            )
        )
        for child in node.children:
            visit(child, depth + 1)

    for child in standing.tree.children:
        visit(child, 0)
    return found


def _next_jobs(tx: Transaction, standing: Standing, site: str, n: int, selection: Selection) -> Sequence[NextJob]:
    """Take jobs one at a time from the first leaf in order that has any, then from the whole queue."""
    leaves = [row[0] for row in tx.rows(SHARES_AT, site=site) if row[0] is not None]
    heads = {leaf: tx.rows(HEADS[selection, True], site=site, share=leaf, n=n) for leaf in standing.in_order(leaves)}
    if len(leaves) < 2:
        heads = {}
    rest = tx.rows(HEADS[selection, False], site=site, n=n)
    by_name = {leaf.name: leaf for leaf in standing.tree.leaves()}
    given: dict[int, NextJob] = {}
    while len(given) < n:
        order = (row for leaf in standing.in_order(list(heads)) for row in heads[leaf])
        row = next((row for rows in (order, rest) for row in rows if row[0] not in given), None)
        if row is None:
            break
        panda_id, share, priority, hs06, cores = row
        node = by_name.get(share)
        used, pledge = (standing.used(node), standing.pledge(node)) if node else (0.0, 0.0)
        given[panda_id] = NextJob(panda_id, share or "", priority or 0, used, pledge, node is not None)
        standing.add(share, job_power(hs06, cores))
    return list(given.values())
