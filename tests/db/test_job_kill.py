"""Killing jobs in real databases."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from pandaserver.taskbuffer.connection_settings import ConnectionSettings
from pandaserver.taskbuffer.db_proxy_mods.job_move import move_jobs
from pandaserver.taskbuffer.JobSpec import JobSpec
from pandaserver.taskbuffer.kill import CODES, Killer, KillRequest
from pandaserver.taskbuffer.states import JobStatus
from pandaserver.taskbuffer.submission import Submission, Submitter
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from tests.db.stages import put_job
from tests.db.transactions import transaction
from tests.factories import make_job

JANE = Killer(dn="/CN=Jane Doe", name="Jane Doe")
JOHN = Killer(dn="/CN=John Roe", name="John Roe")
OPERATOR = Killer(dn="/CN=Operator", name="Operator", is_production=True)
HIGGS = Killer(dn="/CN=John Roe", name="John Roe", groups=("higgs", "gr_higgs"))


def kill(tbuf: TaskBuffer, *ids: int, by: Killer = JANE, **attributes: Any) -> list[bool]:
    return tbuf.killJobs(KillRequest(ids, by, **attributes))


def job_of(tbuf: TaskBuffer, job_id: int) -> JobSpec:
    job = tbuf.peekJobs([job_id])[0]
    assert job is not None
    return job


@pytest.mark.parametrize("status", ["pending", "defined", "assigned", "activated", "sent", "starting", "holding"])
def test_a_job_that_does_not_run_ends_at_once(tbuf: TaskBuffer, status: str) -> None:
    job_id = put_job(tbuf, status)
    assert kill(tbuf, job_id) == [True]
    job = job_of(tbuf, job_id)
    assert (job.jobStatus, job.taskBufferErrorCode, job.taskBufferErrorDiag) == ("cancelled", 100, "killed by Jane Doe")
    assert job.endTime is not None
    assert [file.status for file in job.Files] == ["unknown", "failed", "failed"]


def test_a_job_that_never_began_begins_when_it_ends(tbuf: TaskBuffer) -> None:
    job_id = put_job(tbuf, "starting")
    kill(tbuf, job_id)
    job = job_of(tbuf, job_id)
    assert job.startTime == job.endTime


def test_a_running_job_is_told_once(tbuf: TaskBuffer) -> None:
    job_id = put_job(tbuf, "running")
    assert [kill(tbuf, job_id), kill(tbuf, job_id)] == [[True], [False]]
    job = job_of(tbuf, job_id)
    assert (job.jobStatus, job.commandToPilot) == ("running", "tobekilled")


def test_a_running_production_job_can_be_forced(tbuf: TaskBuffer) -> None:
    job_id = put_job(tbuf, "running", prodSourceLabel="managed")
    kill(tbuf, job_id, by=OPERATOR)
    assert kill(tbuf, job_id, by=OPERATOR, code=9) == [True]
    assert job_of(tbuf, job_id).jobStatus == "cancelled"


@pytest.mark.parametrize(
    ("code", "status", "sub_status", "error"),
    [
        (2, "closed", "toreassign", 102),
        (4, "closed", "toreassign", 102),
        (3, "cancelled", None, 103),
        (8, "cancelled", None, 105),
        (10, "closed", None, 130),
        (51, "closed", "toreassign", 100),
        (55, "closed", "taskdone", 100),
        (60, "closed", None, 100),
        (9, "cancelled", None, 100),
        (50, "cancelled", None, 100),
        (52, "cancelled", None, 100),
        (91, "cancelled", None, 100),
        (99, "cancelled", None, 100),
        (1234, "cancelled", None, 100),
        (None, "cancelled", None, 100),
    ],
)
def test_the_code_decides_how_a_job_ends(
    tbuf: TaskBuffer, code: int | None, status: str, sub_status: str | None, error: int
) -> None:
    job_id = put_job(tbuf, "activated")
    assert kill(tbuf, job_id, code=code) == [True]
    job = job_of(tbuf, job_id)
    assert (job.jobStatus, job.jobSubStatus, job.taskBufferErrorCode) == (status, sub_status, error)
    assert job.commandToPilot == (None if code == 8 else "tobekilled")


def test_a_sub_status_that_is_there_is_kept_by_a_pilot_that_ends_without_work(tbuf: TaskBuffer) -> None:
    job_id = put_job(tbuf, "sent", jobSubStatus="pilot_noevents")
    kill(tbuf, job_id, code=60)
    assert job_of(tbuf, job_id).jobSubStatus == "pilot_noevents"


@pytest.mark.parametrize(
    ("killer", "label", "code", "ends"),
    [
        (OPERATOR, "managed", 9, True),
        (OPERATOR, "test", 52, True),
        (OPERATOR, None, 9, True),
        (OPERATOR, "managed", 99, True),
        (OPERATOR, "user", 99, True),
        (OPERATOR, "user", 9, False),
        (OPERATOR, "user", 91, False),
        (JANE, "user", 99, False),
        (JANE, "user", 9, False),
        (OPERATOR, "managed", 50, False),
        (OPERATOR, "managed", 51, False),
        (OPERATOR, "managed", 2, False),
    ],
)
def test_force_ends_a_running_job_without_its_pilot(
    tbuf: TaskBuffer, killer: Killer, label: str | None, code: int, ends: bool
) -> None:
    job_id = put_job(tbuf, "running", prodSourceLabel=label)
    assert kill(tbuf, job_id, by=killer, code=code) == [True]
    job = job_of(tbuf, job_id)
    assert (job.jobStatus, job.commandToPilot) == ("cancelled" if ends else "running", "tobekilled")


@pytest.mark.parametrize("code", sorted(CODES))
def test_some_codes_kill_a_job_that_was_told_already(tbuf: TaskBuffer, code: int) -> None:
    job_id = put_job(tbuf, "running", commandToPilot="tobekilled")
    assert kill(tbuf, job_id, code=code) == [code in (2, 9, 10, 51, 52, 60, 99)]


def test_only_failed_jobs_are_marked_as_retried(tbuf: TaskBuffer) -> None:
    live, finished = put_job(tbuf, "activated"), put_job(tbuf, "finished")
    assert kill(tbuf, live, finished, code=7) == [False, False]
    assert (job_of(tbuf, live).jobStatus, job_of(tbuf, live).commandToPilot) == ("activated", None)


def test_a_failed_job_is_marked_as_retried(tbuf: TaskBuffer) -> None:
    job_id = put_job(tbuf, "failed")
    assert [kill(tbuf, job_id), kill(tbuf, job_id, code=7)] == [[False], [True]]
    job = job_of(tbuf, job_id)
    assert (job.jobStatus, job.taskBufferErrorCode) == ("failed", 106)


@pytest.mark.parametrize(
    ("killer", "attributes", "code", "expected"),
    [
        (JANE, {}, None, True),
        (Killer(dn="/CN=Jane Doe77/CN=proxy", name="x"), {}, None, True),
        (JOHN, {}, None, False),
        (Killer(), {}, None, False),
        (OPERATOR, {}, None, False),
        (OPERATOR, {}, 91, True),
        (OPERATOR, {"prodSourceLabel": "managed"}, None, True),
        (HIGGS, {"prodSourceLabel": "managed", "workingGroup": "GR_HIGGS"}, None, True),
        (HIGGS, {"prodSourceLabel": "managed", "workingGroup": "AP_NOTHIGGS"}, None, False),
        (HIGGS, {"workingGroup": "GR_HIGGS"}, None, False),
    ],
)
def test_who_may_kill_what(
    tbuf: TaskBuffer, killer: Killer, attributes: dict[str, Any], code: int | None, expected: bool
) -> None:
    job_id = put_job(tbuf, "activated", **attributes)
    assert kill(tbuf, job_id, by=killer, code=code) == [expected]
    assert (job_of(tbuf, job_id).jobStatus == "cancelled") is expected


def test_answers_are_in_the_order_of_the_request(tbuf: TaskBuffer) -> None:
    mine, his = put_job(tbuf, "activated"), put_job(tbuf, "activated", prodUserID="/CN=John Roe", prodSourceLabel="x")
    assert kill(tbuf, his, 987654321, mine, mine) == [False, False, True, True]


def test_peek_describes_unknown_jobs_as_none(tbuf: TaskBuffer) -> None:
    submitted = tbuf.storeJobs(Submission([make_job(jediTaskID=5)], Submitter("/CN=Jane Doe", "Jane Doe")))
    known = submitted.jobs[0].PandaID
    assert [job.PandaID if job else None for job in tbuf.peekJobs([987654321, known, known])] == [None, known, known]
    assert tbuf.getPandaIDsWithTaskID(5) == [known]
    assert JobStatus(job_of(tbuf, known).jobStatus or "") is JobStatus.defined


@pytest.mark.parametrize(
    ("meanwhile", "becomes"), [("UPDATE ATLAS_PANDA.jobsActive4 SET nEvents = 1", None), (None, JobStatus.defined)]
)
def test_a_kill_waits_for_whoever_holds_a_job_and_finds_it_wherever_it_went(
    tbuf: TaskBuffer,
    database: ConnectionSettings,
    requires: Callable[[str], None],
    meanwhile: str | None,
    becomes: JobStatus | None,
) -> None:
    requires("row_locks")
    job_id = put_job(tbuf, "activated")
    with ThreadPoolExecutor(1) as pool, transaction(database) as other:
        if meanwhile:
            other.change(meanwhile)
        if becomes:
            assert move_jobs(other, [job_id], becomes, by="reassignJobs") == [job_id]
        answer = pool.submit(kill, tbuf, job_id)
        with pytest.raises(TimeoutError):
            answer.result(0.3)
        other.cursor.session.commit()
        assert answer.result(10) == [True]
    assert job_of(tbuf, job_id).jobStatus == "cancelled"
