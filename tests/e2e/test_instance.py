"""What `make run` promises about the instance that it starts."""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from pandaserver.testing.account import service_account
from pandaserver.testing.instance import Instance, InstanceFailed, Options
from pandaserver.testing.servers import PostgresServer
from tests.e2e.conftest import free_port


def fetched(instance: Instance, path: str, *, tls: bool = False, **headers: str) -> tuple[int, str]:
    context = ssl.create_default_context(cafile=str(instance.authorities))
    url = f"{instance.https if tls else instance.http}{path}"
    request = urllib.request.Request(url, headers={name.replace("_", "-"): value for name, value in headers.items()})
    try:
        with urllib.request.urlopen(request, timeout=30, context=context) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_is_alive_says_so_and_nothing_else(instance: Instance) -> None:
    assert fetched(instance, "/server/panda/isAlive") == (200, "alive=yes")


def test_is_alive_over_https(instance: Instance) -> None:
    assert fetched(instance, "/server/panda/isAlive", tls=True) == (200, "alive=yes")


@pytest.mark.parametrize("path", ["/auth/testvo_auth_config.json", "/cache/schedconfig/TEST_PQ.all.json"])
def test_what_clients_and_pilots_read_is_there(instance: Instance, path: str) -> None:
    assert fetched(instance, path)[0] == 200


@pytest.mark.parametrize(
    "path", ["/", "/panda.py", "/server/panda.py", "/cache/", "/etc/passwd", "/cache/../etc/panda"]
)
def test_nothing_else_is_served(instance: Instance, path: str) -> None:
    assert fetched(instance, path)[0] in (400, 403, 404)


def test_a_token_gives_its_role(instance: Instance) -> None:
    token = instance.token("Jane Doe", "testvo/production")
    _, text = fetched(
        instance, "/server/panda/getAttr", tls=True, Authorization=f"Bearer {token}", Origin="testvo.production"
    )
    assert "GRST_CRED_AUTH_TOKEN_0 : VOMS /testvo/Role=production" in text


def test_a_forged_token_is_refused(instance: Instance) -> None:
    token = instance.token("Jane Doe")
    forged = token[:-4] + ("AAAA" if not token.endswith("AAAA") else "BBBB")
    status, _ = fetched(instance, "/server/panda/getAttr", tls=True, Authorization=f"Bearer {forged}", Origin="testvo")
    assert status == 403


def test_a_header_makes_nobody_known(instance: Instance) -> None:
    _, text = fetched(instance, "/server/panda/getAttr", SSL_Client_S_DN="/CN=Jane Doe", GRST_Cred_0="VOMS /x")
    assert "Jane" not in text


def test_a_second_instance_in_the_directory_is_refused(instance: Instance) -> None:
    with pytest.raises(InstanceFailed, match="DIR"), Instance(Options(instance.layout.home)):
        pass


def test_a_used_port_is_named(instance: Instance, directory: Path) -> None:
    with pytest.raises(InstanceFailed, match="PORT="), Instance(Options(directory, port=instance.options.port)):
        pass


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_everything(directory: Path, number: signal.Signals) -> None:
    process = running(directory)
    process.send_signal(number)
    assert process.wait(timeout=60) == 0
    assert left_behind(directory) == []


def test_a_killed_instance_leaves_nothing_and_starts_again(directory: Path) -> None:
    process = running(directory)
    process.kill()
    process.wait()
    deadline = time.monotonic() + 60
    while left := left_behind(directory):
        assert time.monotonic() < deadline, left
        time.sleep(0.1)
    again = running(directory)
    again.terminate()
    assert again.wait(timeout=60) == 0


@pytest.mark.parametrize("database", ["postgresql", "mariadb"])
def test_an_instance_on_a_server_of_its_own(directory: Path, database: str) -> None:
    with Instance(Options(directory, free_port(), free_port(), database=database)) as instance:
        assert fetched(instance, "/server/panda/isAlive") == (200, "alive=yes")
    assert left_behind(directory) == []


def test_an_instance_on_a_database_that_exists(directory: Path) -> None:
    server = PostgresServer(directory / "server", service_account().user if os.geteuid() == 0 else None, durable=False)
    found = server.start()
    try:
        url = f"postgresql://{found.user}:{found.password.reveal()}@127.0.0.1:{found.port}/{found.name}"
        with Instance(Options(directory / "var", free_port(), free_port(), database=url)) as instance:
            assert json.loads(instance.admin("queue", "show", "TEST_PQ"))["status"] == "online"
    finally:
        server.stop()


def test_an_instance_without_daemon_has_none(directory: Path) -> None:
    with Instance(Options(directory, free_port(), free_port(), daemon=False)):
        assert not [command for command in left_behind(directory) if "daemons.master" in command]
        assert not (directory / "log" / "daemon.out").exists()


def running(directory: Path) -> subprocess.Popen[str]:
    """Start an instance as `make run` does and return when it says that it runs."""
    ports = ["--port", str(free_port()), "--tls-port", str(free_port())]
    process = subprocess.Popen(
        [sys.executable, "-m", "pandaserver.testing.run", *ports, "--dir", str(directory)],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout
    for line in process.stdout:
        if "Ctrl-C" in line:
            return process
    raise AssertionError(f"the instance ended with {process.wait()}")


def left_behind(directory: Path) -> list[str]:
    """Return the command lines of processes that name the directory or work in it."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            place = os.readlink(entry / "cwd")
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if str(directory) in command or place.startswith(str(directory)):
            found.append(command)
    return found
