"""Requests that become files for a daemon script, at both doors."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import Client

import pandaserver.userinterface.UserIF  # noqa: F401  declares its requests
from pandaserver.config.settings import ServerSettings
from pandaserver.dataservice.request_formats import read_event_picking
from tests.api.callers import LIMITED, PRODUCTION, USER
from tests.api.conftest import MakeClient

LEGACY, V1 = "/server/panda/", "/api/v1/file_server/"
DN = "/DC=org/CN=Jane Doe"


@pytest.fixture
def cache(settings: ServerSettings) -> Path:
    return settings.cache_dir


def stored(cache: Path, prefix: str) -> str:
    (path,) = cache.glob(f"{prefix}.*")
    return path.read_text()


def as_client(client: Client, method: str, body: dict[str, Any]) -> Any:
    """As the stock client sends JSON."""
    return client.post(
        LEGACY + method,
        data=gzip.compress(json.dumps(body).encode()),
        content_type="application/json",
        headers={"Content-Encoding": "gzip"},
        environ_overrides=USER,
    )


# -- event picking

EVENTS = {"runEventList": "1 2\n3 4\nodd\n", "eventPickDS": "data", "userDatasetName": "user.x/", "params": "-a b"}


def test_events_are_asked_for_as_the_client_does(client: Client, cache: Path) -> None:
    reply = client.post(LEGACY + "putEventPickingRequest", data=EVENTS | {"giveGUID": False}, environ_overrides=USER)
    assert reply.text == "True"
    request = read_event_picking(stored(cache, "evp"))
    assert (request.user, request.run_events) == (DN, (("1", "2"), ("3", "4")))
    assert request.texts["params"] == "-a b"


def test_guids_are_kept_when_they_are_given(client: Client, cache: Path) -> None:
    body = EVENTS | {"runEventList": "1 2 g\n3 4\n", "giveGUID": "True"}
    client.post(LEGACY + "putEventPickingRequest", data=body, environ_overrides=USER)
    assert stored(cache, "evp").splitlines()[-2:] == ["runEvent=1,2", "runEvtGuidMap={('1', '2'): ['g']}"]


def test_events_are_asked_for_at_v1(client: Client, cache: Path) -> None:
    body = {"run_event_list": "1 2", "dataset_name": "data", "include_guids": False}
    reply = client.post(V1 + "upload_event_picking_request", json=body, environ_overrides=USER)
    assert reply.json["success"]
    assert "eventPickDS=data" in stored(cache, "evp").splitlines()


def test_a_large_list_of_events_is_refused(make_client: MakeClient, cache: Path) -> None:
    client = make_client(max_event_picking_upload=100)
    reply = client.post(LEGACY + "putEventPickingRequest", data={"runEventList": "1 2\n" * 99}, environ_overrides=USER)
    assert reply.text.startswith("ERROR : ")
    assert list(cache.iterdir()) == []


def test_a_request_without_a_length_is_refused(client: Client) -> None:
    url = LEGACY + "putEventPickingRequest?runEventList=1+2"
    assert client.post(url, environ_overrides=USER).text.startswith("ERROR : ")


def test_a_line_break_in_a_value_is_refused(client: Client, cache: Path) -> None:
    body = EVENTS | {"params": "x\nuserName=/CN=admin"}
    reply = client.post(LEGACY + "putEventPickingRequest", data=body, environ_overrides=USER)
    assert reply.text.startswith("ERROR : params must be one line")
    assert list(cache.iterdir()) == []


# -- lost files


def test_lost_files_are_reported_at_the_historical_door(client: Client, cache: Path) -> None:
    body = {"jediTaskID": 5, "dryRun": True}
    reply = client.post(LEGACY + "put_file_recovery_request", data=body, environ_overrides=USER)
    assert reply.json[0] is True
    content = json.loads(stored(cache, "recov"))
    assert (content["userName"], content["jediTaskID"], content["dryRun"]) == (DN, 5, True)


def test_lost_files_are_reported_at_v1_with_a_log(client: Client, cache: Path) -> None:
    body = {"dataset": "user.x", "files": ["a", "b"], "reproduce_parent": True, "reproduce_upto_nth_gen": 2}
    reply = client.post(V1 + "upload_file_recovery_request", json=body, environ_overrides=PRODUCTION)
    content = json.loads(stored(cache, "recov"))
    name = content["logFilename"]
    assert reply.json["data"] == {"logFileURL": f"https://panda.example:25443/cache/jedilog/{name}"}
    assert (cache / "jedilog" / name).read_bytes() == b""
    wanted = {"ds": "user.x", "files": "a,b", "reproduceParent": True, "reproduceUptoNthGen": 2, "noChildRetry": True}
    assert wanted.items() <= content.items()
    assert content["isProductionManager"] is True
    assert "jediTaskID" not in content


def test_a_report_about_nothing_is_refused(client: Client, cache: Path) -> None:
    reply = client.post(V1 + "upload_file_recovery_request", json={"force": True}, environ_overrides=USER)
    assert (reply.json["success"], reply.json["message"]) == (False, "task_id or dataset is needed")
    assert list(cache.iterdir()) == []


# -- workflows

WORKFLOW = {"data": json.dumps({"outDS": "user.y"})}


def test_a_workflow_waits_for_the_daemon(client: Client, cache: Path) -> None:
    reply = client.post(LEGACY + "put_workflow_request", data=WORKFLOW, environ_overrides=USER)
    assert reply.json[0] is True
    assert json.loads(stored(cache, "workflow"))["data"] == {"outDS": "user.y"}


@pytest.mark.parametrize("how", ["check", "sync"])
def test_a_workflow_of_the_stock_client_is_answered_at_once(client: Client, cache: Path, how: str) -> None:
    reply = as_client(client, "put_workflow_request", WORKFLOW | {how: True})
    accepted, told = reply.json
    assert (accepted, told["status"]) == (True, False)
    assert "no workflow engine" in told["log"]
    assert list(cache.iterdir()) == []


def test_a_workflow_at_v1_is_answered_at_once(client: Client) -> None:
    reply = client.post(V1 + "upload_workflow_request", json=WORKFLOW | {"dry_run": True}, environ_overrides=USER)
    assert (reply.json["success"], reply.json["data"]["status"]) == (True, False)


@pytest.mark.parametrize("data", ["{", "[]", "1", "[" * 100000])
def test_a_workflow_that_is_no_json_object_is_refused(client: Client, cache: Path, data: str) -> None:
    reply = client.post(LEGACY + "put_workflow_request", data={"data": data}, environ_overrides=USER)
    assert reply.json[0] is False
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize("method", ["putEventPickingRequest", "put_file_recovery_request", "put_workflow_request"])
@pytest.mark.parametrize("caller", [{}, LIMITED])
def test_nobody_asks_without_a_full_credential(
    client: Client, cache: Path, method: str, caller: dict[str, str]
) -> None:
    body = EVENTS | WORKFLOW | {"jediTaskID": 1}
    reply = client.post(LEGACY + method, data=body, environ_overrides=caller)
    assert reply.text.startswith("ERROR : ") or reply.json[0] is False
    assert list(cache.iterdir()) == []
