"""The file in which the master tells how it is."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path

import pytest

from pandaserver.config.values import DaemonSpec
from pandaserver.daemons.protocol import Outcome
from pandaserver.daemons.schedule import Schedule
from pandaserver.daemons.status import BEAT, SILENCE, MasterStatus, StatusFile, read_status


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "status.json"


@pytest.fixture
def now() -> float:
    return time.monotonic()


@pytest.fixture
def schedule(now: float) -> Schedule:
    return Schedule([DaemonSpec("add_main", "scripts.add_main", 60, timeout=180)], now - 5)


@pytest.fixture
def file(path: Path) -> StatusFile:
    return StatusFile(path, logging.getLogger("tests"))


def written(file: StatusFile, path: Path, schedule: Schedule, now: float) -> MasterStatus:
    file.changed()
    file.beat(now, "running", 2, ["idle", "idle", "busy"], schedule)
    found = read_status(path)
    assert found is not None
    return found


def test_nobody_has_written_yet(path: Path) -> None:
    assert read_status(path) is None


def test_a_script_that_never_ran(file: StatusFile, path: Path, schedule: Schedule, now: float) -> None:
    found = written(file, path, schedule, now)
    assert found.workers == {"idle": 2, "busy": 1}
    (script,) = found.scripts
    assert (script.state, script.history.runs, script.history.last_start) == ("idle", 0, None)
    assert script.next_due == pytest.approx(time.time() - 5, abs=1)


def test_a_script_that_waits_for_a_worker_is_late(file: StatusFile, path: Path, schedule: Schedule, now: float) -> None:
    schedule.queue_due(now)
    assert written(file, path, schedule, now).scripts[0].late == pytest.approx(5)


def test_a_run_and_its_result(file: StatusFile, path: Path, schedule: Schedule, now: float) -> None:
    schedule.queue_due(now - 3)
    schedule.start_next(now - 3)
    running = written(file, path, schedule, now).scripts[0]
    assert running.running_since == pytest.approx(time.time() - 3, abs=1)
    assert running.late == pytest.approx(2)
    schedule.ended("add_main")
    file.ended("add_main", Outcome.failed, now - 3, now, "RuntimeError: out of luck")
    history = written(file, path, schedule, now).scripts[0].history
    assert (history.runs, history.failures, history.last_result) == (1, 1, "failed")
    assert history.last_seconds == pytest.approx(3)
    assert history.last_error == "RuntimeError: out of luck"


def test_a_run_elsewhere_is_no_run(file: StatusFile, path: Path, schedule: Schedule, now: float) -> None:
    file.ended("add_main", Outcome.skipped, now, now)
    history = written(file, path, schedule, now).scripts[0].history
    assert (history.runs, history.skipped, history.last_start) == (0, 1, None)


def test_it_is_written_again_only_after_a_change_or_a_beat(
    file: StatusFile, path: Path, schedule: Schedule, now: float
) -> None:
    written(file, path, schedule, now)
    path.unlink()
    file.beat(now + BEAT / 2, "running", 2, [], schedule)
    assert not path.exists()
    file.beat(now + BEAT, "running", 2, [], schedule)
    assert path.exists()


def test_a_silent_master_does_not_beat(file: StatusFile, path: Path, schedule: Schedule, now: float) -> None:
    found = written(file, path, schedule, now)
    assert found.is_beating(found.written + SILENCE)
    assert not found.is_beating(found.written + SILENCE + 1)


def test_a_directory_that_is_gone_is_told_once(
    tmp_path: Path, schedule: Schedule, now: float, caplog: pytest.LogCaptureFixture
) -> None:
    file = StatusFile(tmp_path / "gone" / "status.json", logging.getLogger("tests"))
    for second in (0, 20):
        file.beat(now + second, "running", 1, [], schedule)
    assert caplog.text.count("cannot write") == 1


def test_a_file_of_another_version_is_refused(path: Path) -> None:
    path.write_text(json.dumps({"scripts": [], "colour": "blue"}))
    with pytest.raises(ValueError, match="not written by this version"):
        read_status(path)
