"""Every request is described, says who may call it, and means it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import Client

from pandaserver.api.registry import Auth, Door, Route
from pandaserver.server.request_pages import declared_requests
from tests.api.callers import FakeTaskBuffer
from tests.api.conftest import databases, make_client, services, settings, task_buffer

__all__ = ["databases", "make_client", "services", "settings", "task_buffer"]

ROOT = Path(__file__).resolve().parents[2]
ROUTES = declared_requests()
NAMES = [route.v1 or route.legacy for route in ROUTES]
OPENAPI = json.loads((ROOT / "docs/openapi.json").read_text("utf-8"))
OPERATIONS = [operation for path in OPENAPI["paths"].values() for operation in path.values()]


@pytest.fixture
def client(make_client: Any) -> Client:
    made: Client = make_client()
    return made


@pytest.mark.parametrize("route", ROUTES, ids=NAMES)
def test_a_request_has_a_sentence_and_a_name(route: Route) -> None:
    first = route.doc.strip().split("\n")[0]
    assert re.fullmatch(r"[A-Z].*\.", first), f"{route.handler.__qualname__}: {first!r} is no sentence"
    assert route.v1 is None or re.fullmatch(r"[a-z_0-9]+/[a-z_0-9]+|openapi\.json", route.v1)
    assert route.v1 or route.legacy


@pytest.mark.parametrize("route", ROUTES, ids=NAMES)
def test_a_parameter_says_what_it_means(route: Route) -> None:
    assert [p.name for p in route.signature.parameters if not p.meaning] == []


@pytest.mark.parametrize("route", ROUTES, ids=NAMES)
def test_an_open_request_that_reads_the_database_says_whom_it_serves(route: Route) -> None:
    if route.needs_database and Auth.ANYONE in (route.auth_at(door) for door in Door):
        assert re.search(r"^\s+For (anybody|pilots)\b.*\.$", route.doc, re.MULTILINE), route.doc


@pytest.mark.parametrize("door", Door)
@pytest.mark.parametrize("route", ROUTES, ids=NAMES)
def test_a_caller_without_credentials_is_kept_out(
    client: Client, task_buffer: FakeTaskBuffer, route: Route, door: Door
) -> None:
    path = f"/api/v1/{route.v1}" if door is Door.V1 else f"/server/panda/{route.legacy}"
    if (route.v1 if door is Door.V1 else route.legacy) is None or route.auth_at(door) is Auth.ANYONE:
        pytest.skip("anyone may call it, or it has no such door")
    reply = client.get(path) if door is Door.V1 and route.method == "GET" else client.post(path)
    assert reply.status_code == 200
    assert task_buffer.calls == []
    if door is Door.V1:
        assert reply.json == {"success": False, "message": "SSL secure connection is required", "data": None}


def test_operations_have_names_of_their_own() -> None:
    identifiers = [operation["operationId"] for operation in OPERATIONS]
    assert len(set(identifiers)) == len(identifiers)


def test_every_operation_says_who_may_call_it() -> None:
    assert {operation["x-access"] for operation in OPERATIONS} <= {auth.value for auth in Auth}
    assert all(("security" in operation) == (operation["x-access"] != "anyone") for operation in OPERATIONS)


def test_every_reference_leads_somewhere() -> None:
    for reference in re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(OPENAPI)):
        place = OPENAPI
        for key in reference.split("/"):
            place = place[key]


def test_the_server_serves_the_same_document(client: Client) -> None:
    assert client.get("/api/v1/openapi.json").json == OPENAPI
