"""Counts of jobs by share, queue and status: snapshots that dispatch, brokerage and monitors read."""

from __future__ import annotations

from typing import Final

from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.states import ACTIVE, DEFINED
from pandaserver.taskbuffer.transaction import Transaction

_SNAPSHOTS: Final = {"Jobs_Share_Stats": ACTIVE, "JobsDefined_Share_Stats": DEFINED}

CLEAR: Final = {stats: f"DELETE FROM ATLAS_PANDA.{stats}" for stats in _SNAPSHOTS}

#: Cores of a job; unset or 0 leaves the choice to the queue.
_CORES: Final = "CASE WHEN coreCount > 0 THEN coreCount ELSE 1 END"

#: A job whose queue has no core power still counts, with its cores.
FILL: Final = {
    stats: f"""
    INSERT INTO ATLAS_PANDA.{stats}
        (ts, gshare, computingSite, jobStatus, maxPriority, prorated_diskio_avg, prorated_mem_avg, nJobs, hs, VO,
         workQueue_ID, resource_type)
    SELECT CURRENT_TIMESTAMP, gshare, computingSite, jobStatus, MAX(currentPriority), AVG(diskIO),
        AVG(minRamCount * 1.0 / {_CORES}), COUNT(*),
        SUM(CASE WHEN hs06 > 0 THEN hs06 ELSE {_CORES} END), VO, workQueue_ID, resource_type
    FROM ATLAS_PANDA.{jobs}
    GROUP BY gshare, computingSite, jobStatus, VO, workQueue_ID, resource_type
"""
    for stats, jobs in _SNAPSHOTS.items()
}


@operation(timeout=300)
def refresh_share_statistics(tx: Transaction) -> int:
    """Replace both snapshots in one transaction, so that no reader sees an empty one; return their rows."""
    rows = 0
    for stats in _SNAPSHOTS:
        tx.change(CLEAR[stats])
        rows += tx.change(FILL[stats])
    return rows
