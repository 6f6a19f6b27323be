"""Heartbeats of pilots and harvesters through both doors."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest
from werkzeug.test import Client

from pandaserver.srvcore.errors import OutcomeUnknown
from pandaserver.taskbuffer.requests import Reception, StatusReport, UpdateOutcome
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from tests.api.callers import LIMITED, PRODUCTION, USER, FakeTaskBuffer
from tests.api.conftest import MakeClient
from tests.api.pilots import form_of, golden, sites, stack_a, v1, with_json
from tests.db.stages import put_job

NO_ROLE = "no production/pilot role in VOMS FQANs or non pilot owner"


def taken(command: str | None = None, reception: Reception = Reception.applied, **more: Any) -> UpdateOutcome:
    return UpdateOutcome(9000001, reception, command, **more)


@pytest.fixture
def task_buffer() -> FakeTaskBuffer:
    return FakeTaskBuffer(
        updateJobStatus=taken(), updateJobsInBulk=lambda reports: [taken()] * len(reports), loadSites=sites()
    )


@pytest.fixture
def server(make_client: MakeClient) -> Client:
    import pandaserver.jobdispatcher.JobDispatcher  # noqa: F401  declares its requests

    return make_client()


def report_of(task_buffer: FakeTaskBuffer) -> StatusReport:
    [[report]] = task_buffer.called("updateJobStatus")
    assert isinstance(report, StatusReport)
    return report


def columns_of(server: Client, task_buffer: FakeTaskBuffer, **fields: Any) -> dict[str, Any]:
    """Send a heartbeat with those fields through the historical door and return the columns that it sets."""
    stack_a(server, "updateJob", {"jobId": "1", "state": "running", **fields})
    return dict(report_of(task_buffer).columns)


@pytest.mark.parametrize("which", ["running", "finished"])
def test_a_stock_pilot_gets_the_golden_reply(server: Client, which: str) -> None:
    assert stack_a(server, "updateJob", golden(f"updateJob.{which}.request.json")).text == golden("updateJob.reply.txt")


def test_a_running_pilot_is_understood(server: Client, task_buffer: FakeTaskBuffer) -> None:
    stack_a(server, "updateJob", golden("updateJob.running.request.json"))
    assert report_of(task_buffer) == StatusReport(
        PandaID=9000001,
        status="running",
        attempt_nr=1,
        columns={
            "modificationHost": "wn01",
            "schedulerID": "harvester-hv1",
            "pilotID": "http://gtag.example/1|PR|3.11.5.1",
            "cpuConsumptionUnit": "s+AMD EPYC 1024 KB 2-Core Processor 1-Socket+AVX2",
            "actualCoreCount": 1,
        },
    )


def test_a_final_heartbeat_is_understood(server: Client, task_buffer: FakeTaskBuffer) -> None:
    stack_a(server, "updateJob", golden("updateJob.finished.request.json"))
    report = report_of(task_buffer)
    assert (report.status, report.is_final, report.asks_retry) == ("finished", True, False)
    assert json.loads(report.output_report)["user.joe.log.0001.tgz"]["fsize"] == 9569
    assert {name: report.columns[name] for name in ("pilotErrorCode", "transExitCode", "exeErrorCode")} == {
        "pilotErrorCode": 0,
        "transExitCode": "0",
        "exeErrorCode": 0,
    }
    assert report.columns["pilotErrorDiag"] is None
    assert "endTime" not in report.columns


# -- what is told ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "form", "data"),
    [
        (taken(), "StatusCode=0&command=NULL", {"StatusCode": 0, "command": None}),
        (
            taken("tobekilled", Reception.rejected),
            "StatusCode=0&command=tobekilled",
            {"StatusCode": 0, "command": "tobekilled"},
        ),
        (
            taken("debug", pilot_secrets='{"a": "b"}'),
            "StatusCode=0&command=debug&pilotSecrets=%7B%22a%22%3A+%22b%22%7D",
            {"StatusCode": 0, "command": "debug", "pilotSecrets": '{"a": "b"}'},
        ),
    ],
)
def test_the_command_is_told(
    server: Client, task_buffer: FakeTaskBuffer, outcome: UpdateOutcome, form: str, data: dict[str, Any]
) -> None:
    task_buffer.answers["updateJobStatus"] = outcome
    assert stack_a(server, "updateJob", {"jobId": 1, "state": "running"}).text == form
    expected = {"success": True, "message": "", "data": data}
    assert v1(server, "pilot/update_job", job_id=1, job_status="running") == expected


def test_metadata_of_an_unknown_job(server: Client, task_buffer: FakeTaskBuffer) -> None:
    task_buffer.answers["updateJobStatus"] = taken(None, Reception.unknown_job)
    assert stack_a(server, "updateJob", {"jobId": 1, "state": "running", "metaData": "x"}).text == "StatusCode=0"
    reply = v1(server, "pilot/update_job", job_id=1, job_status="running", meta_data="x")
    assert (reply["success"], reply["data"]["StatusCode"], "ErrorDiag" in reply["data"]) == (True, 30, True)


def test_an_unknown_state_does_nothing(server: Client, task_buffer: FakeTaskBuffer) -> None:
    assert with_json(server, "updateJob", jobId="1", state="stageout") == {"StatusCode": 0}
    reply = v1(server, "pilot/update_job", job_id=1, job_status="stageout")
    assert (reply["success"], reply["data"]) == (False, {"StatusCode": 50})
    assert task_buffer.called("updateJobStatus") == []


def test_the_job_null_does_nothing(server: Client, task_buffer: FakeTaskBuffer) -> None:
    assert with_json(server, "updateJob", jobId="NULL", state="running") == {"StatusCode": 0}
    reply = v1(server, "pilot/update_job", job_id=None, job_status="running")
    assert (reply["success"], reply["data"]) == (False, {"StatusCode": 50})
    assert task_buffer.called("updateJobStatus") == []


def test_others_than_pilots_are_refused(server: Client) -> None:
    refused = {"StatusCode": 60, "errorDialog": NO_ROLE}
    for caller in (USER, {}):
        assert with_json(server, "updateJob", caller, jobId="1", state="running") == refused
        assert stack_a(server, "updateJob", {"jobId": 1, "state": "running"}, caller).text == "StatusCode=60"
    assert not v1(server, "pilot/update_job", LIMITED, job_id=1, job_status="running")["success"]
    assert v1(server, "pilot/update_job", USER, job_id=1, job_status="running")["message"] == NO_ROLE


def test_a_stalled_database_is_code_10(server: Client, task_buffer: FakeTaskBuffer) -> None:
    task_buffer.answers["updateJobStatus"] = OutcomeUnknown("no reply in time")
    reply = stack_a(server, "updateJob", {"jobId": 1, "state": "running"})
    assert (reply.status_code, form_of(reply)["StatusCode"]) == (503, "10")


# -- what is stored ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "columns"),
    [
        ("cpuConsumptionTime", "", {}),
        ("cpuConsumptionTime", "12.9", {"cpuConsumptionTime": 12}),
        ("cpuConversionFactor", "10.5", {"cpuConversion": 10.5}),
        ("cpuConversionFactor", "1e9", {}),
        ("coreCount", "", {}),
        ("coreCount", 8, {"actualCoreCount": 8}),
        ("meanCoreCount", 1.25, {"meanCoreCount": 1.25}),
        ("meanCoreCount", "many", {}),
        ("nEvents", "7", {"nEvents": 7}),
        ("nEvents", "1e99", {}),
        ("transExitCode", "65", {"transExitCode": "65"}),
        ("transExitCode", "boom", {}),
        ("pilotErrorCode", "boom", {}),
        ("pilotErrorCode", "-1201", {"pilotErrorCode": 1201}),
        ("pilotErrorCode", -1201, {"pilotErrorCode": -1201}),
        ("pilotErrorDiag", "x" * 600, {"pilotErrorDiag": "x" * 500}),
        ("exeErrorDiag", "a\0b", {"exeErrorDiag": "a\N{REPLACEMENT CHARACTER}b"}),
        ("pilotID", "x" * 300, {"pilotID": "x" * 200}),
        ("jobSubStatus", "", {}),
        ("maxRSS", 1234567, {"maxRSS": 1234567}),
        ("avgPSS", "12.7", {"avgPSS": 12}),
        ("totRCHAR", 2048, {"totRCHAR": 2}),
        ("totWBYTES", 10**15, {"totWBYTES": 9_999_999_999}),
        ("rateRCHAR", "2048.9", {"rateRCHAR": 2048}),
        ("rateWBYTES", 10**15, {"rateWBYTES": 9_999_999_999}),
        ("startTime", 1795159132.4910505, {}),
        ("startTime", "2026-11-20 07:18:52", {"startTime": datetime(2026, 11, 20, 7, 18, 52)}),
        ("endTime", "yesterday", {}),
        ("source_site", "x" * 40, {"sourceSite": "x" * 36}),
        ("destination_site", "x" * 40, {"destinationSite": "x" * 36}),
        ("grid", "x" * 60, {"grid": "x" * 50}),
        ("cpu_architecture_level", "x86_64-v3", {"cpu_architecture_level": "x86_64-v3"}),
        ("jobMetrics", "coreCount=8 ", {"jobMetrics": "coreCount=8 "}),
        (
            "jobMetrics",
            "nEvents=1 leak=12.5 chi2=0.8",
            {"jobMetrics": "nEvents=1 leak=12.5 chi2=0.8", "memory_leak": 12, "memory_leak_x2": 0.8},
        ),
        (
            "jobMetrics",
            "chi2=1e12 leak=much",
            {"jobMetrics": "chi2=1e12 leak=much", "memory_leak_x2": 99_999_999_999},
        ),
        ("computingElement", "as the pilot says", {}),
        ("timestamp", "2026-11-20T07:18:52+00:00", {}),
        ("jobStatus", "finished", {}),
        ("prodUserID", "/CN=Somebody Else", {}),
    ],
)
def test_each_field_becomes_its_column(
    server: Client, task_buffer: FakeTaskBuffer, name: str, value: Any, columns: dict[str, Any]
) -> None:
    assert columns_of(server, task_buffer, **{name: value}) == columns


@pytest.mark.parametrize(("value", "asks"), [("-1201", True), (-1201, True), ("1201", False), (0, False)])
def test_a_negative_error_code_asks_for_another_attempt(
    server: Client, task_buffer: FakeTaskBuffer, value: Any, asks: bool
) -> None:
    stack_a(server, "updateJob", {"jobId": 1, "state": "failed", "pilotErrorCode": value})
    assert report_of(task_buffer).asks_retry is asks


def test_rates_are_bytes_at_v1_only(server: Client, task_buffer: FakeTaskBuffer) -> None:
    v1(server, "pilot/update_job", job_id=1, job_status="running", rate_rchar=2048, tot_rchar=2048)
    assert dict(report_of(task_buffer).columns) == {"rateRCHAR": 2, "totRCHAR": 2}


def test_v1_takes_a_float_for_the_mean_of_cores_and_text_for_numbers(
    server: Client, task_buffer: FakeTaskBuffer
) -> None:
    v1(server, "pilot/update_job", job_id=1, job_status="running", mean_core_count=1.0, n_events="3")
    assert dict(report_of(task_buffer).columns) == {"meanCoreCount": 1.0, "nEvents": 3}


#: What makes a text of a heartbeat unusable -> what is left of it.
ODD_TEXTS = [("wn\0", "wn\N{REPLACEMENT CHARACTER}"), ("wn\udcff", "wn?"), (["wn"], None), ({"wn": 1}, None)]


@pytest.mark.parametrize(("value", "left"), ODD_TEXTS)
@pytest.mark.parametrize(
    ("name", "at_v1", "column"),
    [
        ("node", "node", "modificationHost"),
        ("pilotID", "pilot_id", "pilotID"),
        ("batchID", "batch_id", "batchID"),
        ("schedulerID", "scheduler_id", "schedulerID"),
        ("jobSubStatus", "job_sub_status", "jobSubStatus"),
        ("siteName", "site_name", None),
        ("corruptedFiles", "corrupted_files", None),
    ],
)
def test_odd_text_costs_no_heartbeat(
    server: Client, task_buffer: FakeTaskBuffer, name: str, at_v1: str, column: str | None, value: Any, left: str | None
) -> None:
    columns = {} if column is None or left is None else {column: left}
    assert columns_of(server, task_buffer, **{name: value}) == columns
    task_buffer.calls.clear()
    assert v1(server, "pilot/update_job", job_id=1, job_status="running", **{at_v1: value})["success"]
    assert dict(report_of(task_buffer).columns) == columns


def test_bytes_of_another_encoding_cost_no_final_report(server: Client, task_buffer: FakeTaskBuffer) -> None:
    """Pilots of Python 2 send what they read in the payload's log as it is."""
    body = b"jobId=1&state=failed&pilotErrorDiag=caf%E9&node=wn\xff&xml=%7B%7D"
    reply = server.post(
        "/server/panda/updateJob",
        data=body,
        content_type="application/x-www-form-urlencoded",
        environ_overrides=PRODUCTION,
    )
    assert reply.text == "StatusCode=0&command=NULL"
    report = report_of(task_buffer)
    assert dict(report.columns) == {"pilotErrorDiag": "caf?", "modificationHost": "wn?"}
    assert report.output_report == "{}"


