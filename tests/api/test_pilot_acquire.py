"""Pilots and harvesters ask for jobs, through both doors."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl

import pytest
from werkzeug.test import Client

from pandaserver.srvcore.errors import Unavailable
from pandaserver.taskbuffer.db_proxy_mods import job_dispatch
from pandaserver.taskbuffer.requests import NOTHING, Acquired, JobRequest, Selection
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from tests.api.callers import LIMITED, PILOT, PRODUCTION, USER, FakeTaskBuffer
from tests.api.conftest import MakeClient
from tests.api.pilots import form_of, golden, joes_job, sites, stack_a, v1, with_json
from tests.db.stages import put_job

ANONYMOUS: dict[str, str] = {}
NO_ROLE = "no production/pilot role in VOMS FQANs or non pilot owner"


@pytest.fixture
def task_buffer() -> FakeTaskBuffer:
    return FakeTaskBuffer(getJobs=Acquired((joes_job(),)), loadSites=sites())


@pytest.fixture
def server(make_client: MakeClient) -> Client:
    import pandaserver.jobdispatcher.JobDispatcher  # noqa: F401  declares its requests

    return make_client()


def request_of(task_buffer: FakeTaskBuffer) -> JobRequest:
    [[wanted]] = task_buffer.called("getJobs")
    assert isinstance(wanted, JobRequest)
    return wanted


def test_the_reply_to_a_stock_pilot_is_the_golden_one(server: Client) -> None:
    reply = stack_a(server, "getJob", golden("getJob.request.json"))
    assert parse_qsl(reply.text) == parse_qsl(golden("getJob.reply.txt"))
    assert reply.text == golden("getJob.reply.txt")
    assert reply.content_type.startswith("text/plain")


def test_the_request_of_a_stock_pilot_is_understood(server: Client, task_buffer: FakeTaskBuffer) -> None:
    stack_a(server, "getJob", golden("getJob.request.json"))
    assert request_of(task_buffer) == JobRequest(
        site="TEST_PQ",
        selection=Selection.user,
        label="user",
        memory=24105,
        node="wn01",
        computing_element="TEST_PQ",
        harvester_id="hv1",
        worker_id=42,
    )


def test_one_job_comes_flat_and_any_number_as_a_list(server: Client) -> None:
    flat = with_json(server, "getJob", siteName="TEST_PQ")
    assert (flat["StatusCode"], flat["PandaID"]) == (0, 9000001)
    listed = with_json(server, "getJob", siteName="TEST_PQ", nJobs="1")
    assert listed == {"StatusCode": 0, "jobs": [flat]}
    form = form_of(stack_a(server, "getJob", {"siteName": "TEST_PQ", "nJobs": 1}))
    assert json.loads(form["jobs"]) == [flat]
    assert v1(server, "pilot/acquire_jobs", site_name="TEST_PQ") == {
        "success": True,
        "message": "",
        "data": {"StatusCode": 0, "jobs": [flat]},
    }


def test_a_harvester_gets_its_jobs_at_v1(server: Client, task_buffer: FakeTaskBuffer) -> None:
    fields = {"site_name": "TEST_PQ", "node": "hv01", "prod_source_label": "managed", "computing_element": "hv01"}
    v1(server, "pilot/acquire_jobs", PRODUCTION, **fields, n_jobs=2, scheduler_id="harvester-hv1")
    assert request_of(task_buffer) == JobRequest(
        site="TEST_PQ",
        n_jobs=2,
        label="managed",
        node="hv01",
        computing_element="hv01",
        scheduler_id="harvester-hv1",
        harvester_id="hv1",
        counts_sent=True,
    )


def test_no_job_is_code_20_with_a_dialog_in_json_only(server: Client, task_buffer: FakeTaskBuffer) -> None:
    task_buffer.answers["getJobs"] = NOTHING
    assert stack_a(server, "getJob", {"siteName": "TEST_PQ"}).text == "StatusCode=20"
    none = {"StatusCode": 20, "errorDialog": "no jobs in PanDA"}
    assert with_json(server, "getJob", siteName="TEST_PQ", nJobs="3") == none
    reply = v1(server, "pilot/acquire_jobs", site_name="TEST_PQ")
    assert (reply["success"], reply["message"]) == (False, "No jobs in PanDA")


def test_a_stalled_database_is_code_10(server: Client, task_buffer: FakeTaskBuffer) -> None:
    task_buffer.answers["getJobs"] = Unavailable("no connection")
    reply = stack_a(server, "getJob", {"siteName": "TEST_PQ"})
    assert (reply.status_code, form_of(reply)["StatusCode"]) == (503, "10")


def test_the_queue_must_be_named(server: Client) -> None:
    assert with_json(server, "getJob")["StatusCode"] == 30
    assert not v1(server, "pilot/acquire_jobs")["success"]


# -- who may ask -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("caller", [PILOT, PRODUCTION])
def test_pilots_may_ask_for_every_label(server: Client, caller: dict[str, str]) -> None:
    assert with_json(server, "getJob", caller, siteName="TEST_PQ", prodSourceLabel="managed")["StatusCode"] == 0
    assert v1(server, "pilot/acquire_jobs", caller, site_name="TEST_PQ", prod_source_label="managed")["success"]


def test_a_user_gets_own_jobs_only_whatever_the_request_says(server: Client, task_buffer: FakeTaskBuffer) -> None:
    fields = {"siteName": "TEST_PQ", "prodSourceLabel": "user", "prodUserID": "/CN=John Roe"}
    assert with_json(server, "getJob", USER, **fields)["StatusCode"] == 0
    assert request_of(task_buffer).user_name == "Jane Doe"


@pytest.mark.parametrize(("caller", "label"), [(USER, "managed"), (USER, None), (ANONYMOUS, "user")])
def test_others_are_refused(server: Client, caller: dict[str, str], label: str | None) -> None:
    fields = {"siteName": "TEST_PQ"} | ({"prodSourceLabel": label} if label else {})
    assert with_json(server, "getJob", caller, **fields) == {"StatusCode": 60, "errorDialog": NO_ROLE}
    assert stack_a(server, "getJob", fields, caller).text == "StatusCode=60"


def test_v1_wants_a_full_credential(server: Client) -> None:
    for caller in (ANONYMOUS, LIMITED):
        reply = v1(server, "pilot/acquire_jobs", caller, site_name="TEST_PQ", prod_source_label="user")
        assert not reply["success"]
        assert "SSL secure connection is required" in reply["message"]


def test_the_owner_of_a_queues_pilots_needs_no_role(server: Client, task_buffer: FakeTaskBuffer) -> None:
    task_buffer.answers["loadSites"] = sites(dn="/CN=John Roe|/DC=org/CN=Jane Doe")
    assert with_json(server, "getJob", USER, siteName="TEST_PQ")["StatusCode"] == 0


# -- what is asked for -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("queue", "label", "element", "job_type", "selection"),
    [
        ({}, "user", None, None, Selection.user),
        ({}, None, None, None, Selection.managed),
        ({}, "", None, None, Selection.managed),
        ({}, "unified", None, None, Selection.unified),
        ({}, "ptest", "ce", None, Selection.exact),
        ({}, "test", None, None, Selection.exact),
        ({}, "test", "ce", None, Selection.test),
        ({}, "test", "ce", "user", Selection.gangarobot),
        ({"type": "production"}, "test", "ce", "user", Selection.test),
        ({"status": "test"}, "managed", "ce", None, Selection.test),
        ({"status": "test"}, "unified", None, None, Selection.exact),
        ({"status": "test"}, "ptest", "ce", None, Selection.exact),
        ({"status": "test"}, None, "ce", None, Selection.managed),
    ],
)
def test_the_label_and_the_queue_say_which_jobs(
    server: Client,
    task_buffer: FakeTaskBuffer,
    queue: dict[str, str],
    label: str | None,
    element: str | None,
    job_type: str | None,
    selection: Selection,
) -> None:
    task_buffer.answers["loadSites"] = sites(**queue)
    fields: dict[str, Any] = {"prodSourceLabel": label, "computingElement": element, "jobType": job_type}
    with_json(server, "getJob", siteName="TEST_PQ", **{k: v for k, v in fields.items() if v is not None})
    assert request_of(task_buffer).selection is selection


@pytest.mark.parametrize(
    ("name", "value", "field", "expected"),
    [
        ("mem", "24105.56", "memory", 24105),
        ("mem", "junk", "memory", 0),
        ("mem", "-5", "memory", 0),
        ("diskSpace", "0", "disk_space", 0),
        ("remaining_time", "1e3", "remaining_time", 1000),
        ("taskID", "NULL", "task_id", None),
        ("taskID", "7", "task_id", 7),
        ("worker_id", "w1", "worker_id", None),
        ("background", "True", "background", True),
        ("background", "False", "background", False),
        ("resourceType", "MCORE", "resource_type", "MCORE"),
        ("prodUserID", "/DC=org/CN=John Roe/CN=proxy", "user_name", "John Roe"),
        ("nJobs", "5000", "n_jobs", 1000),
        ("schedulerID", "hv1", "scheduler_id", "hv1"),
        ("schedulerID", "harvester-hv1", "harvester_id", "hv1"),
        ("harvester_id", "h" * 51, "harvester_id", None),
        ("worker_id", "9" * 30, "worker_id", None),
        ("node", "wn\0", "node", "wn\N{REPLACEMENT CHARACTER}"),
        ("noSuchThing", "x", "n_jobs", 1),
    ],
)
def test_each_parameter_becomes_its_filter(
    server: Client, task_buffer: FakeTaskBuffer, name: str, value: str, field: str, expected: Any
) -> None:
    fields: dict[str, Any] = {name: value}
    with_json(server, "getJob", siteName="TEST_PQ", **fields)
    assert getattr(request_of(task_buffer), field) == expected


def test_a_proxy_that_nobody_registered_has_an_empty_name(server: Client, task_buffer: FakeTaskBuffer) -> None:
    task_buffer.answers["getProxyKeys"] = {}
    reply = with_json(server, "getJob", siteName="TEST_PQ", getProxyKey="True")
    assert (reply["credname"], reply["myproxy"]) == ("", "")
    assert "credname" not in with_json(server, "getJob", siteName="TEST_PQ", getProxyKey="False")


def test_a_job_goes_from_the_database_to_the_pilot(
    make_client: MakeClient, tbuf: TaskBuffer, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pandaserver.jobdispatcher.JobDispatcher  # noqa: F401  declares its requests

    monkeypatch.setattr(job_dispatch, "SLOPPY_RATIO", 0)
    tbuf.storeQueues({"TEST_PQ": {"status": "online", "type": "unified"}})
    server = make_client(tbuf=tbuf)
    pid = put_job(tbuf, "activated")
    reply = form_of(stack_a(server, "getJob", golden("getJob.request.json")))
    assert (reply["StatusCode"], reply["PandaID"], reply["inFiles"]) == ("0", str(pid), "data.0000.root")
    assert stack_a(server, "getJob", golden("getJob.request.json")).text == "StatusCode=20"
