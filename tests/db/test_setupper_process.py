"""The real Setupper child: a process of its own, with the configuration of its parent."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic, sleep

import pytest

from pandaserver.dataservice.setupper_child import SetupperChild
from pandaserver.taskbuffer import schema
from pandaserver.taskbuffer.connection_settings import ConnectionSettings, OperationSettings
from pandaserver.taskbuffer.local_bridge import LocalBridge
from pandaserver.taskbuffer.submission import Submission, Submitter
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from tests.factories import make_job

LOGGER = logging.getLogger("test")
PARENT = """
import logging, time
from pandaserver.dataservice.setupper_child import SetupperChild
child = SetupperChild(logging.getLogger("x"))
child.nudge([123456789])
print(child._process.pid, flush=True)
time.sleep(60)
"""


@pytest.fixture
def tbuf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TaskBuffer]:
    """A SQLite database, and the configuration that leads there."""
    connection = ConnectionSettings(backend="sqlite", name=str(tmp_path / "panda.sqlite3"))
    schema.create_all(connection)
    (tmp_path / "etc" / "panda").mkdir(parents=True)
    dataservice = "any:pandaserver.dataservice"
    (tmp_path / "etc" / "panda" / "panda_server.cfg").write_text(
        f"""[server]
backend = sqlite
dbname = {connection.name}
setupper_plugins = {dataservice}.SetupperSimplePlugin:SetupperSimplePlugin
adder_plugins = {dataservice}.AdderSimplePlugin:AdderSimplePlugin
"""
    )
    (tmp_path / "etc" / "panda" / "panda_common.cfg").write_text(f"[logger]\nlogdir = {tmp_path}\n")
    monkeypatch.setenv("PANDA_HOME", str(tmp_path))
    bridge = LocalBridge(connection, OperationSettings(hostname="h"))
    made = TaskBuffer(bridge)
    made.storeQueues({"TEST_PQ": {"status": "online", "type": "unified"}})
    yield made
    bridge.close()


def wait_until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = monotonic() + seconds
    while not condition():
        assert monotonic() < deadline
        sleep(0.02)


def status_of(tbuf: TaskBuffer, job_id: int) -> str | None:
    job = tbuf.peekJobs([job_id])[0]
    return job and job.jobStatus


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_child_prepares_what_it_is_told_about_and_ends_with_its_parent(tbuf: TaskBuffer, tmp_path: Path) -> None:
    first, second = (tbuf.storeJobs(Submission([make_job()], Submitter("/CN=J", "J"))).jobs[0].PandaID for _ in "ab")
    child = SetupperChild(LOGGER)
    child.nudge([first])
    wait_until(lambda: status_of(tbuf, first) == "activated")
    child.nudge([second])
    wait_until(lambda: status_of(tbuf, second) == "activated")
    child.close()  # waits for its end
    log = (tmp_path / "panda-Setupper.log").read_text()
    assert log.count("starts") == 1
    assert log.count("ends") == 1


def test_a_child_does_not_outlive_a_parent_that_is_killed(tbuf: TaskBuffer) -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.send_signal(signal.SIGKILL)
    wait_until(lambda: not is_alive(pid))
