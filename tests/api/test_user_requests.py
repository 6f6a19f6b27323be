"""What users and operators ask beside jobs and tasks, followed from the request to what becomes of it."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from werkzeug.test import Client

from pandaserver.daemons.scripts import async_request_daemon
from pandaserver.srvcore.errors import OutcomeUnknown, Unavailable
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from tests.api.callers import PRODUCTION, USER, FakeTaskBuffer
from tests.api.conftest import MakeClient

OTHER = {"SSL_CLIENT_S_DN": "/DC=org/CN=Joe Bloggs"}


@pytest.fixture
def server(make_client: MakeClient, tbuf: TaskBuffer) -> Client:
    import pandaserver.userinterface.UserIF  # noqa: F401  declares its requests

    return make_client(tbuf=tbuf)


@pytest.fixture
def run_daemon(tbuf: TaskBuffer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return what runs the script once on a machine of that name."""

    def run(machine: str) -> None:
        config = SimpleNamespace(
            server=SimpleNamespace(pserverhost=machine), logger=SimpleNamespace(logdir=tmp_path / "log")
        )
        monkeypatch.setattr(async_request_daemon, "configuration", lambda: config)
        async_request_daemon.main(tbuf=tbuf)

    return run


def ask(server: Client, method: str, caller: dict[str, str], **fields: Any) -> Any:
    return server.post(f"/api/v1/async_process/{method}", json=fields, environ_overrides=caller).json


def result(server: Client, request_id: str, caller: dict[str, str] = USER) -> Any:
    return server.get(f"/api/v1/async_process/get_result?request_id={request_id}", environ_overrides=caller).json


def test_logs_are_searched_on_every_machine_of_a_service(
    server: Client, tbuf: TaskBuffer, run_daemon: Any, tmp_path: Path
) -> None:
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "panda-Entry.log").write_text("PandaID=1 moved\nPandaID=2 failed\n")
    tbuf.setPermissions("Jane Doe", "l", "admin")
    for machine in ("one", "two"):
        run_daemon(machine)
    asked = {"pattern": "PandaID.*failed", "log_filename": "panda-Entry.log", "service_name": "pandaserver"}
    request_id = ask(server, "submit_grep_request", USER, **asked)["data"]["request_id"]
    assert result(server, request_id)["data"] == {
        "overall_status": "pending",
        "expected_machines": ["one", "two"],
        "results": [],
    }
    for machine in ("one", "two"):
        run_daemon(machine)
    data = result(server, request_id)["data"]
    assert (data["overall_status"], [r["result"] for r in data["results"]]) == ("complete", ["PandaID=2 failed"] * 2)
    assert result(server, request_id, OTHER)["success"] is False
    assert result(server, request_id, PRODUCTION)["success"] is True
    assert tbuf.getAuditRows(datetime(2000, 1, 1))[0]["action"] == "submitAsyncRequest"


def test_a_machine_says_that_it_lives(server: Client, run_daemon: Any) -> None:
    run_daemon("one")
    asked = {"service_name": "pandaserver", "message": "hi", "seconds": 0}
    request_id = ask(server, "submit_sleep_echo_request", PRODUCTION, **asked)["data"]["request_id"]
    run_daemon("one")
    data = result(server, request_id, PRODUCTION)["data"]
    assert [(r["machine_name"], r["status"], r["result"]) for r in data["results"]] == [("one", "done", "hi")]


def test_the_version_of_the_client_is_a_setting(make_client: MakeClient) -> None:
    import pandaserver.userinterface.UserIF  # noqa: F401

    assert make_client(client_version="1.6.3").get("/server/panda/getPandaClientVer").text == "1.6.3"


@pytest.mark.parametrize(("error", "code"), [(OutcomeUnknown("late"), 10), (Unavailable("away"), 30)])
def test_states_that_cannot_be_told_have_a_code(
    make_client: MakeClient, task_buffer: FakeTaskBuffer, error: Exception, code: int
) -> None:
    import pandaserver.jobdispatcher.JobDispatcher  # noqa: F401

    task_buffer.answers["checkJobStates"] = error
    reply = make_client().get("/api/v1/job/get_status?job_ids=1", environ_overrides=USER)
    assert (reply.status_code, json.loads(reply.text)["data"]) == (503, {"code": code})


def test_what_is_obsolete_asks_no_database(make_client: MakeClient, task_buffer: FakeTaskBuffer) -> None:
    import pandaserver.userinterface.UserIF  # noqa: F401

    reply = make_client().post("/server/panda/datasetCompleted", data={"vuid": "x"}, environ_overrides=USER)
    assert reply.text.startswith("ERROR : datasetCompleted is no longer supported; use ")
    assert task_buffer.calls == []
