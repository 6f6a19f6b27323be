"""The server under test: an instance as production runs it, with a page beside it that costs nothing but the web."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pandaserver
from pandaserver.admin.site_files import SHARE_NUMBERS, SHARE_TEXTS
from pandaserver.taskbuffer.connection_settings import ConnectionSettings, OperationSettings
from pandaserver.taskbuffer.OraDBProxy import OraDBProxy
from pandaserver.testing import sample_site
from pandaserver.testing.development_issuer import VO
from pandaserver.testing.instance import Instance, Options
from pandaserver.testing.layout import Layout

#: Where the modules of this package are imported from by processes with another account.
CODE: Final = Path(pandaserver.__file__).resolve().parent.parent

HELLO: Final = "/hello"
_HELLO_SCRIPT: Final = """
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "5")])
    return [b"hello"]
"""
#: In the same Apache and the same group of processes as the application.
_HELLO_HTTPD: Final = """
WSGIScriptAlias {path} "{script}"
<Directory "{directory}">
    <Files "{name}">
        Require all granted
    </Files>
</Directory>
"""

#: Queues of the scenarios, each used by one of them.
SPREAD: Final = tuple(f"BENCH_{number:03}" for number in range(200))
#: Queues at which jobs of many shares wait, and the tree of those: branches with ten leaves each.
WIDE: Final = tuple(f"WIDE_{number:03}" for number in range(500))
BRANCHES: Final = 20
LEAVES: Final = tuple(f"leaf_{number:03}" for number in range(10 * BRANCHES))

SINGLE, RUNNING, SUBMITTED, CYCLED = "BENCH_SINGLE", "BENCH_RUNNING", "BENCH_SUBMITTED", "BENCH_CYCLED"
QUEUES: Final = (*SPREAD, *WIDE, SINGLE, RUNNING, SUBMITTED, CYCLED)

#: How the names of the directories of runs begin.
PREFIX: Final = "panda-bench-"

#: Users who submit at the same time.
USERS: Final = 32


class Rig(Instance):
    """An instance without a daemon, with one database child for each web process, and with the hello page."""

    def __init__(self, directory: Path, database: str, web_processes: int) -> None:
        port, tls_port = _free_ports(2)
        super().__init__(
            Options(directory, port, tls_port, database=database, daemon=False, web_processes=web_processes)
        )

    @property
    def settings(self) -> ConnectionSettings:
        """How to reach the database."""
        assert self.connection is not None, "the instance has not been started"
        return self.connection

    def proxy(self) -> OraDBProxy:
        """Return a connection that runs operations in this process."""
        return OraDBProxy(self.settings, OperationSettings(main_vo=VO))

    def pilot_token(self) -> str:
        """Return the token of a pilot."""
        return self.token("Robot Pilot", f"{VO}/pilot")

    def user_tokens(self) -> list[str]:
        """Return a token for each user."""
        return [self.token(f"User Number{number}") for number in range(USERS)]

    def as_service(self) -> dict[str, Any]:
        """Return the arguments of Popen for a process with the account and the environment of the server."""
        environment = self.environment() | {"PYTHONPATH": str(CODE)}
        return {"env": environment, "cwd": self.layout.home, **self.account.popen_arguments()}

    def _write_configuration(self, connection: ConnectionSettings) -> None:
        super()._write_configuration(connection)
        script = self.layout.work / "hello.wsgi"
        script.write_text(_HELLO_SCRIPT)
        self.account.give(self.layout.work)
        text = _HELLO_HTTPD.format(path=HELLO, script=script, directory=script.parent, name=script.name)
        with (self.layout.etc / "panda_server-httpd.conf").open("a") as file:
            file.write(text)

    def _start_apache(self) -> None:
        # Before the first request, because the server reads its queues once in ten minutes.
        proxy = self.proxy()
        proxy.call("store_queues", [{queue: _described(queue) for queue in QUEUES}])
        proxy.call("replace_shares", [_shares()])
        proxy.close()
        super()._start_apache()


def remove_abandoned(parent: Path) -> None:
    """Remove what a run left behind that was killed: an instance holds its lock for as long as it lives."""
    for home in parent.glob(f"{PREFIX}*"):
        try:
            with Layout(home / "var").lock.open() as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # it runs, it has not begun to, or it is somebody else's
            continue
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def started(database: str, directory: Path | None = None, web_processes: int = 2) -> Iterator[Rig]:
    """Give a running rig in a directory of its own, which is removed at the end."""
    home = Path(tempfile.mkdtemp(prefix=PREFIX, dir=directory))
    home.chmod(0o755)  # the service account has to get in
    remove_abandoned(home.parent)
    try:
        rig = Rig(home / "var", database, web_processes)
        with rig:
            yield rig
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _described(queue: str) -> dict[str, Any]:
    return {**sample_site.QUEUE_DATA, "nickname": queue, "siteid": queue, "panda_resource": queue}


def _shares() -> list[dict[str, Any]]:
    """Return a tree with as many leaves as large experiments have, of different weights."""
    branches: list[dict[str, Any]] = [
        {"name": f"branch_{n:02}", "value": 1 + n, "parent": None} for n in range(BRANCHES)
    ]
    leaves = [{"name": name, "value": 1 + n % 7, "parent": f"branch_{n // 10:02}"} for n, name in enumerate(LEAVES)]
    unset = dict.fromkeys(SHARE_TEXTS) | dict.fromkeys(SHARE_NUMBERS)
    # No rule accepts a submitted job, so that only copies made for it are in a share of their own.
    return [{**unset, **row, "prodSourceLabel": "(?!)"} for row in (*branches, *leaves)]


def _free_ports(count: int) -> Sequence[int]:
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def database_size(rig: Rig) -> float:
    """Return how many MB the database takes on the disk."""
    total = 0
    for directory, _, names in os.walk(rig.layout.database):
        for name in names:
            try:
                total += os.lstat(os.path.join(directory, name)).st_size
            except FileNotFoundError:
                continue
    return total / 2**20
