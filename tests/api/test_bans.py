"""Banned users are refused at the door, and servers tell each other who is banned."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import Client

import pandaserver.userinterface.UserIF  # noqa: F401  declares its requests
from pandaserver.server import callers
from pandaserver.server.ban_list import ask_for_bans, source_of_bans
from pandaserver.srvcore.errors import ExternalError, Unavailable
from tests.api.callers import USER, FakeTaskBuffer
from tests.api.conftest import MakeClient

BANNED = frozenset({"Jane Doe", "Otto Other"})


def test_both_doors_tell_the_list(client: Client, task_buffer: FakeTaskBuffer) -> None:
    task_buffer.answers["getBannedUsers"] = frozenset({"Otto Other"})
    assert json.loads(client.get("/server/panda/get_ban_users").text) == [True, {"Otto Other": False}]
    reply = client.get("/api/v1/metaconfig/get_banned_users", environ_overrides=USER)
    assert json.loads(reply.text) == {"success": True, "message": "", "data": {"Otto Other": False}}
    refused = json.loads(client.get("/api/v1/metaconfig/get_banned_users").text)
    assert (refused["success"], refused["data"]) == (False, None)


@pytest.mark.parametrize("answer", [[True, {"Jane Doe": False}], {"success": True, "data": {"Jane Doe": False}}])
def test_a_front_node_reads_the_list_of_another_server(tmp_path: Path, answer: Any) -> None:
    (tmp_path / "answer").write_text(json.dumps(answer))
    url = (tmp_path / "answer").as_uri()
    nobody: Any = FakeTaskBuffer(getBannedUsers=Unavailable("there is no database"))
    assert source_of_bans(nobody, url, 5.0)() == {"Jane Doe"}


@pytest.mark.parametrize("answer", ["[false, {}]", "[true, []]", "True", "{", "[1, {}]", '{"success": true}'])
def test_an_answer_of_another_kind_is_no_empty_list(tmp_path: Path, answer: str) -> None:
    (tmp_path / "answer").write_text(answer)
    with pytest.raises(ExternalError):
        ask_for_bans((tmp_path / "answer").as_uri())


def test_without_any_list_nobody_is_let_in(make_client: MakeClient, task_buffer: FakeTaskBuffer) -> None:
    task_buffer.answers["getBannedUsers"] = ExternalError("https://panda.example: no answer within 5 s")
    for door in ("/server/panda/get_ban_users", "/api/v1/metaconfig/get_banned_users"):
        assert make_client().get(door, environ_overrides=USER).status_code == 503


def test_a_list_that_cannot_be_read_again_stays(
    make_client: MakeClient, task_buffer: FakeTaskBuffer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callers, "BAN_LIFETIME", 0.0)
    task_buffer.answers["getBannedUsers"] = BANNED
    client = make_client()
    for _ in range(2):
        reply = client.get("/server/panda/get_ban_users", environ_overrides=USER)
        assert (reply.status_code, reply.text) == (403, "ERROR : Jane Doe is banned")
        task_buffer.answers["getBannedUsers"] = Unavailable("the database is down")
    assert len(task_buffer.called("getBannedUsers")) == 2
