"""A real instance whose processes can be found, killed and started again."""

from __future__ import annotations

import os
import signal
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from http.client import HTTPException
from pathlib import Path
from time import monotonic, sleep
from typing import Any
from urllib.parse import parse_qsl, urlencode

import psutil

from pandaserver.taskbuffer.connection_settings import ConnectionSettings, OperationSettings
from pandaserver.taskbuffer.local_bridge import LocalBridge
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from pandaserver.testing.development_issuer import VO
from pandaserver.testing.instance import Instance, Options
from pandaserver.testing.pilot_transport import Credential, Server
from pandaserver.testing.servers import PostgresServer
from tests.e2e.conftest import free_port

SCRIPTS = "pandaserver.daemons.scripts"

#: Quick enough that nobody waits for the daemon.
DAEMONS: Mapping[str, Mapping[str, Any]] = {
    "add_main": {"module": f"{SCRIPTS}.add_main", "period": 1, "loop": True},
    "setup_lost_jobs": {"module": f"{SCRIPTS}.setup_lost_jobs", "period": 2},
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back over HTTP."""

    status: int
    text: str

    @property
    def fields(self) -> dict[str, str]:
        """The reply as pilots read it."""
        return dict(parse_qsl(self.text))


class Rig(Instance):
    """An instance for tests that do harm.

    ``server`` are further lines of section [server], ``variables`` of the environment; ``httpd`` replaces text of
    Apache's configuration.
    """

    def __init__(
        self,
        directory: Path,
        database: str,
        *,
        daemon: bool = True,
        daemons: Mapping[str, Mapping[str, Any]] = DAEMONS,
        server: Mapping[str, object] | None = None,
        variables: Mapping[str, str] | None = None,
        httpd: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(
            Options(directory, free_port(), free_port(), database=database, daemon=daemon, daemons=daemons)
        )
        self._server = server or {}
        self._variables = variables or {}
        self._httpd = httpd or {}

    def environment(self) -> dict[str, str]:
        return super().environment() | dict(self._variables)

    def _write_configuration(self, connection: ConnectionSettings) -> None:
        super()._write_configuration(connection)
        path = self.layout.etc / "panda_server.cfg"
        more = "".join(f"{name} = {value}\n" for name, value in self._server.items())
        text = path.read_text().replace("[server]\n", f"[server]\n{more}", 1)
        path.write_text(text.replace(f"package = {SCRIPTS}\n", "package =\n"))  # modules have their full names
        path = self.layout.etc / "panda_server-httpd.conf"
        text = path.read_text()
        for shipped, here in self._httpd.items():
            assert shipped in text
            text = text.replace(shipped, here)
        path.write_text(text)

    # ---- who asks

    @cached_property
    def _pilot_token(self) -> str:
        return self.token("Robot Pilot", f"{VO}/pilot")

    def pilot_server(self, url: str = "") -> Server:
        """Return the server as a pilot with a token sees it."""
        return Server(url or f"{self.http}/server/panda", Credential(self._pilot_token, f"{VO}.pilot"))

    def ask(self, method: str, fields: Mapping[str, Any] | None = None, **headers: str) -> Answer:
        """Ask as a pilot does, in a form, and return whatever comes back; status 0 if nothing does."""
        body = None if fields is None else urlencode(fields).encode()
        mine = {"Authorization": f"Bearer {self._pilot_token}", "Origin": f"{VO}.pilot"}
        request = urllib.request.Request(f"{self.http}/server/panda/{method}", body, mine | headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as reply:
                return Answer(reply.status, reply.read().decode())
        except urllib.error.HTTPError as error:
            return Answer(error.code, error.read().decode(errors="replace"))
        except (OSError, HTTPException) as error:
            return Answer(0, str(error))

    @contextmanager
    def task_buffer(self) -> Iterator[TaskBuffer]:
        """Give a task buffer of this process, for looking and for making time pass."""
        assert self.connection is not None
        bridge = LocalBridge(self.connection, OperationSettings(main_vo=VO))
        try:
            yield TaskBuffer(bridge)
        finally:
            bridge.close()

    # ---- its processes

    def apache(self) -> psutil.Process:
        """Return the first process of Apache."""
        return self._child("panda_server-httpd.conf")

    def master(self) -> psutil.Process:
        """Return the master of the daemon."""
        return self._child("pandaserver.daemons.master")

    def web_processes(self) -> list[psutil.Process]:
        """Return the processes that run the application."""
        return [one for one in living(self.apache().children()) if words(one).startswith("(wsgi:")]

    def database_children(self) -> list[psutil.Process]:
        """Return the processes that hold the web's database connections."""
        everybody = [child for one in self.web_processes() for child in offspring(one)]
        return [one for one in everybody if "pandaserver.taskbuffer.dbchild" in words(one)]

    def workers(self) -> list[psutil.Process]:
        """Return the workers of the daemon."""
        return living(self.master().children())

    def kill_apache(self) -> None:
        """Kill everything of the web at once."""
        self._kill([self.apache(), *offspring(self.apache())])

    def start_apache(self) -> None:
        """Start Apache again, after it was killed."""
        self._start_apache()

    def kill_daemon(self) -> None:
        """Kill the master; its workers follow."""
        self._kill([self.master()])

    def start_daemon(self) -> None:
        """Start the daemon again, after it was killed."""
        self._start_daemon()

    def daemon_output(self) -> str:
        """Return what the master said."""
        return (self.layout.log / "daemon.out").read_text()

    def _kill(self, processes: list[psutil.Process]) -> None:
        kill_all(processes)
        for child in self.processes._children:  # reap ours: Apache takes a zombie of its number for a running server
            child.process.poll()

    def _child(self, word: str) -> psutil.Process:
        mine = [one for one in living(psutil.Process().children()) if word in words(one) and self._owns(one)]
        assert len(mine) == 1, f"{word}: {mine}"
        return mine[0]

    def _owns(self, process: psutil.Process) -> bool:
        return process.cwd() == str(self.layout.home)


@contextmanager
def directory() -> Iterator[Path]:
    """Give a directory that the service account can reach; those of pytest are private."""
    with tempfile.TemporaryDirectory(prefix="panda-chaos-") as name:
        path = Path(name)
        path.chmod(0o755)
        yield path


@contextmanager
def postgres(path: Path) -> Iterator[ConnectionSettings]:
    """Give a PostgreSQL server that is reached by port."""
    server = PostgresServer(path / "postgres", durable=False)
    try:
        yield server.start()
    finally:
        server.stop()


def url_of(settings: ConnectionSettings, port: int = 0) -> str:
    """Return the URL of a PostgreSQL server, or of a proxy before it."""
    account = f"{settings.user}:{settings.password.reveal()}"
    return f"postgresql://{account}@127.0.0.1:{port or settings.port}/{settings.name}"


def living(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Return the processes that have not ended."""
    found = []
    for one in processes:
        try:
            if one.status() != psutil.STATUS_ZOMBIE:
                found.append(one)
        except psutil.NoSuchProcess:
            continue
    return found


def offspring(process: psutil.Process) -> list[psutil.Process]:
    """Return everything that descends from a process, nothing if it has ended."""
    try:
        return living(process.children(recursive=True))
    except psutil.NoSuchProcess:
        return []


def words(process: psutil.Process) -> str:
    """Return the command line of a process, nothing if it has ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


def kill_all(processes: list[psutil.Process]) -> None:
    """Kill processes and wait until they have ended."""
    for one in processes:
        try:
            os.kill(one.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    wait_until(lambda: not living(processes))


def wait_until(condition: Callable[[], Any], seconds: float = 30.0, what: str = "the condition") -> None:
    """Wait for a condition, and fail if it does not come true."""
    deadline = monotonic() + seconds
    while not condition():
        assert monotonic() < deadline, f"{what} did not come true"
        sleep(0.01)
