"""Who did what, from where: rows of the transaction that did it, and the commands that write and show them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import pytest
from click.testing import CliRunner, Result

from pandacommon.pandalogger.context import remote_address, request_id
from pandaserver.admin import audit_command, user_command
from pandaserver.admin.main import main
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer

LONG_AGO = datetime(2020, 1, 1)


@pytest.fixture
def admin(tbuf: TaskBuffer, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    @contextmanager
    def opened() -> Iterator[TaskBuffer]:
        yield tbuf

    for module in (audit_command, user_command):
        monkeypatch.setattr(module, "opened_task_buffer", opened)
    return lambda *words: CliRunner().invoke(main, words)


def test_a_row_says_who_what_and_from_where(tbuf: TaskBuffer) -> None:
    serving, calling = request_id.set("abc-1"), remote_address.set("192.0.2.7")
    try:
        assert tbuf.banUser("Jane Doe", "Paula Prod", "noise")
    finally:
        request_id.reset(serving)
        remote_address.reset(calling)
    (row,) = tbuf.getAuditRows(LONG_AGO)
    assert {name: row[name] for name in ("actor", "remoteAddress", "action", "objectID", "requestID")} == {
        "actor": "Paula Prod",
        "remoteAddress": "192.0.2.7",
        "action": "banUser",
        "objectID": "Jane Doe",
        "requestID": "abc-1",
    }
    assert json.loads(row["details"]) == {"reason": "noise"}


def test_rows_can_be_asked_for_by_actor_and_time(tbuf: TaskBuffer) -> None:
    for actor in ("Paula Prod", "Otto Other"):
        tbuf.banUser(f"Victim of {actor}", actor, "x")
    assert [row["actor"] for row in tbuf.getAuditRows(LONG_AGO)] == ["Otto Other", "Paula Prod"]
    assert [row["actor"] for row in tbuf.getAuditRows(LONG_AGO, "Paula Prod")] == ["Paula Prod"]
    assert [row["actor"] for row in tbuf.getAuditRows(LONG_AGO, limit=1)] == ["Otto Other"]
    assert tbuf.getAuditRows(datetime.now() + timedelta(days=2)) == []


def test_a_ban_that_was_there_leaves_no_second_row(tbuf: TaskBuffer) -> None:
    assert [tbuf.banUser("Jane Doe", "Paula Prod", "noise") for _ in range(2)] == [True, False]
    assert len(tbuf.getAuditRows(LONG_AGO)) == 1


def test_an_administrator_bans_shows_and_lets_in_again(admin: Callable[..., Result], tbuf: TaskBuffer) -> None:
    assert admin("user", "ban", "/DC=org/CN=Jane Doe", "--reason", "too many jobs").output == "Jane Doe is banned\n"
    assert tbuf.getBannedUsers() == {"Jane Doe"}
    assert json.loads(admin("user", "show", "Jane Doe").output)["status"] == "disabled"
    assert admin("user", "unban", "Jane Doe").output == "Jane Doe is no longer banned\n"
    assert tbuf.getBannedUsers() == frozenset()
    rows = [json.loads(line) for line in admin("audit", "show", "--json").output.splitlines()]
    assert [row["action"] for row in rows] == ["banUser", "setUserStatus"]
    assert admin("audit", "show", "--since", "1h", "--who", rows[0]["actor"]).output.count("Jane Doe") == 2


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("user", "unban", "Jane Doe"), "Jane Doe is not banned"),
        (("user", "show", "Jane Doe"), "there is no user 'Jane Doe'"),
        (("user", "ban", "Jane Doe"), "Missing option '--reason'"),
        (("audit", "show", "--since", "yesterday"), "is neither a time"),
    ],
)
def test_what_cannot_be_done_is_said(admin: Callable[..., Result], words: tuple[str, ...], reason: str) -> None:
    done = admin(*words)
    assert (done.exit_code != 0, reason in done.output) == (True, True), done.output
