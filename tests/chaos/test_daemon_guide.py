"""The example of the daemon's guide, word for word, run by a daemon on an empty database."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from pandaserver.daemons.status import ScriptStatus
from pandaserver.taskbuffer.connection_settings import ConnectionSettings
from tests.chaos.daemon_rig import Daemon, wait_until

EXAMPLE = Path(__file__).parents[1] / "data" / "guides" / "daemon.cfg"
LOOPING = "add_main"  # goes on for its whole period


@pytest.fixture
def daemon(tmp_path: Path, connection: ConnectionSettings) -> Iterator[Daemon]:
    made = Daemon(tmp_path / "home", connection.name, tmp_path / "events")
    made.configure({})
    cfg = made.home / "etc" / "panda" / "panda_server.cfg"
    server = cfg.read_text().partition("[daemon]")[0]
    (made.home / "cache").mkdir()
    cfg.write_text(f"{server}cache_dir = {made.home}/cache\nschedconfig_dir = {made.home}/cache\n{EXAMPLE.read_text()}")
    yield made
    made.end()


@pytest.mark.slow
def test_every_daemon_of_the_example_runs_and_none_fails(daemon: Daemon) -> None:
    daemon.start()
    names = set(json.loads(EXAMPLE.read_text().partition("config =")[2]))
    wait_until(lambda: {name for name, one in scripts(daemon).items() if one.history.runs} >= names - {LOOPING}, 60)
    assert set(scripts(daemon)) == names
    assert {name: one.history.last_error for name, one in scripts(daemon).items() if one.history.failures} == {}
    assert scripts(daemon)[LOOPING].state == "running"
    assert "Traceback" not in daemon.worker_log() + daemon.output()
    assert daemon.stop() == 0


def scripts(daemon: Daemon) -> dict[str, ScriptStatus]:
    status = daemon.status()
    return {} if status is None else {script.name: script for script in status.scripts}
