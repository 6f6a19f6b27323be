"""Status changes: compare-and-set, one home, one history row each, on every database."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from pandaserver.taskbuffer.db_proxy_mods.job_load import load_jobs
from pandaserver.taskbuffer.db_proxy_mods.job_move import insert_jobs, move_jobs, touch_jobs
from pandaserver.taskbuffer.JobSpec import JobSpec
from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.OraDBProxy import OraDBProxy
from pandaserver.taskbuffer.states import LIVE_TABLES, JobStatus
from pandaserver.taskbuffer.transaction import Transaction
from tests.factories import make_job

S = JobStatus

HISTORY = """
    SELECT jobStatus FROM ATLAS_PANDA.jobs_StatusLog WHERE PandaID = :PandaID ORDER BY statusLogID
"""
COUNT = {table: f"SELECT COUNT(*) FROM ATLAS_PANDA.{table} WHERE PandaID = :PandaID" for table in LIVE_TABLES}


@operation(timeout=30)
def t_store(tx: Transaction, jobs: list[JobSpec], through: tuple[JobStatus, ...]) -> None:
    insert_jobs(tx, jobs, through=through)


@operation(timeout=30)
def t_move(tx: Transaction, ids: list[int], target: JobStatus, by: str, changes: dict[str, Any]) -> list[int]:
    return move_jobs(tx, ids, target, by=by, **changes)


@operation(timeout=30)
def t_touch(tx: Transaction, table: str, ids: list[int], changes: dict[str, Any]) -> int:
    return touch_jobs(tx, table, ids, **changes)


@operation(timeout=30)
def t_look(tx: Transaction, pid: int) -> tuple[list[str], list[str], list[JobSpec]]:
    tables = [table for table in LIVE_TABLES if tx.value(COUNT[table], PandaID=pid)]
    return tables, [row[0] for row in tx.rows(HISTORY, PandaID=pid)], load_jobs(tx, [pid])


def call(proxy: OraDBProxy, op: Any, *args: Any) -> Any:
    return proxy.call(op.name, args, {}, 30.0)


def store(proxy: OraDBProxy, *ids: int, status: JobStatus = S.activated) -> None:
    through = (S.defined,) if status not in (S.defined, S.pending) else ()
    then = datetime(2026, 1, 2, 3, 4, 5)
    times = {"creationTime": then, "modificationTime": then, "stateChangeTime": then}
    call(proxy, t_store, [make_job(PandaID=pid, jobStatus=str(status), **times) for pid in ids], through)


def test_a_new_job_is_in_the_home_of_its_status_with_every_step_in_the_history(proxy: OraDBProxy) -> None:
    store(proxy, 11)
    tables, history, (job,) = call(proxy, t_look, 11)
    assert (tables, history, job.jobStatus) == (["jobsActive4"], ["defined", "activated"], "activated")


def test_a_move_within_a_table_keeps_the_row(proxy: OraDBProxy) -> None:
    store(proxy, 11)
    assert call(proxy, t_move, [11], S.sent, "JobDispatcher", {"modificationHost": "wn01"}) == [11]
    tables, history, (job,) = call(proxy, t_look, 11)
    assert (tables, history) == (["jobsActive4"], ["defined", "activated", "sent"])
    assert (job.jobStatus, job.modificationHost) == ("sent", "wn01")


def test_a_move_between_tables_takes_the_row_along(proxy: OraDBProxy) -> None:
    store(proxy, 11, 12, status=S.defined)
    assert call(proxy, t_move, [11, 12], S.activated, "Setupper", {}) == [11, 12]
    tables, history, (job,) = call(proxy, t_look, 12)
    assert (tables, history, job.jobName) == (["jobsActive4"], ["defined", "activated"], "test.job")


def test_a_final_state_ends_the_job(proxy: OraDBProxy) -> None:
    store(proxy, 11)
    call(proxy, t_move, [11], S.cancelled, "killJob", {"taskBufferErrorCode": 100})
    tables, _, (job,) = call(proxy, t_look, 11)
    assert (tables, job.taskBufferErrorCode, job.endTime is not None) == (["jobsArchived4"], 100, True)


def test_a_job_in_a_state_that_is_no_source_stays(proxy: OraDBProxy) -> None:
    store(proxy, 11)
    assert call(proxy, t_move, [11], S.finished, "Adder", {}) == []
    assert call(proxy, t_look, 11)[1] == ["defined", "activated"]


def test_of_many_jobs_only_those_in_a_source_state_move(proxy: OraDBProxy) -> None:
    store(proxy, 11, 12, 13)
    call(proxy, t_move, [12], S.sent, "JobDispatcher", {})
    assert sorted(call(proxy, t_move, [11, 12, 13, 99], S.sent, "JobDispatcher", {})) == [11, 13]
    assert call(proxy, t_look, 12)[1] == ["defined", "activated", "sent"]


def test_an_actor_that_may_not_is_a_mistake(proxy: OraDBProxy) -> None:
    store(proxy, 11)
    with pytest.raises(Exception, match="no transition"):
        call(proxy, t_move, [11], S.sent, "Closer", {})


def test_diagnostics_are_cut_to_their_column(proxy: OraDBProxy) -> None:
    store(proxy, 11)
    call(proxy, t_move, [11], S.cancelled, "killJob", {"taskBufferErrorDiag": "x" * 1000})
    assert call(proxy, t_look, 11)[2][0].taskBufferErrorDiag == "x" * 300


def test_touching_changes_columns_and_no_status(proxy: OraDBProxy) -> None:
    store(proxy, 11)
    assert call(proxy, t_touch, "jobsActive4", [11], {"commandToPilot": "tobekilled"}) == 1
    _, history, (job,) = call(proxy, t_look, 11)
    assert (history, job.commandToPilot, job.jobStatus) == (["defined", "activated"], "tobekilled", "activated")


def test_touching_a_status_is_a_mistake(proxy: OraDBProxy) -> None:
    with pytest.raises(Exception, match="move_jobs"):
        call(proxy, t_touch, "jobsActive4", [11], {"jobStatus": "sent"})
