"""Snapshots of jobs by share, queue and status."""

from __future__ import annotations

from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from tests.db.completion import read
from tests.db.stages import put_job

STATS = """
    SELECT gshare, jobStatus, nJobs, hs, maxPriority, prorated_mem_avg FROM ATLAS_PANDA.Jobs_Share_Stats
    ORDER BY gshare, jobStatus
"""


def test_jobs_are_counted_by_share_and_status(tbuf: TaskBuffer) -> None:
    put_job(tbuf, "activated", gshare="A", hs06=20, coreCount=2, minRamCount=3000, currentPriority=5)
    put_job(tbuf, "activated", gshare="A", hs06=30, coreCount=2, minRamCount=1000, currentPriority=9)
    put_job(tbuf, "running", gshare="A", hs06=10)
    assert tbuf.refreshShareStatistics() == 2
    assert read(tbuf, STATS) == [("A", "activated", 2, 50, 9, 1000), ("A", "running", 1, 10, 1000, 1000)]


def test_cores_stand_for_an_unknown_power_and_no_cores_are_one(tbuf: TaskBuffer) -> None:
    put_job(tbuf, "activated", gshare="A", coreCount=8, hs06=None, minRamCount=1001)
    put_job(tbuf, "activated", gshare="B", coreCount=0, hs06=0, minRamCount=1001)
    put_job(tbuf, "activated", gshare="C", coreCount=None, minRamCount=1001)
    tbuf.refreshShareStatistics()
    found = {row[0]: (row[3], round(float(row[5]), 2)) for row in read(tbuf, STATS)}
    assert {share: values[0] for share, values in found.items()} == {"A": 8, "B": 1, "C": 1}
    assert 125.12 <= found["A"][1] <= 125.13


def test_a_snapshot_replaces_the_last_one(tbuf: TaskBuffer) -> None:
    put_job(tbuf, "activated", gshare="A")
    tbuf.refreshShareStatistics()
    assert tbuf.refreshShareStatistics() == 1
    assert len(read(tbuf, STATS)) == 1


def test_jobs_that_are_not_ready_are_in_a_snapshot_of_their_own(tbuf: TaskBuffer) -> None:
    put_job(tbuf, "defined", gshare="A")
    tbuf.refreshShareStatistics()
    assert read(tbuf, "SELECT jobStatus, nJobs FROM ATLAS_PANDA.JobsDefined_Share_Stats") == [("defined", 1)]
