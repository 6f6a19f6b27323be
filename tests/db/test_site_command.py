"""panda-admin queue, share and resource-type, on a SQLite database of their own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pandaserver.admin.main import main
from pandaserver.taskbuffer import schema
from pandaserver.taskbuffer.connection_settings import ConnectionSettings

QUEUE = {"nickname": "Q1", "status": "online", "type": "unified", "atlas_site": "SITE", "corecount": 8, "maxrss": 4000}
SHARES = [
    {"name": "Analysis", "value": 60},
    {"name": "User", "value": 100, "parent": "Analysis", "prodSourceLabel": "user|panda"},
    {"name": "Production", "value": 20, "prodsourcelabel": "managed"},
]
Admin = Callable[..., Result]


@pytest.fixture
def admin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Admin:
    database = tmp_path / "panda.sqlite3"
    schema.create_all(ConnectionSettings(backend="sqlite", name=str(database)))
    plugin = "any:pandaserver.dataservice.SetupperSimplePlugin:SetupperSimplePlugin"
    (tmp_path / "panda_server.cfg").write_text(
        f"[server]\nbackend = sqlite\ndbname = {database}\nsetupper_plugins = {plugin}\nadder_plugins = {plugin}\n"
    )
    (tmp_path / "panda_common.cfg").write_text(f"[logger]\nlogdir = {tmp_path}\n")
    monkeypatch.setenv("PANDA_HOME", str(tmp_path))
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "panda").symlink_to(tmp_path)

    def run(*words: str, document: Any = None) -> Result:
        text = document if isinstance(document, str) else json.dumps(document)
        return CliRunner().invoke(main, list(words), input=None if document is None else text)

    return run


def test_a_queue_is_added_shown_listed_and_changed(admin: Admin) -> None:
    assert admin("queue", "set", "-", document=QUEUE).output == "queue Q1 added\n"
    assert json.loads(admin("queue", "show", "Q1").output) == QUEUE
    assert admin("queue", "set", "-", document={"Q1": {**QUEUE, "status": "offline"}}).output == "queue Q1 changed\n"
    header, line = admin("queue", "list").output.splitlines()
    assert header.split() == ["queue", "status", "type", "cloud", "cores", "memory"]
    assert line.split() == ["Q1", "offline", "unified", "WORLD", "8", "cores", "4000", "MB"]


def test_a_user_is_permitted_credentials_and_loses_them(admin: Admin) -> None:
    assert admin("user", "permit", "/DC=org/CN=Robot One", "ptp").output == "Robot One has the permissions pt\n"
    assert json.loads(admin("user", "show", "Robot One").output)["gridPref"] == "pt"
    assert admin("user", "permit", "Robot One", "none").output == "Robot One has no permissions\n"
    refused = admin("user", "permit", "Robot One", "pxq")
    assert (refused.exit_code, refused.output) == (1, "Error: qx is none of the letters pktlsg\n")


def test_mail_for_a_user_is_sent_elsewhere_or_nowhere(admin: Admin) -> None:
    assert (
        admin("user", "mail", "Jane Doe", "jane@example.org").output == "mail for Jane Doe goes to jane@example.org\n"
    )
    assert json.loads(admin("user", "show", "Jane Doe").output)["email"] == "jane@example.org"
    assert admin("user", "mail", "Jane Doe", "NotSend").output == "Jane Doe gets no mail\n"
    assert json.loads(admin("user", "show", "Jane Doe").output)["email"] == "notsend"
    assert admin("user", "mail", "Jane Doe", "none").output == "the address of Jane Doe is forgotten\n"
    assert "email" not in json.loads(admin("user", "show", "Jane Doe").output)
    assert admin("user", "mail", "Jane Doe", "jane").exit_code == 1


def test_a_queue_that_is_not_there_is_named(admin: Admin) -> None:
    result = admin("queue", "show", "Q2")
    assert (result.exit_code, result.output) == (1, "Error: there is no queue Q2\n")


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ("{", "the file is not JSON"),
        ([], "the file describes no queue"),
        ([{"status": "online", "type": "unified"}], "entry 0: has no name; write it as panda_queue or nickname"),
        ([QUEUE, QUEUE], "queue Q1: is described twice"),
        ({"Q1": 5}, "queue Q1: a queue is described by an object"),
        ({**QUEUE, "status": "on"}, "status is 'on'; it must be one of online, offline, test, brokeroff, paused"),
        ({**QUEUE, "type": None}, "type is None; it must be one of production, analysis, unified, special"),
        ({**QUEUE, "maxrss": "lots"}, "queue Q1: maxrss is 'lots', which is not a number"),
        ({**QUEUE, "minrss": 5000}, "queue Q1: minrss is 5000, which is more than maxrss"),
        ({**QUEUE, "nickname": "Q" * 51}, "the name is 51 characters, at most 50"),
    ],
)
def test_a_bad_queue_file_changes_nothing_and_says_why(admin: Admin, document: Any, problem: str) -> None:
    result = admin("queue", "set", "-", document=document)
    assert result.exit_code == 1
    assert problem in result.output
    assert len(admin("queue", "list").output.splitlines()) == 1


def test_a_share_tree_is_replaced_and_printed(admin: Admin) -> None:
    result = admin("share", "set", "-", document=SHARES)
    assert result.output.splitlines() == ["User 75 %", "Production 25 %"]
    shares = json.loads(admin("share", "list").output)
    assert [share["name"] for share in shares] == ["Analysis", "Production", "User"]
    assert shares[1]["prodSourceLabel"] == "managed"
    assert admin("share", "set", "-", document=shares).output == result.output


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ({}, "the file must hold a list of objects"),
        ([{"name": "A", "value": 1, "parent": "B"}], "share A: parent B does not exist"),
        ([{"name": "A", "value": 1, "parent": "A"}], "share A: is its own ancestor"),
        ([{"name": "A"}], "share A: value must be a number from 0 on"),
        ([{"name": "A", "value": "1"}], "entry 0 (A): value is '1', which is not a whole number"),
        ([{"name": "A", "value": 1, "prodsourcelable": "x"}], "is unknown; did you mean prodSourceLabel?"),
        ([{"name": "A", "value": 1, "workingGroup": "("}], "share A: workingGroup '(' is no regular expression"),
        ([{"name": "A", "value": 1}] * 2, "entry 1 (A): is there twice"),
        ([{"value": 1}], "entry 0 (without a name): has no name"),
        ([], "the file has no usable entry"),
    ],
)
def test_a_bad_share_file_changes_nothing_and_says_why(admin: Admin, document: Any, problem: str) -> None:
    before = admin("share", "list").output
    result = admin("share", "set", "-", document=document)
    assert result.exit_code == 1
    assert problem in result.output
    assert admin("share", "list").output == before


def test_resource_types_are_replaced_and_printed(admin: Admin) -> None:
    types = [{"name": "Undefined"}, {"resource_name": "MCORE", "mincore": 2}, {"name": "SCORE", "maxcore": 1}]
    assert admin("resource-type", "set", "-", document=types).output.splitlines() == [
        "SCORE cores up to 1, MB per core any",
        "MCORE cores from 2 on, MB per core any",
        "Undefined cores any, MB per core any",
    ]
    assert [kind["resource_name"] for kind in json.loads(admin("resource-type", "list").output)] == [
        "MCORE",
        "SCORE",
        "Undefined",
    ]


def test_bounds_that_exclude_everything_are_refused(admin: Admin) -> None:
    result = admin("resource-type", "set", "-", document=[{"name": "A", "mincore": 3, "maxcore": 2}])
    assert result.output == "Error: resource type A: mincore is 3, which is more than maxcore, 2\n"
