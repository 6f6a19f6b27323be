"""Questions about jobs, workers and resource types through both doors, on a real database."""

from __future__ import annotations

from typing import Any

import pytest
from werkzeug.test import Client

from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from tests.api.callers import PILOT, PRODUCTION, USER
from tests.api.conftest import MakeClient
from tests.api.pilots import LEGACY, V1, form_of, stack_a, v1, with_json
from tests.db.crowd import insert, query
from tests.db.stages import put_job


@pytest.fixture
def server(make_client: MakeClient, tbuf: TaskBuffer) -> Client:
    import pandaserver.jobdispatcher.JobDispatcher  # noqa: F401  declares its requests

    return make_client(tbuf=tbuf)


def test_states_are_joined_by_plus(server: Client, tbuf: TaskBuffer) -> None:
    pid = put_job(tbuf, "running", attemptNr=2)
    reply = server.post(LEGACY + "getStatus", data={"ids": f"{pid} 999 junk"}, headers={"Accept": "application/json"})
    assert reply.text == "StatusCode=0&status=running%2Bnotfound%2Bnotfound&attemptNr=2%2B0%2B0"


def test_states_at_v1(server: Client, tbuf: TaskBuffer) -> None:
    pid = put_job(tbuf, "running", attemptNr=2)
    reply = server.get(V1 + f"pilot/get_job_status?job_ids={pid}&job_ids=999", environ_overrides=USER)
    assert reply.json is not None
    assert reply.json["data"] == [
        {"job_id": pid, "status": "running", "attempt_number": 2},
        {"job_id": 999, "status": "not found", "attempt_number": 0},
    ]
    assert not server.get(V1 + f"pilot/get_job_status?job_ids={pid}").json["success"]  # type: ignore[index]


def test_harvesters_learn_whom_to_kill(server: Client, tbuf: TaskBuffer) -> None:
    running = put_job(tbuf, "running")
    killed = put_job(tbuf, "running", commandToPilot="tobekilled")
    expected = [
        {"status": "running", "command": None},
        {"status": "unknown", "command": "tobekilled"},
        {"status": "running", "command": "tobekilled"},
    ]
    reply = server.post(LEGACY + "checkJobStatus", data={"ids": f"{running},999,{killed}"})
    assert reply.json == {"StatusCode": 0, "data": expected}
    query_string = "&".join(f"job_ids={n}" for n in (running, 999, killed))
    answer = server.get(V1 + f"job/get_status?{query_string}", environ_overrides=PRODUCTION)
    assert answer.json is not None
    assert answer.json["data"] == expected


def test_a_worker_hears_from_its_pilot(server: Client, tbuf: TaskBuffer) -> None:
    worker = {"harvesterID": "hv1", "workerID": 42, "lastUpdate": "now", "status": "running"}
    insert(tbuf, "PANDA.Harvester_Workers", worker)
    fields = {"site": "TEST_PQ", "workerID": "42", "harvesterID": "hv1", "node_id": "wn01"}
    assert stack_a(server, "updateWorkerPilotStatus", {**fields, "status": "started"}).text == "StatusCode=0"
    rows = query(tbuf, "SELECT pilotStatus, nodeID FROM ATLAS_PANDA.Harvester_Workers")
    assert rows == [("started", "wn01")]
    path = "pilot/update_worker_status"
    assert v1(server, path, worker_id="42", harvester_id="hv1", status="finished")["success"]
    assert v1(server, path, worker_id=43, harvester_id="hv1", status="finished")["success"]
    assert query(tbuf, "SELECT pilotStatus FROM ATLAS_PANDA.Harvester_Workers") == [("finished",)]


def test_what_is_wrong_about_a_worker_is_plain_text(server: Client) -> None:
    fields = {"workerID": "42", "harvesterID": "hv1"}
    assert "Invalid pilot status" in stack_a(server, "updateWorkerPilotStatus", {**fields, "status": "resting"}).text
    refusal = stack_a(server, "updateWorkerPilotStatus", {**fields, "status": "started"}, USER)
    assert refusal.status_code == 200
    assert "StatusCode" not in refusal.text
    assert not v1(server, "pilot/update_worker_status", worker_id=1, harvester_id="hv1", status="resting")["success"]


@pytest.mark.parametrize("node", ["wn\0", ["wn"], 7])
def test_no_name_of_a_node_keeps_a_pilot_from_telling_that_it_began(
    server: Client, tbuf: TaskBuffer, node: Any
) -> None:
    worker = {"harvesterID": "hv1", "workerID": 42, "lastUpdate": "now", "status": "running"}
    insert(tbuf, "PANDA.Harvester_Workers", worker)
    fields = {"workerID": "42", "harvesterID": "hv1", "site": "TEST_PQ", "status": "started", "node_id": node}
    assert stack_a(server, "updateWorkerPilotStatus", fields).text == "StatusCode=0"
    assert query(tbuf, "SELECT pilotStatus FROM ATLAS_PANDA.Harvester_Workers") == [("started",)]


def test_an_owner_of_pilots_tells_of_workers_of_that_queue(server: Client, tbuf: TaskBuffer) -> None:
    # The stock pilot takes the plain text of a refusal for a broken connection, and tries again for twenty minutes.
    tbuf.storeQueues({"TEST_PQ": {"nickname": "TEST_PQ", "status": "online", "dn": USER["SSL_CLIENT_S_DN"]}})
    fields = {"workerID": "42", "harvesterID": "hv1", "status": "started"}
    assert with_json(server, "updateWorkerPilotStatus", USER, site="TEST_PQ", **fields) == {"StatusCode": 0}
    assert with_json(server, "updateWorkerPilotStatus", USER, site="OTHER_PQ", **fields) is None


def test_resource_types_are_python_text_for_pilots(server: Client) -> None:
    import ast

    form = form_of(stack_a(server, "getResourceTypes", {}))
    listed = with_json(server, "getResourceTypes")
    assert (form["StatusCode"], form["Returns"]) == ("0", "0")
    assert ast.literal_eval(form["ResourceTypes"]) == listed["ResourceTypes"]
    assert {"resource_name", "mincore", "maxcore", "minrampercore", "maxrampercore"} == set(listed["ResourceTypes"][0])
    reply = server.get(V1 + "metaconfig/get_resource_types", environ_overrides=PILOT)
    assert reply.json is not None
    assert reply.json["data"] == listed["ResourceTypes"]
