"""Jobs counted for statistics: one snapshot for everybody, no older than it may be."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from pandacommon.pandautils.PandaUtils import naive_utcnow
from pandaserver.taskbuffer.db_proxy_mods import job_statistics_counts
from pandaserver.taskbuffer.job_counts import ALWAYS, CountedJobs, JobCount, nested
from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from pandaserver.taskbuffer.transaction import Transaction
from tests.db.crowd import insert, put_jobs, statements_of


@operation(timeout=60)
def age_counts_for_test(tx: Transaction, snapshot: float, begun: float) -> None:
    """Let the snapshot be so many seconds old, and its making have begun so many ago; the connection forgets it."""
    ages = {"panda_job_counts SET ts": snapshot, "JEDI_Process_Lock SET lockedTime": begun}
    for column, seconds in ages.items():
        text = f"UPDATE ATLAS_PANDA.{column} = CURRENT_TIMESTAMP - :seconds * INTERVAL '1' SECOND"
        tx.change(text, seconds=seconds)
    tx.memory.clear()


def age(tbuf: TaskBuffer, snapshot: float, begun: float) -> None:
    tbuf.caller.call(age_counts_for_test, (snapshot, begun), {})


def counts(tbuf: TaskBuffer) -> list[JobCount]:
    """Ask as requests do."""
    snapshot = tbuf.getJobCounts()
    return tbuf.refreshJobCounts() if snapshot.is_due else snapshot.counts


def running(tbuf: TaskBuffer) -> int:
    found: dict[str, Any] = nested(counts(tbuf), ("site",), ALWAYS)
    number: int = found.get("TEST_PQ", {}).get("running", 0)
    return number


def test_jobs_are_counted_by_what_they_are(tbuf: TaskBuffer) -> None:
    put_jobs(tbuf, 2, "running", prodSourceLabel="managed", resource_type="SCORE", processingType="simul")
    put_jobs(tbuf, 1, "defined", cloud=None, resource_type=None)
    put_jobs(tbuf, 1, "finished")
    assert sorted(counts(tbuf)) == [
        JobCount("TEST_PQ", "", "user", "panda-client", "", "defined", 1),
        JobCount("TEST_PQ", "TEST", "managed", "simul", "SCORE", "running", 2),
    ]


def test_a_snapshot_serves_for_a_minute_and_then_one_makes_the_next(tbuf: TaskBuffer) -> None:
    put_jobs(tbuf, 1, "running")
    assert running(tbuf) == 1
    put_jobs(tbuf, 1, "running")
    age(tbuf, 50, 50)
    assert running(tbuf) == 1
    age(tbuf, 61, 61)
    assert running(tbuf) == 2


def test_while_one_counts_the_others_are_told_what_is_known(tbuf: TaskBuffer) -> None:
    put_jobs(tbuf, 1, "running")
    assert running(tbuf) == 1
    put_jobs(tbuf, 1, "running")
    age(tbuf, 70, 5)
    assert running(tbuf) == 1
    age(tbuf, 601, 5)  # who began has died: everybody counts for themselves
    assert running(tbuf) == 2


def test_nobody_waits_for_who_counts(tbuf: TaskBuffer) -> None:
    put_jobs(tbuf, 1, "running")
    assert running(tbuf) == 1
    age(tbuf, 61, 61)
    assert [tbuf.getJobCounts().is_due for _ in range(3)] == [True, False, False]


def test_of_two_snapshots_the_newer_counts(tbuf: TaskBuffer) -> None:
    put_jobs(tbuf, 2, "running")
    assert running(tbuf) == 2
    old = {"ts": naive_utcnow() - timedelta(seconds=30), "computingSite": "TEST_PQ", "jobStatus": "running", "nJobs": 9}
    insert(tbuf, "PANDA.panda_job_counts", old)
    tbuf.caller.call(forget_for_test, (), {})
    assert running(tbuf) == 2


@operation(timeout=60)
def forget_for_test(tx: Transaction) -> None:
    """Let the connection forget what it remembers."""
    tx.memory.clear()


def test_a_connection_remembers(tbuf: TaskBuffer) -> None:
    put_jobs(tbuf, 3, "running")
    counts(tbuf)
    assert statements_of(tbuf, "job_counts") == 0
    tbuf.getEndedJobCounts(60)
    assert statements_of(tbuf, "ended_job_counts", 60) == 0


def test_no_more_windows_are_remembered_than_allowed(tbuf: TaskBuffer) -> None:
    for minutes in range(1, job_statistics_counts.WINDOWS + 2):
        tbuf.getEndedJobCounts(minutes)
    assert statements_of(tbuf, "ended_job_counts", job_statistics_counts.WINDOWS + 1) == 0
    assert statements_of(tbuf, "ended_job_counts", 1) == 1


@pytest.mark.parametrize(("minutes", "expected"), [(30, []), (90, [2])])
def test_ended_jobs_count_within_their_window(tbuf: TaskBuffer, minutes: int, expected: list[int]) -> None:
    put_jobs(tbuf, 2, "finished")
    tbuf.caller.call(age_ended_for_test, (), {})
    assert [count.jobs for count in tbuf.getEndedJobCounts(minutes)] == expected


@operation(timeout=60)
def age_ended_for_test(tx: Transaction) -> None:
    """Let all jobs have ended an hour ago."""
    hour_ago = naive_utcnow() - timedelta(hours=1)
    tx.change("UPDATE ATLAS_PANDA.jobsArchived4 SET modificationTime = :hour_ago", hour_ago=hour_ago)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (CountedJobs(), 3),
        (CountedJobs(labels=("managed",)), 1),
        (CountedJobs(working_groups=("phys",)), 1),
        (CountedJobs(country_groups=("ch", "de")), 1),
        (CountedJobs(min_priority=2000), 1),
        (CountedJobs(only_predefined=True), 1),
        (CountedJobs(with_ended=True), 4),
        (CountedJobs(labels=("managed",), min_priority=2001), 0),
    ],
)
def test_old_clients_choose_jobs(tbuf: TaskBuffer, wanted: CountedJobs, expected: int) -> None:
    put_jobs(tbuf, 1, "running", prodSourceLabel="managed", workingGroup="phys", currentPriority=2000)
    put_jobs(tbuf, 1, "activated", countryGroup="ch")
    put_jobs(tbuf, 1, "defined", relocationFlag=1)
    put_jobs(tbuf, 1, "finished")
    assert sum(count.jobs for count in tbuf.countJobs(wanted)) == expected
