"""What a container prepares before it runs anything, and what it says when it cannot."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from pandaserver.admin.main import main
from pandaserver.config.panda_config import PandaConfig, load
from pandaserver.deployment import container

CONF = """
PidFile "{run}/httpd.pid"
ErrorLog "{log}/panda_server_error_log"
CustomLog "{log}/panda_server_access_log" panda
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A PANDA_HOME."""
    etc = tmp_path / "etc" / "panda"
    etc.mkdir(parents=True)
    log, run = tmp_path / "log", tmp_path / "run"
    server = (
        f"logdir = {log}\ncache_dir = {log}/cache\nschedconfig_dir = {tmp_path}/queues\nmetrics_dir = {run}/metrics"
    )
    (etc / "panda_server.cfg").write_text(f"[server]\nbackend = sqlite\ndbname = x\npserverporthttp = 1\n{server}\n")
    (etc / "panda_common.cfg").write_text(f"[logger]\nlogdir = {log}\n")
    (etc / "panda_server-httpd.conf").write_text(CONF.format(run=run, log=log))
    return tmp_path


def environ(home: Path) -> dict[str, str]:
    return {"PANDA_HOME": str(home)}


def config(home: Path) -> PandaConfig:
    return load(environ(home), [home / "etc" / "panda"])


def test_leftovers_of_a_former_container_go_and_its_logs_stay(home: Path) -> None:
    run, log = home / "run", home / "log"
    (run / "metrics").mkdir(parents=True)
    log.mkdir()
    for stale in (run / "httpd.pid", run / "wsgi.1.0.1.sock", run / "metrics" / "counter_1.db"):
        stale.touch()
    (log / "panda_server_error_log").write_text("before")
    for _ in range(2):  # a second start finds what the first one made
        with container.prepared(environ(home), config(home), container.files_of(environ(home))):
            assert sorted(path.name for path in run.rglob("*")) == ["container.lock", "metrics"]
            assert (log / "panda_server_error_log").readlink() == Path("/proc/self/fd/2")
            assert (log / "panda_server_access_log").readlink() == Path("/proc/self/fd/1")
            assert (log / "panda_server_error_log.1").read_text() == "before"
            assert (log / "cache" / "jedilog").is_dir()
            assert (home / "queues").is_dir()


def test_there_is_one_container_at_a_time(home: Path) -> None:
    files = container.files_of(environ(home))
    with (
        container.prepared(environ(home), config(home), files),
        pytest.raises(container.ContainerFailed, match="another"),
        container.prepared(environ(home), config(home), files),
    ):
        pass


def test_logs_that_have_grown_are_put_aside(tmp_path: Path) -> None:
    large, small, other = tmp_path / "panda-Entry.log", tmp_path / "panda-UserIF.log", tmp_path / "other.log"
    for path in (large, other):
        path.write_bytes(b"x" * (2**20 + 1))
    small.write_text("x")
    container.rotate(tmp_path, 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other.log", "panda-Entry.log.1", "panda-UserIF.log"]


def test_apache_has_every_variable_and_those_of_the_administrator_win(home: Path) -> None:
    found = container.environment({"PANDA_SERVER_CONF_NUM_WSGI": "9"}, config(home))
    assert found["PANDA_SERVER_CONF_NUM_WSGI"] == "9"
    assert found["PANDA_SERVER_CONF_PORT"] == "1"
    assert {f"PANDA_SERVER_CONF_{name}" for name in ("SERVERNAME", "PORT_SSL", "MIN_WORKERS", "MAX_WORKERS")} < set(
        found
    )


@pytest.mark.parametrize(
    ("path", "text", "said"),
    [
        ("etc/panda/panda_server-httpd.conf", None, "panda-admin render"),
        ("etc/panda/panda_server-httpd.conf", "User panda", "has no PidFile"),
        ("run", "a file where a directory should be", "cannot be prepared"),
        ("etc/panda/panda_server.cfg", "[server]\nbackend = paper\n", "backend"),
    ],
)
def test_a_person_is_told_what_is_wrong(
    home: Path, monkeypatch: pytest.MonkeyPatch, path: str, text: str | None, said: str
) -> None:
    (home / path).unlink(missing_ok=True)
    if text is not None:
        (home / path).write_text(text)
    monkeypatch.setenv("PANDA_HOME", str(home))
    result = CliRunner().invoke(main, ["container", "run"])
    assert (result.exit_code, said in result.output) == (1, True), result.output
    assert "Traceback" not in result.output


#: In a process of its own, because the first process of a container blocks signals and adopts orphans.
WITHOUT_APACHE = """
import pathlib, sys
from pandaserver.admin.main import main
from pandaserver.deployment import apache
apache.httpd = lambda: pathlib.Path(sys.argv[1])
main(["container", "run"])
"""


def test_a_program_that_cannot_be_run_is_named(home: Path) -> None:
    command = [sys.executable, "-c", WITHOUT_APACHE, str(home / "nowhere")]
    environment = os.environ | {"PANDA_HOME": str(home)}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, "a service cannot be started" in result.stderr) == (1, True), result


def test_a_daemon_that_never_wrote_and_one_that_was_stopped_are_not_alive(home: Path) -> None:
    enabled = config(home)
    enabled = replace(enabled, daemon=replace(enabled.daemon, enable=True))
    assert "does not answer at port 1" in container.complaint(environ(home), enabled, 1.0)
    assert "has not written" in container._daemon_complaint(environ(home), enabled)
    status = {"host": "h", "pid": 1, "started": 0.0, "written": time.time(), "state": "running", "n_proc": 1}
    status |= {"workers": {}, "scripts": []}
    (home / "log").mkdir()
    for state, well in (("running", True), ("stopped", False)):
        (home / "log" / "panda_daemon_status.json").write_text(json.dumps(status | {"state": state}))
        assert (container._daemon_complaint(environ(home), enabled) == "") == well
