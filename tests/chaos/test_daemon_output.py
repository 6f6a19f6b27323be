"""What master, workers and children of scripts print, while somebody rotates the file away again and again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pandaserver.taskbuffer.connection_settings import ConnectionSettings
from tests.chaos.daemon_rig import Daemon, wait_until

_ROTATIONS = 5


@pytest.fixture
def daemon(tmp_path: Path, connection: ConnectionSettings) -> Iterator[Daemon]:
    made = Daemon(tmp_path / "home", connection.name, tmp_path / "events")
    yield made
    made.end()


@pytest.mark.slow
def test_no_printed_line_is_lost_while_the_file_is_rotated(daemon: Daemon) -> None:
    daemon.configure({f"talker{n}": {"period": 1, "act": ("talk", 0.4)} for n in range(3)}, n_proc=3)
    daemon.start()
    wait_until(lambda: bool(daemon.events(what="child")))
    for number in range(_ROTATIONS):
        ended = len(daemon.events(what="child"))
        daemon.stdout.rename(daemon.home / f"stdout-{number}")
        wait_until(lambda: daemon.stdout.exists() and "child" in daemon.stdout.read_text())
        wait_until(lambda ended=ended: len(daemon.events(what="child")) > ended)  # type: ignore[misc]
    assert daemon.stop() == 0
    text = "".join(path.read_text() for path in daemon.home.glob("stdout*"))
    words = [line.split()[0] for line in text.splitlines()]
    assert words.count("line") == len([event for event in daemon.events() if event.what.startswith("printed")])
    assert words.count("child") == len(daemon.events(what="child"))
    assert "master ended" in daemon.output(), "the master follows, too"
