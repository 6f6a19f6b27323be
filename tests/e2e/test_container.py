"""The server as containers run it: one process in the foreground, for real."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from pandaserver.taskbuffer.connection_settings import ConnectionSettings
from pandaserver.testing import apache, instance_config
from pandaserver.testing.account import service_account
from pandaserver.testing.development_ca import DevelopmentCA
from pandaserver.testing.layout import Layout
from tests.e2e.conftest import free_port

PATIENCE = 60.0
ADMIN = f"{sys.prefix}/bin/panda-admin"


class Container:
    """A directory that looks like a container of ours, without its walls."""

    def __init__(self, directory: Path) -> None:
        self.account = service_account()
        self.layout = layout = Layout(directory / "panda")
        self.port, self.tls_port = free_port(), free_port()
        layout.create()
        DevelopmentCA(layout.ca).certify_host(["localhost"], layout.hostcert, layout.hostkey)
        instance_config.write(
            layout,
            self.account,
            ConnectionSettings("sqlite", str(layout.database / "panda.sqlite")),
            host="localhost",
            port=self.port,
            tls_port=self.tls_port,
            daemons={"dummy_test": {"period": 3600}},
        )
        with (layout.etc / "panda_common.cfg").open("a") as common:
            common.write("log_to_stdout = True\n")
        apache.configure(layout, self.account)
        self.account.give(layout.home)
        assert self.admin("schema", "upgrade").returncode == 0

    def environment(self, **more: str) -> dict[str, str]:
        """Return what a platform sets, and little else."""
        return {"PATH": f"{sys.prefix}/bin:{os.defpath}", "PANDA_HOME": str(self.layout.home)} | more

    def admin(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run a command inside."""
        return subprocess.run(
            [ADMIN, *arguments],
            env=self.environment(**more),
            cwd="/",
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
            **self.account.popen_arguments(),
        )

    def _alone(self) -> list[str]:
        """Return what gives a command process numbers of its own; only root can."""
        account = ["setpriv", f"--reuid={self.account.uid}", f"--regid={self.account.gid}", "--clear-groups"]
        return ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", *account]

    @contextmanager
    def started(self, *arguments: str, command: str = "run", alone: bool = False) -> Iterator[Running]:
        """Run the container's command, as process 1 of its own world if wanted, and leave nothing of it behind."""
        account = {} if alone else self.account.popen_arguments()
        process = subprocess.Popen(
            [*(self._alone() if alone else ()), ADMIN, "container", command, *arguments],
            env=self.environment(PANDA_SERVER_CONF_NUM_WSGI="1"),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            **account,
        )
        running = Running(process, self.port)
        try:
            yield running
        finally:
            if process.poll() is None:
                process.kill()
            if process.stdout is not None:
                process.stdout.close()
            process.wait()


