"""The units under a real systemd, where one can run."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
import urllib.error
from collections.abc import Callable, Iterator

import pytest

from tests.e2e.installed_server import GUIDES, InstalledServer
from tests.e2e.machine import Machine, booted

PARENT, HTTPD, DAEMON = "panda.service", "panda_httpd.service", "panda_daemon.service"
CHILDREN = (HTTPD, DAEMON)


@pytest.fixture(scope="module")
def machine(installed: InstalledServer) -> Iterator[Machine]:
    """The installed server as systemd knows it, enabled as the page of the production instances says."""
    installed.service("stop")
    root = installed.root / "machine"
    units = root / "etc" / "systemd" / "system"
    shutil.copytree(installed.prefix / "etc" / "systemd" / "system", units)
    etc = installed.layout.etc
    (etc / "panda_server_env.systemd").write_bytes((etc / "panda_server_env.systemd.rpmnew").read_bytes())
    for unit in units.iterdir():
        text = unit.read_text().replace("/etc/sysconfig/panda_server_env", f"{etc}/panda_server_env.systemd")
        unit.write_text(text.replace("RestartSec=5", "RestartSec=0.2"))
    for command in (GUIDES / "systemd.txt").read_text().splitlines():
        if command.startswith("systemctl "):
            subprocess.run(["systemctl", f"--root={root}", *command.split()[1:]], check=True, capture_output=True)
    with booted(units, installed.root / "systemd.log") as running:
        yield running


@pytest.fixture
def stopped(machine: Machine) -> Machine:
    assert machine.systemctl("stop", PARENT, *CHILDREN)[0] == 0
    return machine


@pytest.fixture
def started(machine: Machine) -> Machine:
    code, text = machine.systemctl("start", PARENT)
    assert code == 0, text
    eventually(lambda: machine.states(*CHILDREN) == ["active", "active"])  # they start after it
    return machine


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def alive(server: InstalledServer) -> bool:
    try:
        return server.is_alive() == "alive=yes"
    except urllib.error.URLError:
        return False


def test_both_children_follow_the_parent(stopped: Machine, installed: InstalledServer) -> None:
    assert stopped.systemctl("start", PARENT) == (0, "")
    eventually(lambda: stopped.states(PARENT, *CHILDREN) == ["active"] * 3)
    eventually(lambda: alive(installed))
    assert stopped.systemctl("stop", PARENT) == (0, "")
    assert stopped.states(PARENT, *CHILDREN) == ["inactive"] * 3
    assert not alive(installed)


def test_the_status_of_the_parent_tells_about_the_schema(started: Machine) -> None:
    assert "ExecStartPre" in started.systemctl("status", PARENT)[1]
    assert started.shown(PARENT, "ExecStartPre").count("status=0") == 1


@pytest.mark.parametrize("unit", CHILDREN)
def test_a_child_can_be_stopped_and_started_for_itself(started: Machine, unit: str) -> None:
    (other,) = set(CHILDREN) - {unit}
    assert started.systemctl("stop", unit)[0] == 0
    assert started.states(unit, other) == ["inactive", "active"]
    assert started.systemctl("start", unit)[0] == 0
    assert started.states(unit, other) == ["active", "active"]


def test_a_reload_of_the_parent_reaches_both_and_replaces_neither(started: Machine) -> None:
    before = [started.shown(unit, "MainPID") for unit in CHILDREN]
    assert started.systemctl("reload", PARENT) == (0, "")
    assert [started.shown(unit, "MainPID") for unit in CHILDREN] == before


@pytest.mark.parametrize("unit", CHILDREN)
def test_a_killed_child_comes_back(started: Machine, unit: str) -> None:
    before = started.shown(unit, "MainPID")
    assert started.systemctl("kill", "--kill-who=main", f"--signal={signal.SIGKILL.value}", unit)[0] == 0
    eventually(lambda: started.shown(unit, "MainPID") not in ("0", before) and started.states(unit) == ["active"])


def test_a_disabled_daemon_is_skipped(stopped: Machine, installed: InstalledServer) -> None:
    cfg = installed.layout.etc / "panda_server.cfg"
    text = cfg.read_text()
    cfg.write_text(text.replace("enable = True", "enable = False"))
    try:
        assert stopped.systemctl("start", PARENT)[0] == 0
        eventually(lambda: stopped.shown(DAEMON, "Result") == "exec-condition")
        assert stopped.states(PARENT, *CHILDREN) == ["active", "active", "inactive"]
    finally:
        cfg.write_text(text)


def test_the_daemon_runs_as_its_account_and_writes_its_logs(started: Machine, installed: InstalledServer) -> None:
    log = installed.layout.log / "panda_daemon_stdout.log"
    eventually(lambda: "worker launched" in log.read_text())
    owner = (installed.layout.log / "panda-daemons.log").stat().st_uid
    assert owner == (installed.account.uid if installed.account.switch else os.geteuid())


def test_a_daemon_that_hangs_is_started_again(started: Machine, installed: InstalledServer) -> None:
    patience = installed.root / "machine" / "etc" / "systemd" / "system" / f"{DAEMON}.d" / "patience.conf"
    patience.parent.mkdir(exist_ok=True)
    patience.write_text("[Service]\nWatchdogSec=3\nRestartSec=0\n")
    try:
        assert started.systemctl("daemon-reload")[0] == 0
        assert started.systemctl("restart", DAEMON)[0] == 0
        eventually(lambda: "workers busy" in started.shown(DAEMON, "StatusText"))
        before = started.shown(DAEMON, "MainPID")
        assert started.systemctl("kill", "--kill-who=main", f"--signal={signal.SIGSTOP.value}", DAEMON)[0] == 0
        eventually(lambda: started.shown(DAEMON, "MainPID") not in ("0", before))
        eventually(lambda: started.states(DAEMON) == ["active"])
    finally:
        patience.unlink()
        started.systemctl("daemon-reload")
