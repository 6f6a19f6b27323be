"""Retry rules are asked whenever a job has failed, in real databases."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from pandaserver.daemons.scripts import datasetManager
from pandaserver.dataservice.RetryRules import apply_retry_rules
from pandaserver.jobdispatcher.Watcher import Watcher
from pandaserver.taskbuffer.lost_jobs import heartbeat_rules
from pandaserver.taskbuffer.retry_rules import ADDER_SOURCES
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from tests.db import event_jobs
from tests.db.completion import adder, age, insert, job_of, put_report
from tests.db.stages import put_job

COVERS = {"retry rules"}


@pytest.fixture(autouse=True)
def _told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "panda.log.RetrialModule")


def put_rule(
    tbuf: TaskBuffer,
    source: str,
    code: int,
    *,
    number: int = 1,
    action: str = "no_retry",
    flags: tuple[str, str] = ("Y", "Y"),
    expires: float | None = None,
    **conditions: Any,
) -> None:
    insert(tbuf, "RetryActions", minutes_ago={}, retryAction_ID=number, retry_action=action, active=flags[1])
    row = {"retryError_ID": number, "errorSource": source, "errorCode": code, "retryAction": number}
    times = {} if expires is None else {"expiration_date": expires}
    insert(tbuf, "RetryErrors", minutes_ago=times, active=flags[0], **row, **conditions)


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name.endswith("RetrialModule")]


def test_the_adder_asks_about_the_errors_of_a_pilot(tbuf: TaskBuffer, caplog: pytest.LogCaptureFixture) -> None:
    put_rule(tbuf, "pilotErrorCode", 1099, parameters="a=1")
    job_id = put_job(tbuf, "holding", jediTaskID=7, pilotErrorCode=1099)
    put_report(tbuf, job_id, "failed", "")
    adder(tbuf).run()
    assert job_of(tbuf, job_id).jobStatus == "failed"
    assert told(caplog) == [
        f"<PandaID={job_id}> rule=1 pilotErrorCode=1099 action=no_retry parameters=a=1 task=7 not done: "
        "this server has no task layer"
    ]


def test_the_adder_asks_about_what_it_found_itself(tbuf: TaskBuffer, caplog: pytest.LogCaptureFixture) -> None:
    put_rule(tbuf, "ddmErrorCode", 200)
    put_report(tbuf, put_job(tbuf, "holding", jediTaskID=7), "finished", "{}")
    adder(tbuf).run()
    assert len(told(caplog)) == 1


def test_nobody_is_asked_about_jobs_that_did_not_fail(tbuf: TaskBuffer, caplog: pytest.LogCaptureFixture) -> None:
    put_rule(tbuf, "pilotErrorCode", 1099)
    finished = put_job(tbuf, "holding", jediTaskID=7, pilotErrorCode=1099)
    killed = put_job(tbuf, "holding", jediTaskID=7, pilotErrorCode=1099, commandToPilot="tobekilled")
    put_report(tbuf, finished)
    put_report(tbuf, killed, "failed", "")
    adder(tbuf).run()
    assert [job_of(tbuf, job_id).jobStatus for job_id in (finished, killed)] == ["finished", "cancelled"]
    assert told(caplog) == []


@pytest.mark.parametrize(("max_attempt", "status", "asked"), [(3, "merging", 0), (-1, "failed", 1)])
def test_a_consumer_is_asked_about_if_its_set_fails_and_not_if_it_goes_on(
    tbuf: TaskBuffer, caplog: pytest.LogCaptureFixture, max_attempt: int, status: str, asked: int
) -> None:
    put_rule(tbuf, "pilotErrorCode", 1099)
    pids = event_jobs.submit(tbuf, event_jobs.consumer(maxAttempt=max_attempt))
    event_jobs.begin(tbuf)
    got = event_jobs.acquire(tbuf, pids[0])
    event_jobs.update(tbuf, got[:1])
    event_jobs.end(tbuf, pids[0], "failed", columns={"pilotErrorCode": 1099})
    assert job_of(tbuf, pids[0]).jobStatus == status
    assert len(told(caplog)) == asked


def test_a_consumer_that_fails_although_its_payload_did_not_is_asked_about(
    tbuf: TaskBuffer, caplog: pytest.LogCaptureFixture
) -> None:
    put_rule(tbuf, "taskBufferErrorCode", 118)
    (pid,) = event_jobs.submit(tbuf, event_jobs.consumer(maxAttempt=-1))
    event_jobs.begin(tbuf)
    event_jobs.end(tbuf, pid, "finished")
    job = job_of(tbuf, pid)
    assert (job.jobStatus, job.taskBufferErrorCode) == ("failed", 118)
    assert len(told(caplog)) == 1


def test_the_watcher_asks_with_its_own_code(tbuf: TaskBuffer, caplog: pytest.LogCaptureFixture) -> None:
    put_rule(tbuf, "jobDispatcherErrorCode", 102)
    age(tbuf, "jobsActive4", put_job(tbuf, "sent", jediTaskID=7), modificationTime=31)
    Watcher(tbuf).run(heartbeat_rules(2, 48))
    assert len(told(caplog)) == 1


def test_an_overdue_transfer_is_asked_about(tbuf: TaskBuffer, caplog: pytest.LogCaptureFixture) -> None:
    put_rule(tbuf, "taskBufferErrorCode", 101)
    job_id = put_job(tbuf, "transferring", jediTaskID=7, prodSourceLabel="managed")
    age(tbuf, "jobsActive4", job_id, endTime=49 * 60)
    assert datasetManager.sections(tbuf)["overdue"]() == 1
    assert len(told(caplog)) == 1


@pytest.mark.parametrize(
    ("more", "applies"),
    [
        ({}, 1),
        ({"flags": ("N", "Y")}, 0),
        ({"flags": ("Y", "N")}, 0),
        ({"expires": -1.0}, 1),
        ({"expires": 1.0}, 0),
        ({"errorDiag": "disk"}, 1),
        ({"errorDiag": "isk"}, 0),
        ({"architecture": "el9"}, 1),
        ({"release": "Atlas-21"}, 0),
        ({"workQueue_ID": 4}, 1),
        ({"workQueue_ID": 5}, 0),
    ],
)
def test_conditions_are_those_of_the_row(tbuf: TaskBuffer, more: dict[str, Any], applies: int) -> None:
    put_rule(tbuf, "pilotErrorCode", 1099, **more)
    facts = {"cmtConfig": "el9", "AtlasRelease": "Atlas-22", "workQueue_ID": 4, "pilotErrorDiag": "disk is full"}
    job_id = put_job(tbuf, "failed", jediTaskID=7, pilotErrorCode=1099, **facts)
    assert apply_retry_rules(tbuf, [job_id], ADDER_SOURCES) == applies


def test_a_rule_that_is_not_active_is_told(tbuf: TaskBuffer, caplog: pytest.LogCaptureFixture) -> None:
    put_rule(tbuf, "transExitCode", 65, flags=("Y", "N"))
    job_id = put_job(tbuf, "failed", jediTaskID=7, transExitCode="65")
    apply_retry_rules(tbuf, [job_id], ADDER_SOURCES)
    (line,) = told(caplog)
    assert "dry run: the rule or its action is not active" in line


def test_for_a_job_without_a_task_there_is_nothing_to_do(tbuf: TaskBuffer, caplog: pytest.LogCaptureFixture) -> None:
    put_rule(tbuf, "pilotErrorCode", 1099)
    apply_retry_rules(tbuf, [put_job(tbuf, "failed", pilotErrorCode=1099)], ADDER_SOURCES)
    (line,) = told(caplog)
    assert "nothing to do: the job belongs to no task" in line


@pytest.mark.parametrize("exit_code", ["killed", None, "0", "99999999999999999999"])
def test_an_exit_code_may_be_anything(tbuf: TaskBuffer, exit_code: str | None) -> None:
    put_rule(tbuf, "transExitCode", 65)
    job_id = put_job(tbuf, "failed", jediTaskID=7, transExitCode=exit_code)
    assert apply_retry_rules(tbuf, [job_id], ADDER_SOURCES) == 0


def test_what_can_never_apply_is_found(tbuf: TaskBuffer) -> None:
    put_rule(tbuf, "pilotErrorCode", 1099, action="limit_retry")
    assert tbuf.checkRetryRules() == ["rule 1: limit_retry needs the parameter maxAttempt=<number>"]