class Running:
    """The first process of the container."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process = process
        self._port = port

    def get(self, path: str) -> tuple[int, str]:
        """Ask the web server; 0 if it is not there."""
        try:
            with urllib.request.urlopen(f"http://localhost:{self._port}{path}", timeout=PATIENCE) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, ""
        except OSError:
            return 0, ""

    def wait_until_alive(self) -> None:
        """Wait as the startup probe does."""
        wait_for(lambda: self.process.poll() is not None or self.get("/server/panda/isAlive")[0] == 200)
        assert self.process.poll() is None, self.output()

    def service(self, words: str, parent: psutil.Process | None = None) -> psutil.Process:
        """Return the process of one service."""
        children = (parent or psutil.Process(self.process.pid)).children()
        found = [child for child in children if words in " ".join(child.cmdline())]
        assert len(found) == 1, found
        return found[0]

    def ended(self) -> int:
        """Return the exit code."""
        return self.process.wait(PATIENCE)

    def output(self) -> str:
        """Return everything that was printed, after the end."""
        assert self.process.stdout is not None
        return self.process.stdout.read()


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "in vain"
        time.sleep(0.05)


def has_namespaces() -> bool:
    command = ["unshare", "--pid", "--fork", "--mount-proc", "true"]
    return subprocess.run(command, capture_output=True, timeout=PATIENCE, check=False).returncode == 0


def zombies(below: psutil.Process) -> list[psutil.Process]:
    found = []
    for child in below.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            found += [child] if child.status() == psutil.STATUS_ZOMBIE else []
    return found


@pytest.fixture
def container(directory: Path) -> Container:
    return Container(directory)


def test_the_container_serves_tells_that_it_lives_and_stops_in_peace(container: Container) -> None:
    elsewhere = container.layout.home / "issuers.json"
    elsewhere.write_text("{}")
    (container.layout.auth / "linked.json").symlink_to(elsewhere)
    container.account.give(container.layout.home)
    (container.layout.run / "panda_server_httpd.pid").write_text(str(os.getpid()))  # of a former container
    with container.started("--grace", "30") as running:
        running.wait_until_alive()
        assert running.get("/api/v1/system/is_ready")[0] == 200
        assert running.get("/auth/linked.json") == (200, "{}")  # as the files of a ConfigMap are
        wait_for(lambda: container.admin("container", "alive").returncode == 0)
        second = container.admin("container", "run")
        assert (second.returncode, "another" in second.stderr) == (1, True)
        workers = psutil.Process(running.process.pid).children(recursive=True)
        running.process.terminate()
        assert running.ended() == 0
        output = running.output()
    assert not [worker for worker in workers if worker.is_running()]
    for text in (
        "started service=apache",
        "started service=daemon",
        "GET /server/panda/isAlive",  # Apache's access log
        "resuming normal operations",  # its error log
        "stopping signal=SIGTERM",
        "ended service=daemon",
        "ended service=apache",
    ):
        assert text in output
    assert container.admin("container", "alive").returncode == 1


@pytest.mark.parametrize(
    ("words", "number"), [("pandaserver.daemons.master", signal.SIGKILL), ("-DFOREGROUND", signal.SIGTERM)]
)
def test_the_container_ends_when_one_of_its_services_ends(container: Container, words: str, number: int) -> None:
    with container.started() as running:
        running.wait_until_alive()
        workers = psutil.Process(running.process.pid).children(recursive=True)
        running.service(words).send_signal(number)
        assert running.ended() == 1
        assert running.output().count("ended service=") == 2
    assert not [worker for worker in workers if worker.is_running()]


def test_a_frozen_daemon_is_not_alive_and_is_killed_after_the_grace_period(container: Container) -> None:
    with container.started("--grace", "3") as running:
        running.wait_until_alive()
        wait_for(lambda: container.admin("container", "alive").returncode == 0)
        running.service("pandaserver.daemons.master").suspend()
        status = container.layout.log / "panda_daemon_status.json"
        beat = json.loads(status.read_text())
        status.write_text(json.dumps(beat | {"written": beat["written"] - 61}))
        found = container.admin("container", "alive")
        assert (found.returncode, "the daemon is silent" in found.stderr) == (1, True)
        running.process.terminate()
        assert running.ended() == 1
        assert "killed service=daemon" in running.output()


@pytest.mark.skipif(not has_namespaces(), reason="this account cannot make namespaces")
def test_process_1_serves_collects_orphans_and_ends_when_told_to(container: Container) -> None:
    with container.started(alone=True) as running:
        running.wait_until_alive()
        (first,) = psutil.Process(running.process.pid).children()
        worker = next(child for child in running.service("pandaserver.daemons.master", first).children())
        running.service("-DFOREGROUND", first).send_signal(signal.SIGUSR1)  # Apache renews its processes
        worker.kill()
        wait_for(lambda: not worker.is_running())
        wait_for(lambda: running.get("/api/v1/system/is_ready")[0] == 200)
        wait_for(lambda: not zombies(first))
        first.terminate()
        assert running.ended() == 0


def test_a_container_that_is_not_to_start_waits_until_it_is_told_to_end(container: Container) -> None:
    with container.started(command="idle") as running:
        assert running.process.stdout is not None
        assert "nothing is started" in running.process.stdout.readline()
        assert running.get("/server/panda/isAlive")[0] == 0
        running.process.terminate()
        assert running.ended() == 0


def test_what_kubernetes_mounts_reaches_the_server(container: Container) -> None:
    configmap = container.layout.home / "etc" / "configmap" / "panda_server_configmap.json"
    configmap.parent.mkdir()
    configmap.write_text(json.dumps({"server": {"dbpasswd": "$PANDA_DB_PASSWORD"}, "daemon": {"enable": "False"}}))
    container.account.give(container.layout.home)
    with container.started() as running:
        running.wait_until_alive()
        assert container.admin("container", "alive").returncode == 0
        running.process.send_signal(signal.SIGINT)
        assert running.ended() == 0
        assert "the daemon is disabled" in running.output()
