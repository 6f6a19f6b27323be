"""The parts of a development instance that need no server to be tried."""

from __future__ import annotations

import os
import re
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pandaserver.config.panda_config import connection_settings, load
from pandaserver.deployment.template import rendered, shipped
from pandaserver.taskbuffer.connection_settings import ConnectionSettings, Secret
from pandaserver.testing import apache, instance_config
from pandaserver.testing.account import Account
from pandaserver.testing.instance import InstanceFailed, check_port
from pandaserver.testing.layout import Layout
from pandaserver.testing.processes import Processes

ME = Account("me", "me", os.geteuid(), os.getegid(), switch=False)


@pytest.fixture
def layout() -> Iterator[Layout]:
    """An instance's directory whose path is short enough for sockets, which those of pytest are not always."""
    with tempfile.TemporaryDirectory() as name:
        made = Layout(Path(name))
        made.create()
        yield made


def test_the_template_names_no_value_that_the_instance_does_not_have(layout: Layout) -> None:
    text = apache.configure(layout, ME).read_text()
    directives = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    assert not [line for line in directives if "@@" in line]


def test_the_instance_sets_every_variable_of_the_template() -> None:
    used = set(re.findall(r"\$\{(\w+)\}", shipped(apache.TEMPLATE)))
    assert used == apache.environment("localhost", 1, 2, processes=1).keys()


def test_a_placeholder_without_value_is_an_error() -> None:
    with pytest.raises(KeyError, match="user"):
        rendered("User @@user@@", {})


@pytest.mark.parametrize(
    "connection",
    [
        ConnectionSettings(backend="sqlite", name="/var/panda.sqlite"),
        ConnectionSettings(
            backend="postgres", name="panda", host="db", port=5433, user="panda", password=Secret("50%off")
        ),
    ],
    ids=["sqlite", "postgres"],
)
def test_the_configuration_is_read_back_without_findings(layout: Layout, connection: ConnectionSettings) -> None:
    instance_config.write(
        layout, ME, connection, host="localhost", port=1080, tls_port=1443, daemons={"add_main": {"period": 10}}
    )
    config = load({}, [layout.etc])
    assert config.findings == ()
    found = connection_settings(config.server)
    assert (found.backend, found.name, found.host, found.port) == (
        connection.backend,
        connection.name,
        connection.host,
        connection.port,
    )
    assert found.password.reveal() == connection.password.reveal()
    assert [spec.name for spec in config.daemon.daemons] == ["add_main"]


def test_the_password_of_the_database_is_readable_by_the_account_only(layout: Layout) -> None:
    instance_config.write(layout, ME, ConnectionSettings("sqlite", "x"), host="h", port=1, tls_port=2, daemons={})
    assert stat.S_IMODE((layout.etc / "panda_server.cfg").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("url", "backend", "host", "port", "name", "password"),
    [
        ("postgresql://u:p%40ss@db.example:5433/panda", "postgres", "db.example", 5433, "panda", "p@ss"),
        ("mariadb://u:p@db/panda", "mysql", "db", 0, "panda", "p"),
        ("sqlite:////tmp/panda.sqlite", "sqlite", "", 0, "/tmp/panda.sqlite", ""),
    ],
)
def test_a_database_is_named_by_its_url(url: str, backend: str, host: str, port: int, name: str, password: str) -> None:
    found = instance_config.connection_of_url(url)
    assert (found.backend, found.host, found.port, found.name, found.password.reveal()) == (
        backend,
        host,
        port,
        name,
        password,
    )


@pytest.mark.parametrize("url", ["db2://u:p@h/x", "postgresql://h"])
def test_another_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="DB_URL"):
        instance_config.connection_of_url(url)


def test_a_used_port_is_named_with_its_variable() -> None:
    with socket.socket() as busy:
        busy.bind(("", 0))
        busy.listen()
        port = busy.getsockname()[1]
        with pytest.raises(InstanceFailed, match=rf"port {port} .*TLS_PORT="):
            check_port(port, "TLS_PORT")


def test_a_path_too_long_for_sockets_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="DIR"):
        Layout(tmp_path / ("x" * 100)).create()


@pytest.mark.parametrize(("mode", "reached"), [(0o755, True), (0o700, False)])
def test_another_account_reaches_open_directories_only(mode: int, reached: bool) -> None:
    stranger = Account("stranger", "stranger", 4711, 4711, switch=True)
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(mode)
        assert stranger.can_reach(Path(name) / "not yet there") is reached


def test_stopping_ends_what_a_child_left_behind(tmp_path: Path) -> None:
    processes = Processes(ME, tmp_path, tmp_path)
    child = processes.start("parent", ["/bin/sh", "-c", "sleep 600 & echo $!; wait"], {"PATH": os.defpath})
    grandchild = int(_first_line(child.log))
    processes.stop()
    assert _gone(grandchild)


def test_a_child_that_ignores_the_request_is_killed(tmp_path: Path) -> None:
    processes = Processes(ME, tmp_path, tmp_path)
    child = processes.start("deaf", ["/bin/sh", "-c", "trap '' TERM; echo ready; sleep 600"], {"PATH": os.defpath})
    _first_line(child.log)
    processes.stop(patience=0.2)
    assert child.process.returncode == -signal.SIGKILL


def test_a_child_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    program = f"""
import os, pathlib, time
from pandaserver.testing.processes import Processes
from pandaserver.testing.account import Account
directory = pathlib.Path({str(tmp_path)!r})
me = Account("me", "me", os.geteuid(), os.getegid(), switch=False)
print(Processes(me, directory, directory).start("child", ["sleep", "600"], dict(os.environ)).process.pid, flush=True)
time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        child = int(parent.stdout.readline())
        parent.kill()
    assert _gone(child)


def _first_line(path: Path) -> str:
    deadline = time.monotonic() + 60
    while "\n" not in (text := path.read_text()):
        assert time.monotonic() < deadline, "the child said nothing"
        time.sleep(0.01)
    return text.splitlines()[0]


def _gone(pid: int) -> bool:
    """Wait until no living process has that number; a zombie that nobody reaped yet counts as gone."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):  # the second if it goes between opening and reading
            return True
        time.sleep(0.01)
    return False