REPORTS = [
    ('{"a\0": 1}', '{"a\N{REPLACEMENT CHARACTER}": 1}'),
    ({"a": {"guid": "x"}}, '{"a": {"guid": "x"}}'),
    ([1], "[1]"),
    (5, ""),
    (None, ""),
    ("None", ""),
]


@pytest.mark.parametrize(("value", "kept"), REPORTS)
def test_no_shape_of_a_document_costs_the_final_report(
    server: Client, task_buffer: FakeTaskBuffer, value: Any, kept: str
) -> None:
    stack_a(server, "updateJob", {"jobId": "1", "state": "finished", "xml": value, "metaData": value})
    v1(server, "pilot/update_job", job_id=1, job_status="finished", job_output_report=value, meta_data=value)
    reports = [report for [report] in task_buffer.called("updateJobStatus")]
    assert [(report.output_report, report.meta_data) for report in reports] == [(kept, kept)] * 2


@pytest.mark.parametrize(
    ("value", "column"), [(1.5, {}), (["x"], {}), (-3, {"pilotErrorCode": -3}), ("-3", {"pilotErrorCode": 3})]
)
def test_an_error_code_is_read_alike_at_both_doors(
    server: Client, task_buffer: FakeTaskBuffer, value: Any, column: dict[str, int]
) -> None:
    job = {"job_id": 1, "job_status": "running", "pilot_error_code": value}
    assert columns_of(server, task_buffer, pilotErrorCode=value) == column
    v1(server, "pilot/update_job", **job)
    v1(server, "pilot/update_jobs_bulk", PRODUCTION, job_list=[job])
    assert dict(task_buffer.called("updateJobStatus")[1][0].columns) == column
    [[[report]]] = task_buffer.called("updateJobsInBulk")
    assert dict(report.columns) == column


