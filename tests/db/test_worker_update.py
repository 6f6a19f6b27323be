"""What harvesters say about workers: rows, jobs bound to them, and jobs that end with them."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest

from pandacommon.pandautils.PandaUtils import naive_utcnow
from pandaserver.taskbuffer.connection_settings import ConnectionSettings, OperationSettings
from pandaserver.taskbuffer.ErrorCode import EC_WorkerDone
from pandaserver.taskbuffer.local_bridge import LocalBridge
from pandaserver.taskbuffer.requests import JobRequest, Selection, StatusReport
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from pandaserver.taskbuffer.transaction import Transaction
from pandaserver.taskbuffer.worker_reports import ENDED, WorkerUpdate
from pandaserver.taskbuffer.WrappedCursor import Row
from tests.db.completion import adder
from tests.db.crowd import insert, put_jobs, query, statements_of
from tests.db.stages import put_job

H = "hv1"


def said(
    worker: int = 1, status: str | None = "running", jobs: Sequence[int] = (), sync: int = 0, **columns: Any
) -> WorkerUpdate:
    return WorkerUpdate(worker, columns | ({"status": status} if status else {}), tuple(jobs), sync)


def rows(tbuf: TaskBuffer, columns: str = "workerID, status") -> list[tuple[Any, ...]]:
    return query(tbuf, f"SELECT {columns} FROM ATLAS_PANDA.Harvester_Workers ORDER BY harvesterID, workerID")


def links(tbuf: TaskBuffer) -> list[tuple[int, int]]:
    return query(
        tbuf, "SELECT workerID, PandaID FROM ATLAS_PANDA.Harvester_Rel_Jobs_Workers ORDER BY workerID, PandaID"
    )


def job(tbuf: TaskBuffer, pid: int, columns: str, table: str = "jobsActive4") -> tuple[Any, ...]:
    [row] = query(tbuf, f"SELECT {columns} FROM ATLAS_PANDA.{table} WHERE PandaID = :PandaID", PandaID=pid)
    return row


def reports(tbuf: TaskBuffer) -> list[tuple[Any, ...]]:
    return query(tbuf, "SELECT PandaID, jobStatus, attemptNr FROM ATLAS_PANDA.Job_Output_Report ORDER BY PandaID")


# -- rows


def test_workers_are_stored_and_keep_what_is_not_said_again(tbuf: TaskBuffer) -> None:
    begun = datetime(2026, 1, 2, 3, 4, 5, 600000)
    tbuf.updateWorkers(H, [said(2, "submitted", batchID="b2", nCore=8), said(1, "idle")])
    tbuf.updateWorkers(H, [said(2, "running", startTime=begun)])
    tbuf.updateWorkers("other", [said(2, "ready")])
    assert rows(tbuf, "harvesterID, workerID, status, batchID, nCore, startTime") == [
        (H, 1, "idle", None, None, None),
        (H, 2, "running", "b2", 8, begun),
        ("other", 2, "ready", None, None, None),
    ]


def test_what_pilots_said_stays(tbuf: TaskBuffer) -> None:
    insert(
        tbuf,
        "PANDA.Harvester_Workers",
        {"harvesterID": H, "workerID": 1, "status": "ready", "lastUpdate": "now", "pilotStatus": "started"},
    )
    tbuf.updateWorkers(H, [said(1, "running")])
    assert rows(tbuf, "status, pilotStatus") == [("running", "started")]


def test_the_last_word_about_a_worker_counts(tbuf: TaskBuffer) -> None:
    tbuf.updateWorkers(H, [said(1, "submitted"), said(1, "running")])
    assert rows(tbuf) == [(1, "running")]


@pytest.mark.parametrize("end", sorted(ENDED))
@pytest.mark.parametrize(("hours", "expected"), [(2.9, None), (3.1, "running")])
def test_the_end_of_a_worker_is_final_for_three_hours(
    tbuf: TaskBuffer, end: str, hours: float, expected: str | None
) -> None:
    last = naive_utcnow() - timedelta(hours=hours)
    insert(tbuf, "PANDA.Harvester_Workers", {"harvesterID": H, "workerID": 1, "status": end, "lastUpdate": last})
    tbuf.updateWorkers(H, [said(1, "running", nJobs=3)])
    assert rows(tbuf, "status, nJobs") == [(expected or end, 3)]


def test_a_worker_without_a_status_is_pending(tbuf: TaskBuffer) -> None:
    tbuf.updateWorkers(H, [said(1, None)])
    assert rows(tbuf) == [(1, "pending")]


# -- jobs of a worker


def test_a_list_of_jobs_replaces_the_one_before_and_an_empty_one_nothing(tbuf: TaskBuffer) -> None:
    tbuf.updateWorkers(H, [said(1, jobs=[11, 12]), said(2, jobs=[21])])
    tbuf.updateWorkers(H, [said(1, jobs=[12, 13]), said(2)])
    assert links(tbuf) == [(1, 12), (1, 13), (2, 21)]


# -- jobs that end


@pytest.mark.parametrize("end", sorted(ENDED))
@pytest.mark.parametrize("status", ["starting", "running"])
def test_a_job_fails_with_its_worker(tbuf: TaskBuffer, end: str, status: str) -> None:
    begun = datetime(2026, 1, 1)
    pid = put_job(tbuf, status, attemptNr=2, startTime=begun, prodSourceLabel="user")
    ended = tbuf.updateWorkers(H, [said(1, end, [pid], sync=1, diagMessage="preempted")])
    assert ended == [pid]
    assert job(tbuf, pid, "taskBufferErrorCode, taskBufferErrorDiag, startTime") == (
        EC_WorkerDone,
        f"the worker was {end} while the job was {status} : preempted",
        None if status == "starting" else begun,
    )
    assert reports(tbuf) == [(pid, "failed", 2)]


def test_the_adder_carries_it_out(tbuf: TaskBuffer) -> None:
    pid = put_job(tbuf, "running", attemptNr=1)
    tbuf.updateWorkers(H, [said(1, "failed", [pid], sync=1)])
    adder(tbuf).run(grace=0)
    assert job(tbuf, pid, "jobStatus, taskBufferErrorCode", "jobsArchived4") == ("failed", EC_WorkerDone)


@pytest.mark.parametrize(
    ("status", "worker", "sync"),
    [
        ("running", "failed", 0),
        ("running", "running", 1),
        ("sent", "failed", 1),
        ("holding", "failed", 1),
        ("transferring", "finished", 1),
    ],
)
def test_other_jobs_go_on(tbuf: TaskBuffer, status: str, worker: str, sync: int) -> None:
    pid = put_job(tbuf, status)
    assert tbuf.updateWorkers(H, [said(1, worker, [pid], sync=sync)]) == []
    assert (reports(tbuf), job(tbuf, pid, "taskBufferErrorCode")) == ([], (0,))


def test_a_worker_that_dies_twice_leaves_one_report(tbuf: TaskBuffer) -> None:
    pid = put_job(tbuf, "running", attemptNr=1)
    for _ in range(2):
        tbuf.updateWorkers(H, [said(1, "failed", [pid], sync=1)])
    assert reports(tbuf) == [(pid, "failed", 1)]


def test_a_job_survives_its_first_worker_in_another_one(tbuf: TaskBuffer) -> None:
    pid = put_job(tbuf, "running")
    tbuf.updateWorkers(H, [said(1, "running", [pid])])
    tbuf.updateWorkers("other", [said(1, "running", [pid])])
    assert tbuf.updateWorkers(H, [said(1, "failed", sync=1)]) == []
    assert tbuf.updateWorkers("other", [said(1, "failed", sync=1)]) == [pid]


def test_a_stranger_ends_no_job_and_its_owner_does(tbuf: TaskBuffer) -> None:
    pid = put_job(tbuf, "running", prodUserName="Jane Doe")
    update = said(1, "failed", [pid], sync=1, errorCode=1500)
    assert tbuf.updateWorkers(H, [update], "John Doe") == []
    assert job(tbuf, pid, "supErrorCode") == (0,)
    assert tbuf.updateWorkers(H, [update], "Jane Doe") == [pid]
    assert job(tbuf, pid, "supErrorCode") == (1500,)


def test_the_error_of_a_worker_is_on_its_jobs_wherever_they_are(tbuf: TaskBuffer) -> None:
    pids = [put_job(tbuf, status) for status in ("assigned", "running", "failed", "finished")]
    tbuf.updateWorkers(H, [said(1, "running", pids, errorCode=1500, diagMessage="x" * 300)])
    tables = ("jobsDefined4", "jobsActive4", "jobsArchived4", "jobsArchived4")
    found = [job(tbuf, pid, "supErrorCode, supErrorDiag", table) for pid, table in zip(pids, tables, strict=True)]
    assert found == [(1500, f"Diag from worker : {'x' * 231}")] * 3 + [(0, None)]


# -- cost


def test_a_hundred_workers_cost_as_many_statements_as_one(tbuf: TaskBuffer) -> None:
    def cost(first: int, number: int) -> int:
        jobs = put_jobs(tbuf, number, "running", attemptNr=1)
        workers = [first + n for n in range(number)]
        statements_of(tbuf, "update_workers", H, [said(w, "running", [p]) for w, p in zip(workers, jobs, strict=True)])
        dying = [
            said(w, "failed", [p], sync=1, errorCode=1500, diagMessage=f"worker {w}")
            for w, p in zip(workers, jobs, strict=True)
        ]
        return statements_of(tbuf, "update_workers", H, dying)

    assert cost(1, 1) == cost(1000, 100) <= 13


# -- at once


def test_processes_that_report_the_same_workers_wait_for_each_other(
    database: ConnectionSettings, tbuf: TaskBuffer
) -> None:
    jobs = put_jobs(tbuf, 40, "running", attemptNr=1)
    workers = list(range(40))
    bridges = [LocalBridge(database, OperationSettings(hostname=f"host{n}")) for n in range(3)]

    def report(place: int) -> None:
        order = workers if place % 2 else workers[::-1]
        for status in ("submitted", "running", "failed"):
            updates = [said(w, status, [jobs[w]], sync=1, errorCode=place) for w in order]
            TaskBuffer(bridges[place]).updateWorkers(H, updates)

    def beat(place: int) -> None:
        heartbeats = [StatusReport(pid, "running", attempt_nr=1) for pid in jobs[::-1]]
        for _ in range(3):
            TaskBuffer(bridges[place]).updateJobsInBulk(heartbeats)

    try:
        with ThreadPoolExecutor(3) as pool:
            for done in [pool.submit(report, 0), pool.submit(report, 1), pool.submit(beat, 2)]:
                done.result()
    finally:
        for bridge in bridges:
            bridge.close()
    assert rows(tbuf) == [(w, "failed") for w in workers]
    assert reports(tbuf) == [(pid, "failed", 1) for pid in jobs]


@pytest.mark.parametrize("report", [{"errorCode": 5}, {"sync": 1, "status": "failed"}])
def test_jobs_are_locked_before_the_workers_that_change_them(
    tbuf: TaskBuffer, monkeypatch: pytest.MonkeyPatch, report: dict[str, Any]
) -> None:
    """Pilots lock them in that order, and whoever does the opposite meets them in a deadlock."""
    pid = put_job(tbuf, "running", attemptNr=1)
    tbuf.updateWorkers(H, [said(1, "running", [pid])])
    locked: list[str] = []
    rows_of = Transaction.rows

    def watched(self: Transaction, sql: str, /, **binds: Any) -> list[Row]:
        if "FOR UPDATE" in sql:
            locked.append(sql.partition("FROM ATLAS_PANDA.")[2].split()[0])
        return rows_of(self, sql, **binds)

    monkeypatch.setattr(Transaction, "rows", watched)
    tbuf.updateWorkers(H, [said(**{"worker": 1, **report})])
    assert locked == ["jobsActive4", "Harvester_Workers"]


def test_a_pilot_does_not_raise_its_worker_from_the_dead(tbuf: TaskBuffer) -> None:
    """Its harvester never reports an end twice, so the worker would seem to run for ever."""
    put_jobs(tbuf, 2)
    tbuf.updateWorkers(H, [said(42, "finished"), said(43, "submitted")])
    for worker in (42, 43):
        tbuf.getJobs(JobRequest("TEST_PQ", selection=Selection.user, harvester_id=H, worker_id=worker))
    assert rows(tbuf, "workerID, status, nJobs") == [(42, "finished", 1), (43, "running", 1)]
