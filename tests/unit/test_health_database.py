"""A database that is well, gone, stalled, forgetful, of another time or of another version."""

from __future__ import annotations

import contextlib
import socket
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from pandacommon.pandautils.PandaUtils import naive_utcnow
from pandaserver.health import database
from pandaserver.health import scene as scene_module
from pandaserver.health.result import Severity
from pandaserver.health.scene import Answer
from pandaserver.srvcore.errors import DatabaseError, PandaError, Unavailable
from pandaserver.taskbuffer import schema
from pandaserver.taskbuffer.connection_settings import ConnectionSettings, OperationSettings, Secret
from pandaserver.taskbuffer.db_proxy_mods.inspection import DatabaseFacts, Durability
from pandaserver.taskbuffer.dialects.base import Promise
from pandaserver.taskbuffer.dialects.sqlite import SQLite
from pandaserver.taskbuffer.local_bridge import LocalBridge
from pandaserver.taskbuffer.schema import check
from pandaserver.taskbuffer.schema.check import SchemaState
from pandaserver.taskbuffer.schema.version import REQUIRED
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from tests.health import found, make_scene, severities

ALL = (database.reachable, database.schema, database.durability, database.clock)
SAFE = Durability("fsync", "on", True)


def answer(
    *durability: Durability, ahead: float = 0.0, clock_is_ours: bool = False, error: PandaError | None = None
) -> Answer:
    now = naive_utcnow() + timedelta(seconds=ahead)
    facts = None if error else DatabaseFacts(now, clock_is_ours)
    return Answer(facts, error, 0.1, time.time(), list(durability))


def test_a_database_that_is_not_there(tmp_path: Path) -> None:
    scene = make_scene(tmp_path)
    assert [severities(one, scene) for one in ALL] == [{Severity.failure}, *[{Severity.skipped}] * 3]
    assert "there is no database" in found(database.reachable, scene)[0][1]


def test_a_database_that_stalls_costs_the_patience(tmp_path: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        place = {"dbhost": "127.0.0.1", "dbport": silent.getsockname()[1], "dbuser": "panda", "dbname": "panda"}
        scene = make_scene(tmp_path, {"backend": "postgres", "dbpasswd": Secret("x"), **place}, patience=1.5)
        started = time.monotonic()
        ((severity, message),) = found(database.reachable, scene)
    assert severity == "failure"
    assert message.startswith("postgres panda at 127.0.0.1 does not answer")
    assert time.monotonic() - started < 5


def test_a_database_that_is_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "state_of", lambda _: SchemaState(REQUIRED))
    scene = make_scene(tmp_path, _answer=answer(SAFE))
    assert [severities(one, scene) for one in ALL] == [{Severity.ok}] * 4


@pytest.mark.parametrize(
    ("state", "remedy"),
    [
        (SchemaState(None), "panda-admin schema create"),
        (SchemaState((0, 0, 14)), "panda-admin schema upgrade"),
        (SchemaState(REQUIRED, ("column x of y is missing",)), "panda-admin check-schema lists all differences"),
    ],
)
def test_a_schema_of_another_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: SchemaState, remedy: str
) -> None:
    monkeypatch.setattr(check, "state_of", lambda _: state)
    error = Unavailable("schema is version 0.0.14", schema_version="0.0.14")
    scene = make_scene(tmp_path, _answer=answer(error=error))
    (result,) = database.schema(scene)
    assert (result.severity, result.remedy) == (Severity.failure, remedy)
    assert severities(database.reachable, scene) == {Severity.ok}


def test_many_differences_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "state_of", lambda _: SchemaState(REQUIRED, tuple("abcdefghi")))
    assert found(database.schema, make_scene(tmp_path, _answer=answer()))[-1] == ("failure", "4 differences more")


def test_a_forgetful_database(tmp_path: Path) -> None:
    scene = make_scene(tmp_path, _answer=answer(SAFE, Durability("synchronous_commit", "off", False)))
    results = found(database.durability, scene)
    assert [severity for severity, _ in results] == ["ok", "failure"]
    assert "synchronous_commit = off" in results[1][1]


def test_a_database_that_does_not_tell(tmp_path: Path) -> None:
    untold = replace(answer(), durability=DatabaseError("ORA-00942: table or view does not exist"))
    scene = make_scene(tmp_path, _answer=untold)
    ((severity, message),) = found(database.durability, scene)
    assert (severity, "ORA-00942" in message) == ("skipped", True)
    assert [severities(one, scene) for one in (database.reachable, database.clock)] == [{Severity.ok}] * 2


def test_a_question_about_durability_that_fails_costs_no_other_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SQLite, "promises", (Promise("commit_wait", "SELECT value FROM v$parameter", ("WAIT",)),))
    scene = make_scene(tmp_path)
    here = ConnectionSettings("sqlite", scene.config.server.dbname)
    schema.create_all(here)
    tbuf = TaskBuffer(LocalBridge(here, OperationSettings()))  # in this process, where the promise is
    monkeypatch.setattr(scene_module, "patient_task_buffer", lambda *_: contextlib.closing(tbuf))
    assert severities(database.durability, scene) == {Severity.skipped}
    assert [severities(one, scene) for one in (database.reachable, database.clock)] == [{Severity.ok}] * 2


@pytest.mark.parametrize(("ahead", "severity"), [(0.1, "ok"), (-5, "warning"), (3600, "failure")])
def test_clocks(tmp_path: Path, ahead: float, severity: str) -> None:
    ((got, _),) = found(database.clock, make_scene(tmp_path, _answer=answer(ahead=ahead)))
    assert got == severity


def test_a_file_has_no_clock(tmp_path: Path) -> None:
    scene = make_scene(tmp_path, _answer=answer(ahead=3600, clock_is_ours=True))
    assert severities(database.clock, scene) == {Severity.ok}
