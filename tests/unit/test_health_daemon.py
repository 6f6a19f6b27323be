"""A daemon that beats, hangs, was stopped, has no workers, or whose scripts fail."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import pytest

from pandaserver.config.values import DaemonSpec
from pandaserver.daemons.protocol import Outcome
from pandaserver.daemons.schedule import Schedule
from pandaserver.daemons.status import SILENCE, StatusFile
from pandaserver.health import daemon
from pandaserver.health.result import Severity
from tests.health import found, make_scene, severities

SPEC = DaemonSpec("add_main", "scripts.add_main", 60)


@pytest.fixture
def file(tmp_path: Path) -> StatusFile:
    (tmp_path / "log").mkdir()
    return StatusFile(tmp_path / "log" / "panda_daemon_status.json", logging.getLogger("tests"))


def tell(file: StatusFile, state: str = "running", phase: str = "idle", late: float = 0) -> None:
    now = time.monotonic()
    schedule = Schedule([SPEC], now - late)
    schedule.queue_due(now)
    file.changed()
    file.beat(now, state, 2, [phase], schedule)


def test_a_daemon_that_is_well(tmp_path: Path, file: StatusFile) -> None:
    tell(file)
    scene = make_scene(tmp_path)
    assert severities(daemon.heartbeat, scene) == severities(daemon.scripts, scene) == {Severity.ok}


def test_a_daemon_that_is_not_wanted(tmp_path: Path) -> None:
    scene = make_scene(tmp_path, daemon={"enable": False})
    assert severities(daemon.heartbeat, scene) == severities(daemon.scripts, scene) == {Severity.skipped}


def test_a_daemon_that_never_ran(tmp_path: Path) -> None:
    scene = make_scene(tmp_path)
    assert found(daemon.heartbeat, scene) == [("failure", "the daemon has never run on this machine")]
    assert severities(daemon.scripts, scene) == {Severity.skipped}


def test_a_daemon_that_was_stopped(tmp_path: Path, file: StatusFile) -> None:
    tell(file, "stopped")
    ((severity, message),) = found(daemon.heartbeat, make_scene(tmp_path))
    assert (severity, message.startswith("the daemon was stopped")) == ("failure", True)


def test_a_daemon_that_is_silent(tmp_path: Path, file: StatusFile) -> None:
    tell(file)
    ((severity, message),) = found(daemon.heartbeat, make_scene(tmp_path, now=time.time() + SILENCE + 5))
    assert (severity, "is silent" in message) == ("failure", True)


def test_a_daemon_whose_workers_do_not_start(tmp_path: Path, file: StatusFile) -> None:
    tell(file, phase="starting")
    assert severities(daemon.heartbeat, make_scene(tmp_path)) == {Severity.failure}


def test_a_file_that_is_damaged(tmp_path: Path, file: StatusFile) -> None:
    (tmp_path / "log" / "panda_daemon_status.json").write_text("{}")
    assert severities(daemon.heartbeat, make_scene(tmp_path)) == {Severity.failure}


def test_a_script_that_failed(tmp_path: Path, file: StatusFile) -> None:
    file.ended("add_main", Outcome.failed, 0.0, 1.0, "RuntimeError: out of luck")
    tell(file)
    assert found(daemon.scripts, make_scene(tmp_path)) == [("warning", "add_main failed: RuntimeError: out of luck")]


def test_a_script_that_is_late(tmp_path: Path, file: StatusFile) -> None:
    tell(file, late=1000)
    assert found(daemon.scripts, make_scene(tmp_path)) == [("warning", "add_main is 1000 s late")]
