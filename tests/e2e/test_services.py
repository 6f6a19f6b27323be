"""Init scripts, with a server that pip installed and that was set up by the commands of the guides."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import urllib.error
from pathlib import Path

import psutil
import pytest

from tests.e2e.conftest import free_port
from tests.e2e.installed_server import InstalledServer

#: Exit codes of the Linux Standard Base.
OK, USAGE, NOT_PERMITTED, NOT_CONFIGURED, NOT_RUNNING = 0, 2, 4, 6, 7
RUNNING, DEAD, STOPPED = 0, 1, 3

HTTPD, DAEMON = "panda_server_httpd", "panda_daemon"


@pytest.fixture
def stopped(installed: InstalledServer) -> InstalledServer:
    assert installed.service("stop").returncode == OK
    assert processes(installed) == []
    return installed


@pytest.fixture
def running(installed: InstalledServer) -> InstalledServer:
    done = installed.service("start")
    assert done.returncode == OK, done.stdout + done.stderr
    return installed


def test_a_start_makes_the_directories_that_are_missing(stopped: InstalledServer) -> None:
    missing = [stopped.layout.schedconfig, stopped.layout.trf, stopped.layout.cric]
    for directory in missing:
        shutil.rmtree(directory)
    done = stopped.service("start")
    assert done.returncode == OK, done.stdout + done.stderr
    assert {directory.owner() for directory in missing} == {stopped.account.user}


def processes(server: InstalledServer) -> list[psutil.Process]:
    """Every process that belongs to the installation, whatever its name."""
    return [
        one
        for one in psutil.process_iter()
        if any(str(server.root) in text for text in (*words(one), *surroundings(one)))
    ]


def words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return []


def surroundings(process: psutil.Process) -> list[str]:
    try:
        return [process.environ().get("PANDA_HOME", ""), process.cwd()]
    except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
        return []


def test_the_commands_of_the_guides(stopped: InstalledServer) -> None:
    said = [stopped.run(["sh", "-ec", command]) for command in stopped.commands("control")]
    assert "alive=yes" in said
    assert sum("started (pid" in text for text in said) == 3


def test_starting_twice_changes_nothing_and_says_so(running: InstalledServer) -> None:
    before = running.pid(HTTPD), running.pid(DAEMON)
    again = running.service("start")
    assert (again.returncode, again.stdout.count("is running already")) == (OK, 2)
    assert (running.pid(HTTPD), running.pid(DAEMON)) == before


def test_stopping_twice_changes_nothing_and_says_so(running: InstalledServer) -> None:
    assert running.service("stop").returncode == OK
    assert processes(running) == []
    again = running.service("stop")
    assert (again.returncode, again.stdout.count("is not running")) == (OK, 2)


def test_status_by_the_standard(running: InstalledServer) -> None:
    codes = [running.service("status", name).returncode for name in ("httpd-pandasrv", "panda_httpd", "panda_daemon")]
    assert codes == [RUNNING] * 3
    running.service("stop")
    codes = [running.service("status", name).returncode for name in ("httpd-pandasrv", "panda_httpd", "panda_daemon")]
    assert codes == [STOPPED] * 3


def test_a_start_after_both_were_killed(running: InstalledServer) -> None:
    for name in (HTTPD, DAEMON):
        os.kill(running.pid(name), signal.SIGKILL)
    codes = [running.service("status", name).returncode for name in ("httpd-pandasrv", "panda_httpd", "panda_daemon")]
    assert codes == [DEAD] * 3
    before = processes(running)
    done = running.service("start")
    assert (done.returncode, running.is_alive()) == (OK, "alive=yes"), done.stderr
    assert done.stdout.count("has died; starting another") == 2
    assert not set(before) & set(processes(running)), "Apache's children outlived it"


def test_a_stop_after_both_were_killed_leaves_nothing(running: InstalledServer) -> None:
    for name in (HTTPD, DAEMON):
        os.kill(running.pid(name), signal.SIGKILL)
    assert running.service("stop").returncode == OK
    assert processes(running) == []


def test_a_reload_keeps_both_processes(running: InstalledServer) -> None:
    before = running.pid(HTTPD), running.pid(DAEMON)
    assert running.service("reload").returncode == OK
    assert running.is_alive() == "alive=yes"
    assert (running.pid(HTTPD), running.pid(DAEMON)) == before


def test_apache_that_is_said_to_be_started_can_be_told_to_read_its_configuration_again(
    stopped: InstalledServer,
) -> None:
    script = stopped.prefix / "etc/rc.d/init.d/panda_httpd"
    many = {"PATH": os.defpath, "PANDA_SERVER_CONF_NUM_WSGI": "12"}  # between the pid file and the end of the start
    for _ in range(3):
        subprocess.run([script, "start"], env=many, check=True, capture_output=True, timeout=60)
        caught = Path(f"/proc/{stopped.pid(HTTPD)}/status").read_text().partition("SigCgt:")[2].split()[0]
        assert int(caught, 16) & 1 << (signal.SIGUSR1 - 1), "the signal would end it"
        assert stopped.service("stop", "panda_httpd").returncode == OK


def test_one_side_at_a_time(running: InstalledServer) -> None:
    assert running.service("stop-daemon").returncode == OK
    assert running.is_alive() == "alive=yes"
    assert running.service("status").returncode == STOPPED
    assert running.service("start-daemon").returncode == OK
    assert running.service("stop-httpd").returncode == OK
    with pytest.raises(urllib.error.URLError):
        running.is_alive()
    assert running.service("status", "panda_daemon").returncode == RUNNING


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_somebody_else_can_stop_and_start_nothing(running: InstalledServer) -> None:
    sysconfig = running.root / "sysconfig"
    sysconfig.write_bytes((running.layout.etc / "panda_server.sysconfig").read_bytes())
    somebody = f"setpriv --reuid=65534 --regid=65534 --clear-groups env PANDA_SYSCONFIG={sysconfig}".split()
    scripts = running.prefix / "etc" / "rc.d" / "init.d"

    def codes(action: str) -> list[int]:
        names = ("panda_httpd", "panda_daemon")
        return [subprocess.run([*somebody, scripts / name, action], check=False, cwd="/").returncode for name in names]

    assert codes("stop") == [NOT_PERMITTED] * 2
    assert codes("status") == [RUNNING] * 2
    assert running.service("stop-daemon").returncode == OK
    assert codes("start")[1] == NOT_PERMITTED


def test_a_restart_gives_new_processes(running: InstalledServer) -> None:
    before = {running.pid(HTTPD), running.pid(DAEMON)}
    assert running.service("restart").returncode == OK
    assert not before & {running.pid(HTTPD), running.pid(DAEMON)}
    assert running.is_alive() == "alive=yes"


def test_what_a_stopped_server_cannot_do(stopped: InstalledServer) -> None:
    assert stopped.service("reload").returncode == NOT_RUNNING
    assert stopped.service("try-restart").returncode == OK
    assert stopped.service("status").returncode == STOPPED


@pytest.mark.parametrize("action", ["", "nonsense", "start now"])
@pytest.mark.parametrize("name", ["httpd-pandasrv", "panda_httpd", "panda_daemon"])
def test_an_unknown_action_is_explained(stopped: InstalledServer, name: str, action: str) -> None:
    done = stopped.service(action, name)
    assert (done.returncode, "usage: " in done.stderr) == (USAGE, True)


def test_a_mistake_in_the_configuration_of_apache_keeps_the_server_running(running: InstalledServer) -> None:
    conf = running.layout.etc / "panda_server-httpd.conf"
    text = conf.read_text()
    conf.write_text(text + "\nNonsense on\n")
    try:
        codes = [running.service(action, "panda_httpd").returncode for action in ("configtest", "restart", "reload")]
    finally:
        conf.write_text(text)
    assert codes == [NOT_CONFIGURED] * 3
    assert running.is_alive() == "alive=yes"


def test_a_disabled_daemon_is_said_and_is_no_failure(stopped: InstalledServer) -> None:
    cfg = stopped.layout.etc / "panda_server.cfg"
    text = cfg.read_text()
    cfg.write_text(text.replace("enable = True", "enable = False"))
    try:
        started, status = stopped.service("start"), stopped.service("status")
        assert (started.returncode, status.returncode) == (OK, OK)
        assert "The daemon is disabled" in started.stdout
        assert not (stopped.layout.run / "panda_daemon.pid").exists()
    finally:
        cfg.write_text(text)


def test_a_daemon_that_cannot_start_is_a_failure_and_says_why(stopped: InstalledServer) -> None:
    cfg = stopped.layout.etc / "panda_server.cfg"
    text = cfg.read_text()
    cfg.write_text(text.replace("n_proc = 2", "n_proc = many"))
    try:
        done = stopped.service("start")
    finally:
        cfg.write_text(text)
    assert (done.returncode, "n_proc" in done.stderr) == (1, True)
    assert stopped.service("status", "panda_httpd").returncode == STOPPED, "the web server waits for the daemon"


def test_the_pid_file_can_be_elsewhere(stopped: InstalledServer) -> None:
    locks = stopped.root / "locks"
    sysconfig = stopped.layout.etc / "panda_server.sysconfig"
    text = sysconfig.read_text()
    sysconfig.write_text(f"{text}\nexport PANDA_LOCK_DIR={locks}\n")
    try:
        assert stopped.service("start-daemon").returncode == OK
        assert (locks / "panda_daemon.pid").exists()
        assert stopped.service("stop-daemon").returncode == OK
    finally:
        sysconfig.write_text(text)


def test_the_variables_of_the_environment_decide(stopped: InstalledServer) -> None:
    sysconfig = stopped.layout.etc / "panda_server.sysconfig"
    text = sysconfig.read_text()
    variables = {"PORT": free_port(), "PORT_SSL": free_port(), "NUM_WSGI": 3}
    lines = "".join(f"PANDA_SERVER_CONF_{name}={value}\n" for name, value in variables.items())
    sysconfig.write_text(lines + text)
    try:
        assert stopped.service("start-httpd").returncode == OK
        assert stopped.is_alive(variables["PORT"]) == "alive=yes"  # now they have started
        wsgi = [one for one in processes(stopped) if " ".join(words(one)).startswith("(wsgi:")]
        socket.create_connection(("localhost", variables["PORT_SSL"]), timeout=10).close()
    finally:
        stopped.service("stop-httpd")
        sysconfig.write_text(text)
    assert len(wsgi) == 3


def test_the_prefork_model_serves_too(stopped: InstalledServer) -> None:
    conf = stopped.layout.etc / "panda_server-httpd.conf"
    text = conf.read_text()
    stopped.render("--mpm=prefork")
    conf.write_bytes(conf.with_name(f"{conf.name}.rpmnew").read_bytes())
    try:
        assert stopped.service("start-httpd").returncode == OK
        assert stopped.is_alive() == "alive=yes"
        assert stopped.service("reload", "panda_httpd").returncode == OK
        assert stopped.is_alive() == "alive=yes"
    finally:
        stopped.service("stop-httpd")
        conf.write_text(text)
        stopped.render()
