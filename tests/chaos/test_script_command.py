"""An administrator runs one script of the daemon by hand."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pandaserver.taskbuffer.connection_settings import ConnectionSettings
from tests.chaos.daemon_rig import Daemon


@pytest.fixture
def daemon(tmp_path: Path, connection: ConnectionSettings) -> Iterator[Daemon]:
    made = Daemon(tmp_path / "home", connection.name, tmp_path / "events")
    made.configure({"a": {"period": 60}, "bad": {"period": 60, "act": ["fail", 0]}})
    yield made
    made.end()


def panda_admin(daemon: Daemon, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from pandaserver.admin.main import main; main()", "script", *arguments]
    return subprocess.run(command, env=daemon.environment(), capture_output=True, text=True, timeout=30, check=False)


def test_a_daemon_of_the_configuration_runs_with_its_arguments(daemon: Daemon) -> None:
    assert panda_admin(daemon, "a").returncode == 0
    assert [event.name for event in daemon.events()] == ["a", "a"]


def test_given_arguments_replace_those_of_the_configuration(daemon: Daemon) -> None:
    assert panda_admin(daemon, "a", "by-hand", "nap", "0").returncode != 0  # the script wants a number
    assert daemon.events()[0].name == "by-hand"


def test_a_script_that_raises_is_a_failed_command(daemon: Daemon) -> None:
    done = panda_admin(daemon, "bad")
    assert done.returncode != 0
    assert "out of luck" in done.stderr


def test_a_module_that_is_no_daemon_runs_by_its_name(daemon: Daemon) -> None:
    daemon.configure({"a": {"period": 60}}, package="pandaserver.daemons.scripts")
    done = panda_admin(daemon, "dummy_test", "--flag")
    assert done.returncode == 0, done.stderr
    assert "tbuf=yes lock_pool=yes" in done.stdout
    assert "arguments=['--flag']" in done.stdout


def test_an_unknown_name_is_refused(daemon: Daemon) -> None:
    done = panda_admin(daemon, "nothing_like_it")
    assert done.returncode != 0
    assert "nothing_like_it" in done.stderr
    assert "Traceback" not in done.stderr
