"""A server in the middle of its work is told to end, or killed: nothing stays behind, and it can start again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

from pandaserver.config.panda_config import connection_settings, load
from tests.chaos.web_cycles import Crew, User, assert_in_order, books, fail_lost, forget_locks, submission
from tests.chaos.web_rig import Rig, directory, kill_all, living, offspring, wait_until, words

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

JOBS = 60
PILOTS = 4
#: What the processes of a server that is at work are called.
KINDS = ("apache2|httpd", "(wsgi:", "taskbuffer.dbchild", "setupper_main", "daemons.master")


class MakeRun:
    """``make run`` as a process of its own; ``rig`` is how to reach it."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.home = str(rig.layout.home)
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start it and return when it says that it runs."""
        options = self.rig.options
        ports = ["--port", str(options.port), "--tls-port", str(options.tls_port)]
        command = [sys.executable, "-m", "pandaserver.testing.run", *ports, "--dir", self.home]
        self._process = subprocess.Popen(
            [*command, "--db", options.database], stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        assert self._process.stdout is not None
        assert any("Ctrl-C" in line for line in self._process.stdout), self._process.wait()
        self.rig.connection = connection_settings(load({"PANDA_HOME": self.home}).server)

    def processes(self) -> list[psutil.Process]:
        """Return it with everybody who descends from it, or is in a session of one of these, or works for it."""
        found: set[psutil.Process] = set(self.strangers())
        if self._process is not None and self._process.poll() is None:
            first = psutil.Process(self._process.pid)
            found |= {first, *offspring(first)}
        sessions = {os.getsid(one.pid) for one in living(list(found))} - {os.getsid(0)}
        return living([one for one in psutil.process_iter() if one in found or _session(one) in sessions])

    def strangers(self) -> list[psutil.Process]:
        """Return every process that has the environment of the instance, works in its directory or names it."""
        return living([one for one in psutil.process_iter() if one.pid != os.getpid() and self.home in _facts(one)])

    def terminate(self) -> int:
        """Ask it to end as systemd does, and return its exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(60)

    def kill(self) -> None:
        """Kill everybody at the same moment, and return when nobody is left, not even as a zombie.

        PostgreSQL takes a zombie of its number for a running server.
        """
        everybody = self.processes()
        kill_all(everybody)
        assert self._process is not None
        self._process.wait()
        wait_until(lambda: not any(psutil.pid_exists(one.pid) for one in everybody), what="the end of zombies")


def _session(one: psutil.Process) -> int | None:
    try:
        return os.getsid(one.pid)
    except ProcessLookupError:
        return None


def _facts(one: psutil.Process) -> str:
    try:
        return f"{one.environ().get('PANDA_HOME')} {one.cwd()} {words(one)}"
    except psutil.Error:
        return ""


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[MakeRun]:
    with directory() as path:
        server = MakeRun(Rig(path / "var", request.param))
        server.start()
        yield server
        kill_all(server.processes())


def kinds_of(processes: list[psutil.Process]) -> set[str]:
    """Return which kinds of processes these are."""
    return {kind for kind in KINDS for one in processes if any(word in words(one) for word in kind.split("|"))}


def put_to_work(server: MakeRun, crew: Crew) -> list[psutil.Process]:
    """Have every kind of process in the middle of its work, and return them all."""
    User(server.rig).submit(submission(1, "brokered", computingSite=None))  # the Setupper's
    crew.wait_for(15)
    wait_until(lambda: kinds_of(server.processes()) == set(KINDS), what="a process of every kind")
    return server.processes()


@pytest.mark.parametrize("server", ["sqlite", "postgresql"], indirect=True)
def test_a_server_that_is_told_to_end_leaves_nobody_and_starts_again(server: MakeRun) -> None:
    User(server.rig).submit(submission(JOBS, "work"))
    with Crew(server.rig, PILOTS) as crew:
        everybody = put_to_work(server, crew)
        assert server.terminate() == 0
        # A child of a web process ends when it hears that its parent is gone, which nobody waits for.
        wait_until(lambda: not living(everybody) and not server.strangers(), seconds=10, what="the end of everybody")
        server.start()
        forget_locks(server.rig)
        crew.settle("work")
    fail_lost(server.rig)
    assert_in_order(books(server.rig, "work"), JOBS, lost=PILOTS)


@pytest.mark.parametrize("server", ["sqlite", "postgresql"], indirect=True)
def test_a_server_of_which_everything_was_killed_starts_again_where_it_was(server: MakeRun) -> None:
    User(server.rig).submit(submission(JOBS, "work"))
    with Crew(server.rig, PILOTS) as crew:
        put_to_work(server, crew)
        server.kill()
        assert server.strangers() == []
        server.start()
        forget_locks(server.rig)
        crew.settle("work")
    fail_lost(server.rig)
    assert_in_order(books(server.rig, "work"), JOBS, lost=PILOTS)