def test_names_of_corrupted_files_that_no_row_takes_cost_no_report(server: Client, task_buffer: FakeTaskBuffer) -> None:
    stack_a(server, "updateJob", {"jobId": "1", "state": "failed", "corruptedFiles": f"a,,{'b' * 4001},c"})
    assert report_of(task_buffer).corrupted_files == ("a", "c")


def test_times_that_are_no_text_count_as_absent(server: Client, task_buffer: FakeTaskBuffer) -> None:
    assert v1(server, "pilot/update_job", job_id=1, job_status="running", start_time=1.5)["success"]
    assert dict(report_of(task_buffer).columns) == {}


def test_an_unreadable_attempt_counts_as_none(server: Client, task_buffer: FakeTaskBuffer) -> None:
    stack_a(server, "updateJob", {"jobId": 1, "state": "running", "attemptNr": "first"})
    assert report_of(task_buffer).attempt_nr is None


def test_a_payload_lives_from_start_to_end(make_client: MakeClient, tbuf: TaskBuffer) -> None:
    import pandaserver.jobdispatcher.JobDispatcher  # noqa: F401  declares its requests

    server = make_client(tbuf=tbuf)
    pid = put_job(tbuf, "sent", attemptNr=1)
    for which in ("running", "finished"):
        body = json.loads(golden(f"updateJob.{which}.request.json")) | {"jobId": str(pid)}
        assert stack_a(server, "updateJob", body).text == "StatusCode=0&command=NULL"
    [job] = tbuf.peekJobs([pid])
    assert job is not None
    assert (job.jobStatus, job.modificationHost, job.actualCoreCount) == ("holding", "wn01", 1)
    body["attemptNr"] = 2
    assert stack_a(server, "updateJob", body).text == "StatusCode=0&command=tobekilled"
