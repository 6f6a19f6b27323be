"""Servers of our own keep their data, and end with whoever started them."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep

import pytest

from pandaserver.taskbuffer.dialects import dialect_for
from pandaserver.testing import servers
from pandaserver.testing.servers import DatabaseServer, MariaDBServer, PostgresServer, ServerNotStarted
from tests.db.conftest import BACKENDS, SERVERS

START_AND_WAIT = """
import sys
from pathlib import Path
from pandaserver.testing import servers
server = getattr(servers, sys.argv[1])(Path(sys.argv[2]), durable=False)
print(server.start().port, flush=True)
sys.stdin.read()
"""


@pytest.fixture(params=[backend for backend in BACKENDS if backend in SERVERS])
def kind(request: pytest.FixtureRequest) -> type[DatabaseServer]:
    return SERVERS[request.param]


@pytest.fixture
def home() -> Iterator[Path]:
    """A short path that the server's account can reach."""
    path = Path(tempfile.mkdtemp(prefix="panda-server-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_server_keeps_its_data_and_its_password(kind: type[DatabaseServer], home: Path) -> None:
    server = kind(home / "db", durable=False)
    text = "CREATE TABLE kept (a INT)"
    try:
        first = server.start()
        session = dialect_for(first).connect(10)
        session.begin(read_only=False, seconds=10)
        session.execute(text, [])
        session.commit()
        session.close()
        server.stop()
        second = server.start()
        session = dialect_for(second).connect(10)
        session.begin(read_only=False, seconds=10)
        assert session.execute("SELECT COUNT(*) FROM kept", []).fetchone() == (0,)
        session.close()
    finally:
        server.stop()
    assert first.password == second.password


def test_a_server_ends_when_its_starter_is_killed(kind: type[DatabaseServer], home: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", START_AND_WAIT, kind.__name__, str(home / "db")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as starter:
        assert starter.stdout is not None
        port = int(starter.stdout.readline())
        assert answers(port)
        os.kill(starter.pid, signal.SIGKILL)
    deadline = monotonic() + 20
    while answers(port):
        assert monotonic() < deadline
        sleep(0.05)
    wait_for_release(home, deadline)


def wait_for_release(home: Path, deadline: float) -> None:
    """Until the server has written its last byte: then it removes the file with its number."""
    while any((home / "db" / name).exists() for name in ("data/postmaster.pid", "mariadb.pid")):
        assert monotonic() < deadline
        sleep(0.05)


def test_stopping_twice_is_harmless(kind: type[DatabaseServer], home: Path) -> None:
    server = kind(home / "db", durable=False)
    server.stop()
    server.start()
    server.stop()
    server.stop()


@pytest.mark.parametrize("server", [PostgresServer, MariaDBServer])
def test_a_missing_server_names_the_program(
    server: type[DatabaseServer], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers.shutil, "which", lambda *_, **__: None)
    with pytest.raises(ServerNotStarted, match="is not installed"):
        server(home / "db").start()
