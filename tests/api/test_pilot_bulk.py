"""Many heartbeats in one request, as harvesters send them, through both doors."""

from __future__ import annotations

import json
from typing import Any

import pytest
from werkzeug.test import Client

from pandaserver.taskbuffer.requests import Reception, UpdateOutcome
from tests.api.callers import PRODUCTION, USER, FakeTaskBuffer
from tests.api.conftest import MakeClient
from tests.api.pilots import sites, v1, with_json

NO_ROLE = "no production/pilot role in VOMS FQANs or non pilot owner"


def taken(command: str | None = None) -> UpdateOutcome:
    return UpdateOutcome(9000001, Reception.applied, command)


@pytest.fixture
def task_buffer() -> FakeTaskBuffer:
    return FakeTaskBuffer(updateJobsInBulk=lambda reports: [taken()] * len(reports), loadSites=sites())


@pytest.fixture
def server(make_client: MakeClient) -> Client:
    import pandaserver.jobdispatcher.JobDispatcher  # noqa: F401  declares its requests

    return make_client()


def test_a_bulk_is_one_call_and_each_is_answered(server: Client, task_buffer: FakeTaskBuffer) -> None:
    jobs = [
        {"job_id": 1, "job_status": "running", "attempt_nr": 1, "token": "x", "core_count": 8},
        {"job_id": 2, "job_status": "dancing"},
        {"job_status": "running"},
        {"job_id": 3, "job_status": "finished", "job_output_report": "{}"},
    ]
    reply = v1(server, "pilot/update_jobs_bulk", PRODUCTION, job_list=jobs, harvester_id="hv1")
    assert reply["success"]
    fine = {"success": True, "message": "", "data": {"StatusCode": 0, "command": None}}
    assert (reply["data"][0], reply["data"][3]) == (fine, fine)
    assert [item["success"] for item in reply["data"]] == [True, False, False, True]
    [[reports]] = task_buffer.called("updateJobsInBulk")
    assert [report.PandaID for report in reports] == [1, 3]


@pytest.mark.parametrize(
    ("command", "told"), [("debug,tobekilled", "tobekilled"), ("tobekilled", "tobekilled"), ("debug", "debug")]
)
def test_a_harvester_is_told_to_kill_in_the_only_word_that_it_knows(
    server: Client, task_buffer: FakeTaskBuffer, command: str, told: str
) -> None:
    task_buffer.answers["updateJobsInBulk"] = [taken(command)]
    jobs = [{"job_id": 1, "job_status": "running"}]
    reply = v1(server, "pilot/update_jobs_bulk", PRODUCTION, job_list=jobs)
    assert reply["data"][0]["data"]["command"] == told
    old = json.dumps([{"jobId": 1, "state": "running"}])
    [_, [item]] = with_json(server, "updateJobsInBulk", PRODUCTION, jobList=old)
    assert json.loads(item["content"])["command"] == told


def test_old_harvesters_read_text_within_json(server: Client) -> None:
    jobs = json.dumps([{"jobId": 1, "state": "running", "startTime": "2026-11-20 07:18:52"}])
    reply = with_json(server, "updateJobsInBulk", PRODUCTION, jobList=jobs, harvester_id="hv1")
    assert reply == [True, [{"type": "json", "content": '{"StatusCode": 0, "command": "NULL"}'}]]
    plain = server.post("/server/panda/updateJobsInBulk", data={"jobList": jobs}, environ_overrides=PRODUCTION)
    assert json.loads(plain.data) == [True, ["StatusCode=0&command=NULL"]]


def test_a_role_is_asked_for_job_by_job_in_an_old_bulk(server: Client, task_buffer: FakeTaskBuffer) -> None:
    jobs = json.dumps([{"jobId": 1, "state": "running"}])
    [worked, [item]] = with_json(server, "updateJobsInBulk", USER, jobList=jobs)
    assert (worked, json.loads(item["content"])) == (True, {"StatusCode": 60, "errorDialog": NO_ROLE})
    assert task_buffer.called("updateJobsInBulk") == []


@pytest.mark.parametrize("odd", [{"jobId": 7}, {"state": "running"}, {"jobId": "x", "state": "running"}, [1], None])
def test_an_item_that_nobody_can_read_does_not_keep_the_others_from_arriving(
    server: Client, task_buffer: FakeTaskBuffer, odd: Any
) -> None:
    """A harvester sends the whole list again, in the same order, until each of its jobs has been taken."""
    jobs = json.dumps([odd, {"jobId": 8, "state": "running"}])
    [worked, [unread, taken]] = with_json(server, "updateJobsInBulk", PRODUCTION, jobList=jobs)
    assert (worked, json.loads(taken["content"])) == (True, {"StatusCode": 0, "command": "NULL"})
    assert json.loads(unread["content"])["StatusCode"] == 30
    [[[report]]] = task_buffer.called("updateJobsInBulk")
    assert report.PandaID == 8


def test_a_token_that_a_payload_wrote_is_nobodys_credential(server: Client, task_buffer: FakeTaskBuffer) -> None:
    jobs = json.dumps([{"jobId": 1, "state": "running", "token": "of the payload"}])
    [_, [item]] = with_json(server, "updateJobsInBulk", PRODUCTION, jobList=jobs)
    assert json.loads(item["content"])["StatusCode"] == 0
    assert task_buffer.called("isPilotToken") == []
