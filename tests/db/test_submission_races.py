"""Submissions that come at the same moment, on connections of their own."""

from __future__ import annotations

from pandaserver.taskbuffer.connection_settings import ConnectionSettings
from pandaserver.taskbuffer.keyed_caller import KeyedCaller
from pandaserver.taskbuffer.setup import Prepared
from pandaserver.taskbuffer.states import JobStatus
from pandaserver.taskbuffer.submission import Submission, Submitted, Submitter
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from pandaserver.taskbuffer.tickets import Ticket
from tests.db.many import at_once
from tests.db.test_setupper import run_job
from tests.factories import make_job

JANE = Submitter(dn="/CN=Jane Doe", name="Jane Doe")


def keyed(tbuf: TaskBuffer, key: str) -> TaskBuffer:
    """Return the task buffer of a request with an idempotency key."""
    return TaskBuffer(KeyedCaller(tbuf.caller, Ticket("/CN=Jane Doe", key, "h")))


def test_no_two_submissions_of_a_user_get_the_same_job_number(database: ConnectionSettings) -> None:
    def submit(tbuf: TaskBuffer, _: int) -> Submitted:
        return tbuf.storeJobs(Submission([make_job(), make_job()], JANE, nothing_to_prepare={"any": True}))

    results = at_once(database, submit, 24)
    assert sorted(result.jobs[0].jobDefinitionID for result in results) == list(range(2, 26))
    assert len({job.PandaID for result in results for job in result.jobs}) == 48


def test_requests_with_one_idempotency_key_store_one_submission(database: ConnectionSettings) -> None:
    def submit(tbuf: TaskBuffer, n: int) -> Submitted:
        return keyed(tbuf, f"key{n // 6}").storeJobs(Submission([make_job()], JANE))

    results = at_once(database, submit, 24)
    stored = {n: {results[i].jobs for i in range(6 * n, 6 * n + 6)} for n in range(4)}
    assert [len(answers) for answers in stored.values()] == [1] * 4
    assert len({answer for answers in stored.values() for answer in answers}) == 4


def test_production_requests_with_one_idempotency_key_store_one_submission(database: ConnectionSettings) -> None:
    operator = Submitter(dn="/CN=Op", name="Op", is_production=True)

    def submit(tbuf: TaskBuffer, _: int) -> Submitted:
        job = make_job(prodSourceLabel="managed")
        return keyed(tbuf, "k").storeJobs(Submission([job], operator))

    assert len({result.jobs for result in at_once(database, submit, 12)}) == 1


def test_a_library_that_arrives_during_the_set_up_is_noticed(database: ConnectionSettings, tbuf: TaskBuffer) -> None:
    jobs = [run_job(f"lib{n}") for n in range(20)]
    ids = [job.PandaID for job in tbuf.storeJobs(Submission(jobs, JANE)).jobs]

    def act(buffer: TaskBuffer, n: int) -> None:
        if n % 2:
            buffer.dispatchArrived(f"lib{n // 2}")
        else:
            buffer.applySetup([Prepared(ids[n // 2], JobStatus.assigned)])

    at_once(database, act, 40)
    assert {job.jobStatus for job in tbuf.peekJobs(ids) if job} == {"activated"}
