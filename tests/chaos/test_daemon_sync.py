"""Two machines, one database: a `sync` script runs on one of them at a time, and its period counts for both."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

from pandaserver.taskbuffer.connection_settings import ConnectionSettings
from tests.chaos.daemon_rig import Daemon, Event, gaps, is_gone, wait_until

pytestmark = pytest.mark.slow
LATENESS = 0.6


@pytest.fixture
def machines(tmp_path: Path, connection: ConnectionSettings) -> Iterator[tuple[Daemon, Daemon]]:
    made = tuple(Daemon(tmp_path / name, connection.name, tmp_path / "events") for name in ("one", "two"))
    yield made[0], made[1]
    for daemon in made:
        daemon.end()


def start_all(machines: tuple[Daemon, Daemon], script: dict[str, object]) -> None:
    for machine in machines:
        machine.configure({"shared": {"sync": True, **script}})
        machine.start()


def overlapping(events: list[Event]) -> list[tuple[Event, Event]]:
    """Return the runs that began while another was running."""
    marks = [event for event in events if event.what in ("start", "end")]
    return [(a, b) for a, b in pairwise(marks) if a.what == b.what == "start"]


def test_starts_anywhere_are_a_period_apart(machines: tuple[Daemon, Daemon]) -> None:
    start_all(machines, {"period": 2})
    wait_until(lambda: len(machines[0].starts("shared")) >= 5)
    assert min(gaps(machines[0].starts("shared"))) > 2 - LATENESS
    assert "skipped since locked" in machines[0].worker_log() + machines[1].worker_log()


def test_a_run_longer_than_its_period_is_not_doubled(machines: tuple[Daemon, Daemon]) -> None:
    start_all(machines, {"period": 2, "timeout": 60, "act": ["nap", 5]})
    wait_until(lambda: len(machines[0].events("shared", "end")) >= 2)
    assert not overlapping(machines[0].events("shared"))


def test_a_killed_machine_blocks_a_script_for_a_period_at_most(machines: tuple[Daemon, Daemon]) -> None:
    start_all(machines, {"period": 3, "timeout": 60, "act": ["nap", 60]})
    wait_until(lambda: bool(machines[0].starts("shared")))
    holder_pid = machines[0].events("shared", "start")[0].pid
    dead, alive = machines if holder_pid in machines[0].workers() else machines[::-1]
    assert dead.process is not None
    dead.process.kill()  # its workers die with it
    wait_until(lambda: len(alive.starts("shared")) == 2, 3 + 4 * LATENESS)
    assert alive.events("shared", "start")[1].pid in alive.workers()


def test_a_holder_that_slept_past_its_lease_cannot_commit(machines: tuple[Daemon, Daemon]) -> None:
    start_all(machines, {"period": 2, "timeout": 60, "act": ["commit_late", 0]})
    wait_until(lambda: bool(machines[0].starts("shared")))
    sleeper = machines[0].events("shared", "start")[0].pid
    master = psutil.Process(psutil.Process(sleeper).ppid())
    master.suspend()  # else it would kill the sleeper before the lease ends
    os.kill(sleeper, signal.SIGSTOP)
    wait_until(lambda: len(machines[0].starts("shared")) == 2)
    Path(f"{machines[0].events_path}.taken").touch()
    wait_until(lambda: bool(machines[0].events("shared", "committed")))
    psutil.Process(sleeper).resume()
    wait_until(lambda: any(event.what.startswith("refused") for event in machines[0].events("shared")))
    refused = next(event for event in machines[0].events("shared") if event.what.startswith("refused"))
    assert (refused.pid, refused.what) == (sleeper, "refused:Conflict")
    master.resume()


def test_a_holder_that_cannot_renew_its_lease_is_killed_before_another_starts(machines: tuple[Daemon, Daemon]) -> None:
    start_all(machines, {"period": 4, "timeout": 60, "act": ["nap", 60]})
    wait_until(lambda: bool(machines[0].starts("shared")))
    start = machines[0].events("shared", "start")[0]
    os.kill(start.pid, signal.SIGSTOP)
    wait_until(lambda: is_gone(start.pid))
    assert len(machines[0].starts("shared")) == 1
    assert "cannot renew its lock, killing it" in machines[0].output() + machines[1].output()
    wait_until(lambda: len(machines[0].starts("shared")) == 2)
    assert machines[0].starts("shared")[1] - start.time > 4 - LATENESS


def test_workers_stop_for_good_when_the_schema_is_too_old(machines: tuple[Daemon, Daemon]) -> None:
    daemon = machines[0]
    with sqlite3.connect(daemon.database) as database:
        database.execute("UPDATE pandadb_version SET major = 0, minor = 0, patch = 0")
    daemon.configure({"a": {"period": 1}})
    assert daemon.start().wait(20) == 1
    assert "schema is version 0.0.0" in daemon.output()
