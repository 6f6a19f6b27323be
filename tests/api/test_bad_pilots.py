"""Pilots that misbehave: in whatever order they speak, histories stay legal, and each is told what to do."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from werkzeug.test import Client

from pandaserver.srvcore.errors import OutcomeUnknown, Unavailable
from pandaserver.taskbuffer.ErrorCode import EC_INVALID_BATCH_ID
from pandaserver.taskbuffer.kill import Killer, KillRequest
from pandaserver.taskbuffer.states import TRANSITIONS
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from tests.api.callers import PILOT
from tests.api.conftest import MakeClient
from tests.api.pilots import form_of, stack_a
from tests.db.completion import adder, history, job_of, read, reports, tables_of
from tests.db.stages import put_job

Say = Callable[..., dict[str, str]]

GO_ON = {"StatusCode": "0", "command": "NULL"}
STOP = {"StatusCode": "0", "command": "tobekilled"}
DONE = {"StatusCode": "0", "command": "alreadydone"}

ARROWS = {(arrow.source, arrow.target) for arrow in TRANSITIONS}
FINISHED = {"xml": '{"user.jane.log.0001.tgz": {"guid": "g", "fsize": 1, "adler32": "00000001", "surl": "/x"}}'}


@pytest.fixture
def server(make_client: MakeClient, tbuf: TaskBuffer) -> Client:
    import pandaserver.jobdispatcher.JobDispatcher  # noqa: F401  declares its requests

    return make_client(tbuf=tbuf)


@pytest.fixture
def say(server: Client) -> Say:
    """Sends one heartbeat as a stock pilot does, and returns what it reads in the reply."""

    def send(pid: int | str, state: str, attempt: int | None = 1, **fields: Any) -> dict[str, str]:
        body = {"jobId": str(pid), "state": state, **({} if attempt is None else {"attemptNr": attempt}), **fields}
        reply = stack_a(server, "updateJob", body)
        assert reply.status_code == 200, reply.text
        return form_of(reply)

    return send


@pytest.fixture
def job(tbuf: TaskBuffer) -> int:
    """A job that a pilot has just got."""
    return put_job(tbuf, "sent", attemptNr=1)


def status(tbuf: TaskBuffer, pid: int) -> str | None:
    """Return the status of a job, which is in one place and has come there on known ways."""
    assert len(tables_of(tbuf, pid)) == 1
    lived = ["sent", *history(tbuf, pid)]
    assert all(step in ARROWS for step in pairwise(lived)), lived
    assert job_of(tbuf, pid).jobStatus == lived[-1]
    return job_of(tbuf, pid).jobStatus


def test_a_final_report_that_comes_twice_is_taken_once(say: Say, tbuf: TaskBuffer, job: int) -> None:
    say(job, "running")
    assert [say(job, "finished", **FINISHED) for _ in range(3)] == [GO_ON, DONE, DONE]
    assert (status(tbuf, job), reports(tbuf)) == ("holding", [(job, 1, "finished")])


@pytest.mark.parametrize(("first", "second"), [("finished", "failed"), ("failed", "finished")])
def test_the_first_of_two_final_reports_counts(say: Say, tbuf: TaskBuffer, job: int, first: str, second: str) -> None:
    say(job, "running")
    assert say(job, first, pilotErrorCode=1305 if first == "failed" else 0) == GO_ON
    assert say(job, second, pilotErrorCode=1305 if second == "failed" else 0) == DONE
    assert (status(tbuf, job), reports(tbuf)) == ("holding", [(job, 1, first)])
    assert job_of(tbuf, job).pilotErrorCode == (1305 if first == "failed" else 0)


@pytest.mark.parametrize("state", ["starting", "running", "holding", "transferring", "finished", "failed"])
@pytest.mark.parametrize("attempt", [0, 2])
def test_another_attempt_is_told_to_stop(say: Say, tbuf: TaskBuffer, job: int, state: str, attempt: int) -> None:
    assert say(job, state, attempt, node="elsewhere") == STOP
    assert (status(tbuf, job), reports(tbuf)) == ("sent", [])
    assert job_of(tbuf, job).modificationHost != "elsewhere"


def test_the_pilot_of_a_former_attempt_does_not_end_the_present_one(say: Say, tbuf: TaskBuffer) -> None:
    job = put_job(tbuf, "running", attemptNr=1, maxAttempt=3)
    assert say(job, "failed", pilotErrorCode=-1201) == GO_ON  # asks for another attempt
    assert job_of(tbuf, job).attemptNr == 2
    assert [say(job, state) for state in ("failed", "finished", "running")] == [STOP] * 3
    assert (job_of(tbuf, job).jobStatus, reports(tbuf)) == ("activated", [])


@pytest.mark.parametrize("state", ["starting", "running", "finished", "failed"])
def test_a_job_that_nobody_knows_is_to_be_stopped(say: Say, tbuf: TaskBuffer, state: str) -> None:
    assert say(987654321, state) == STOP
    assert reports(tbuf) == []


def test_metadata_of_a_job_that_nobody_knows_gets_no_command(say: Say) -> None:
    assert say(987654321, "running", metaData="{}") == {"StatusCode": "0"}


def test_two_pilots_never_get_the_same_job(server: Client, tbuf: TaskBuffer) -> None:
    job = put_job(tbuf, "activated", attemptNr=1)
    asks = {"siteName": "TEST_PQ", "prodSourceLabel": "user", "node": "wn01", "mem": 0, "diskSpace": 0}
    first, second = (form_of(stack_a(server, "getJob", asks)) for _ in range(2))
    assert (first["StatusCode"], first["PandaID"]) == ("0", str(job))
    assert second["StatusCode"] == "20"
    assert history(tbuf, job) == ["sent"]


def test_of_two_pilots_with_one_job_the_second_is_stopped(say: Say, tbuf: TaskBuffer, job: int) -> None:
    assert say(job, "running", batchID="condor.1") == GO_ON
    assert say(job, "running", batchID="condor.2") == STOP
    assert say(job, "finished", batchID="condor.2", **FINISHED) == STOP
    assert job_of(tbuf, job).supErrorCode == EC_INVALID_BATCH_ID
    assert (status(tbuf, job), reports(tbuf)) == ("running", [])
    assert say(job, "finished", batchID="condor.1", **FINISHED) == GO_ON
    assert (status(tbuf, job), reports(tbuf)) == ("holding", [(job, 1, "finished")])


def test_a_pilot_that_goes_on_after_a_kill_is_told_each_time(say: Say, tbuf: TaskBuffer, job: int) -> None:
    say(job, "running")
    tbuf.killJobs(KillRequest((job,), Killer(is_system=True)))
    assert [say(job, "running") for _ in range(3)] == [STOP] * 3
    assert say(job, "failed", pilotErrorCode=1144) == STOP
    assert adder(tbuf).run(grace=-1.0) == 1
    assert status(tbuf, job) == "cancelled"
    assert say(job, "running") == STOP


def test_a_payload_that_was_faster_than_the_kill_has_finished(say: Say, tbuf: TaskBuffer, job: int) -> None:
    say(job, "running")
    tbuf.killJobs(KillRequest((job,), Killer(is_system=True)))
    say(job, "finished", xml="{}")
    assert adder(tbuf).run(grace=-1.0) == 1
    assert status(tbuf, job) in ("finished", "cancelled", "failed")
    assert [say(job, state) for state in ("running", "finished", "failed")] == [STOP] * 3


def test_who_finishes_before_starting_has_finished(say: Say, tbuf: TaskBuffer, job: int) -> None:
    assert say(job, "finished", **FINISHED) == GO_ON
    assert [say(job, late) for late in ("starting", "running")] == [GO_ON, GO_ON]
    assert (status(tbuf, job), reports(tbuf)) == ("holding", [(job, 1, "finished")])
    assert history(tbuf, job) == ["holding"]


def test_a_start_that_comes_after_running_changes_nothing(say: Say, tbuf: TaskBuffer, job: int) -> None:
    assert [say(job, state) for state in ("running", "starting", "running")] == [GO_ON] * 3
    assert (status(tbuf, job), history(tbuf, job)) == ("running", ["running"])


def test_a_job_that_nobody_has_got_is_not_to_be_run(say: Say, tbuf: TaskBuffer) -> None:
    job = put_job(tbuf, "activated", attemptNr=1)
    assert [say(job, state) for state in ("starting", "running", "finished")] == [STOP] * 3
    assert (job_of(tbuf, job).jobStatus, history(tbuf, job), reports(tbuf)) == ("activated", [], [])


def test_an_ended_job_is_told_to_everybody(say: Say, tbuf: TaskBuffer, job: int) -> None:
    say(job, "failed", pilotErrorCode=1305)
    assert adder(tbuf).run(grace=-1.0) == 1
    before = job_of(tbuf, job)
    assert [say(job, state) for state in ("starting", "running", "holding", "finished", "failed")] == [STOP] * 5
    assert job_of(tbuf, job).modificationTime == before.modificationTime
    assert status(tbuf, job) == "failed"


@pytest.mark.parametrize("state", ["", "dancing", "cancelled", "activated", "sent", "closed"])
def test_a_state_that_is_none_of_a_pilot_gets_no_command(say: Say, tbuf: TaskBuffer, job: int, state: str) -> None:
    assert say(job, state) == {"StatusCode": "0"}
    assert (status(tbuf, job), history(tbuf, job)) == ("sent", [])


@pytest.mark.parametrize("pid", ["NULL", "none", "-5", "1.5", "9" * 30, "1; DROP TABLE jobsActive4"])
def test_no_number_of_a_job_harms(server: Client, tbuf: TaskBuffer, job: int, pid: str) -> None:
    reply = stack_a(server, "updateJob", {"jobId": pid, "state": "failed"})
    assert reply.status_code < 500
    assert (status(tbuf, job), reports(tbuf)) == ("sent", [])


# -- while the database does not answer --------------------------------------------------------------------------------


class Outage:
    """A task buffer whose answers to heartbeats get lost, or that does not even do what it is asked."""

    def __init__(self, tbuf: TaskBuffer, error: Exception, *, executes: bool) -> None:
        self._tbuf = tbuf
        self._error = error
        self._executes = executes
        self.is_over = False

    def within(self, seconds: float) -> Outage:
        del seconds
        return self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tbuf, name)

    def updateJobStatus(self, report: Any) -> Any:
        answer = self._tbuf.updateJobStatus(report) if self._executes or self.is_over else None
        if not self.is_over:
            raise self._error
        return answer


@pytest.mark.parametrize(
    ("error", "executes", "code", "then"),
    [
        (OutcomeUnknown("no reply in time"), True, "10", "alreadydone"),
        (OutcomeUnknown("no reply in time"), False, "10", "NULL"),
        (Unavailable("no database"), False, "10", "NULL"),
    ],
)
def test_a_final_report_can_be_sent_again_after_an_outage(
    make_client: MakeClient, tbuf: TaskBuffer, job: int, error: Exception, executes: bool, code: str, then: str
) -> None:
    outage = Outage(tbuf, error, executes=executes)
    server = make_client(tbuf=outage)
    body = {"jobId": str(job), "state": "finished", "attemptNr": 1, **FINISHED}
    for _ in range(2):
        reply = stack_a(server, "updateJob", body)
        assert (reply.status_code, form_of(reply)["StatusCode"]) == (503, code)
        by_curl = server.post(
            "/server/panda/updateJob",
            data=body,
            headers={"Accept": "application/json"},
            environ_overrides=PILOT,
        )
        # The stack that sees no status takes everything that is JSON for success, and says it once.
        assert (by_curl.status_code, form_of(by_curl)["StatusCode"]) == (503, code)
        with pytest.raises(ValueError, match="Expecting value"):
            json.loads(by_curl.text)
    outage.is_over = True
    assert form_of(stack_a(server, "updateJob", body)) == {"StatusCode": "0", "command": then}
    assert (status(tbuf, job), reports(tbuf)) == ("holding", [(job, 1, "finished")])
    assert read(tbuf, "SELECT COUNT(*) FROM ATLAS_PANDA.jobs_StatusLog") == [(1,)]
