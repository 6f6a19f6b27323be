"""A real daemon on a directory of its own, and scripts that leave a trace of what they did."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from time import monotonic, sleep
from typing import Any, NamedTuple

import psutil

from pandaserver.daemons.status import MasterStatus, read_status

ROOT = Path(__file__).parents[2]

#: The module of all test daemons. Arguments: name, what to do, how long.
SCRIPT = '''
import os, signal, subprocess, sys, time

def record(name, what):
    with open(os.environ["EVENTS"], "a") as file:
        file.write(f"{time.monotonic()} {name} {what} {os.getpid()}\\n")

def main(argv, tbuf=None, lock_pool=None, **_):
    _, name, action, seconds = argv
    record(name, "start")
    try:
        return globals()[action](name, seconds, tbuf)
    finally:
        record(name, "end")

def nap(name, seconds, tbuf):
    time.sleep(seconds)

def ask(name, seconds, tbuf):
    tbuf.check_database()
    time.sleep(seconds)

def talk(name, seconds, tbuf):
    """Print numbered lines, and let a child print one."""
    until = time.monotonic() + seconds
    number = 0
    while time.monotonic() < until:
        sys.stdout.write(f"line {name} {number}\\n")  # print would write the end of the line by itself
        sys.stdout.flush()
        record(name, f"printed:{number}")
        number += 1
        time.sleep(0.001)
    subprocess.run(["echo", f"child {name}"])
    record(name, "child")

def again(name, seconds, tbuf):
    time.sleep(seconds)
    return True

def fail(name, seconds, tbuf):
    raise RuntimeError("out of luck")

def leave(name, seconds, tbuf):
    sys.exit(0)

def cling(name, seconds, tbuf):
    """Start a child and an orphan in sessions of their own, ignore every polite signal, and hang."""
    nothing = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    child = subprocess.Popen([sys.executable, "-c", nothing], start_new_session=True)
    record(name, f"child:{child.pid}")
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            record(name, "orphan")
            time.sleep(600)
        os._exit(0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(600)

def fork_and_terminate(name, seconds, tbuf):
    pid = os.fork()
    if pid == 0:
        time.sleep(seconds)
        os._exit(0)
    time.sleep(0.2)
    os.kill(pid, signal.SIGTERM)
    record(name, f"status:{os.waitpid(pid, 0)[1]}")

def commit_late(name, seconds, tbuf):
    """Write after something has taken the lease over."""
    while not os.path.exists(os.environ["EVENTS"] + ".taken"):
        time.sleep(0.05)
    try:
        tbuf.set_user_secrets("me", "{}")
    except Exception as error:
        record(name, f"refused:{type(error).__name__}")
        raise
    record(name, "committed")
'''


class Event(NamedTuple):
    """One line of the trace."""

    time: float
    name: str
    what: str
    pid: int


class Daemon:
    """The daemon of one machine. Several may share a database."""

    def __init__(self, home: Path, database: str, events: Path) -> None:
        self.home = home
        self.database = database
        self.events_path = events
        self.logs = home / "log"
        self.pidfile = home / "daemon.pid"
        self.scripts = home / "scripts"
        self.stdout = home / "stdout"
        self.process: subprocess.Popen[bytes] | None = None
        self.server_settings: dict[str, Any] = {}  # instead of the database
        self.account_changes = False
        self.detached: psutil.Process | None = None
        (self.scripts / "test_scripts").mkdir(parents=True)
        (self.scripts / "test_scripts" / "act.py").write_text(SCRIPT)
        self.logs.mkdir()

    def configure(self, daemons: Mapping[str, Any] | str, **settings: Any) -> None:
        """Write the configuration files. Each daemon without a module runs the test script."""
        if not isinstance(daemons, str):
            daemons = json.dumps({name: self._with_module(name, given) for name, given in daemons.items()}, indent=1)
        values = {"enable": True, "package": "test_scripts", "n_proc": 2, "stop_timeout": 1} | settings
        lines = [f"{key} = {value}" for key, value in values.items()]
        etc = self.home / "etc" / "panda"
        etc.mkdir(parents=True, exist_ok=True)
        facts = {"logdir": self.logs} | (self.server_settings or {"backend": "sqlite", "dbname": self.database})
        server = "\n".join(["[server]", *(f"{key} = {fact}" for key, fact in facts.items()), ""])
        value = daemons.replace("\n", "\n  ")
        (etc / "panda_server.cfg").write_text("\n".join([server, "[daemon]", *lines, f"config = {value}", ""]))
        (etc / "panda_common.cfg").write_text(f"[logger]\nlogdir = {self.logs}\n")

    def _with_module(self, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
        action, seconds = given.get("act", ("nap", 0))
        act = {"module": "act", "arguments": [name, action, seconds]}
        return act | {key: value for key, value in given.items() if key != "act"}

    def command(self, *options: str) -> list[str]:
        """Return the command line."""
        return [sys.executable, "-m", "pandaserver.daemons.master", "--pidfile", str(self.pidfile), *options]

    def environment(self, **more: str) -> dict[str, str]:
        """Return the environment: this configuration only, the test's scripts, and no change of account."""
        path = os.pathsep.join([str(ROOT), str(self.scripts)])
        mine = {
            "PANDA_HOME": str(self.home),
            "HOME": str(self.home),
            "PYTHONPATH": path,
            "EVENTS": str(self.events_path),
        }
        inherited = dict(os.environ)
        inherited.pop("PANDA_NO_ROOT", None)
        return inherited | ({} if self.account_changes else {"PANDA_NO_ROOT": "1"}) | mine | more

    def start(self, *options: str) -> subprocess.Popen[bytes]:
        """Start the daemon in the foreground."""
        with self.stdout.open("ab") as out:
            command = self.command("--foreground", *options)
            self.process = subprocess.Popen(command, env=self.environment(), stdout=out, stderr=out, cwd=self.home)
        return self.process

    def run(self, *options: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run a daemon that is expected to end by itself."""
        environment = self.environment(**more)
        return subprocess.run(
            self.command(*options), env=environment, capture_output=True, text=True, timeout=30, check=False
        )

    def detach(self) -> psutil.Process:
        """Start the daemon in the background and return its master."""
        with self.stdout.open("ab") as out:
            subprocess.run(self.command(), env=self.environment(), stdout=out, stderr=out, timeout=30, check=True)
        wait_until(lambda: bool(self.pidfile.read_text()))
        self.detached = psutil.Process(int(self.pidfile.read_text()))
        return self.detached

    def stop(self) -> int:
        """Ask the daemon to end and return its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)

    def end(self) -> None:
        """Leave no process behind, whatever the test did."""
        attached = self.process_info() if self.process is not None and self.process.poll() is None else None
        for master in (self.detached, attached):
            if master is not None and master.is_running():
                everybody = [master, *master.children(recursive=True)]
                for one in everybody:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        one.kill()
        if self.process is not None:
            self.process.wait()

    def process_info(self) -> psutil.Process:
        """Return the master as psutil sees it."""
        assert self.process is not None
        return psutil.Process(self.process.pid)

    def workers(self) -> list[int]:
        """Return the pids of the living workers."""
        return self.workers_of(self.process_info())

    def workers_of(self, master: psutil.Process) -> list[int]:
        """Return the pids of the living workers of that master."""
        return [one.pid for one in master.children() if not is_gone(one.pid)]

    def events(self, name: str | None = None, what: str | None = None) -> list[Event]:
        """Return what scripts recorded, in this order."""
        if not self.events_path.exists():
            return []
        fields = [line.split() for line in self.events_path.read_text().splitlines()]
        found = [Event(float(time), by, kind, int(pid)) for time, by, kind, pid in fields]
        return [event for event in found if name in (None, event.name) and what in (None, event.what)]

    def starts(self, name: str) -> list[float]:
        """Return when the script was started."""
        return [event.time for event in self.events(name, "start")]

    def output(self) -> str:
        """Return what the master said."""
        return self.stdout.read_text() if self.stdout.exists() else ""

    def status(self) -> MasterStatus | None:
        """Return what the master told its machine last."""
        return read_status(self.logs / "panda_daemon_status.json")

    def worker_log(self) -> str:
        """Return what workers logged."""
        path = self.logs / "panda-daemons.log"
        return path.read_text() if path.exists() else ""

    def logged_at(self, message: str) -> float:
        """Return when, in seconds since some day, a worker first logged a message."""
        line = next(line for line in self.worker_log().splitlines() if message in line)
        return datetime.fromisoformat(line[:23].replace(",", ".")).timestamp()


def wait_until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait for a condition, and fail if it does not come true."""
    deadline = monotonic() + seconds
    while not condition():
        assert monotonic() < deadline, "the condition did not come true"
        sleep(0.02)


def is_gone(pid: int) -> bool:
    """Tell whether a process has ended; somebody else's zombie counts as ended."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def gaps(times: list[float]) -> list[float]:
    """Return the time between neighbours."""
    return [after - before for before, after in pairwise(times)]
