"""A daemon that reads its configuration again, and what it tells systemd meanwhile."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from pandaserver.taskbuffer.connection_settings import ConnectionSettings
from tests.chaos.daemon_rig import Daemon, is_gone, wait_until

LONG = {"period": 100, "timeout": 60, "act": ["nap", 3]}


@pytest.fixture
def daemon(tmp_path: Path, connection: ConnectionSettings) -> Iterator[Daemon]:
    made = Daemon(tmp_path / "home", connection.name, tmp_path / "events")
    yield made
    made.end()


@pytest.mark.slow
def test_new_changed_and_removed_daemons_take_effect_and_running_scripts_go_on(daemon: Daemon) -> None:
    daemon.configure({"goes": LONG, "stays": LONG, "changes": {"period": 100}, "also": {"period": 1}}, n_proc=4)
    process = daemon.start()
    wait_until(lambda: all(daemon.starts(name) for name in ("goes", "stays", "changes", "also")))
    daemon.configure({"stays": LONG, "changes": {"period": 1}, "new": {"period": 100}}, n_proc=3)
    process.send_signal(signal.SIGHUP)
    wait_until(lambda: daemon.starts("new") and len(daemon.starts("changes")) >= 3)
    wait_until(lambda: daemon.events("goes", "end") and daemon.events("stays", "end"))
    wait_until(lambda: len(daemon.workers()) == 3)
    status = daemon.status()
    assert status is not None
    assert [script.name for script in status.scripts] == ["stays", "changes", "new"]
    assert (len(daemon.starts("goes")), len(daemon.starts("stays"))) == (1, 1)
    assert daemon.starts("also")[-1] < daemon.starts("new")[0]


def test_a_daemon_that_comes_back_during_its_run_is_not_started_twice(daemon: Daemon) -> None:
    daemon.configure({"long": LONG}, n_proc=2)
    process = daemon.start()
    wait_until(lambda: bool(daemon.starts("long")))
    for names in (["other"], ["other", "long"]):
        daemon.configure({name: {"period": 1} | (LONG if name == "long" else {}) for name in names})
        process.send_signal(signal.SIGHUP)
        wait_until(lambda names=names: f"configuration reloaded daemons={len(names)}" in daemon.output())  # type: ignore[misc]
    wait_until(lambda: bool(daemon.events("long", "end")))
    seen = len(daemon.starts("other"))
    wait_until(lambda: len(daemon.starts("other")) > seen)
    assert len(daemon.starts("long")) == 1


def test_systemd_hears_when_the_daemon_is_ready_how_it_is_and_when_it_ends(
    daemon: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "600000")
        heard: list[str] = []

        def hears(word: str) -> bool:
            with suppress(BlockingIOError):
                heard.extend(listener.recv(4096).decode().split("\n"))
            return word in heard

        daemon.configure({"rare": {"period": 1000}}, n_proc=2)
        process = daemon.start()
        wait_until(lambda: hears("STATUS=running: 0 of 2 workers busy, 2 wanted"))
        assert "READY=1" in heard
        for _ in range(3):  # an idle master, too
            heard.clear()
            wait_until(lambda: hears("WATCHDOG=1"), 5)
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: hears("RELOADING=1"))
        wait_until(lambda: hears("READY=1"))
        assert daemon.stop() == 0
        wait_until(lambda: hears("STOPPING=1"))


@pytest.mark.slow
def test_a_killed_master_leaves_no_orphan_of_a_script(daemon: Daemon) -> None:
    daemon.configure({"cling": {"period": 60, "act": ["cling", 0]}}, n_proc=3)
    process = daemon.start()
    wait_until(lambda: bool(daemon.events("cling", "orphan")) and len(daemon.workers()) == 3)
    everybody = [one.pid for one in daemon.process_info().children(recursive=True)]
    assert len(everybody) >= 5  # three workers, a child and an orphan of the script
    process.kill()
    process.wait()
    wait_until(lambda: all(is_gone(pid) for pid in everybody), 5)
