"""Whatever is killed in the middle of its work, every accepted job ends once, in one table, with its whole history."""

from __future__ import annotations

import json
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from time import monotonic, sleep
from typing import Any, TypeVar

import pytest

from pandacommon.pandalogger.PandaLogger import PandaLogger
from pandaserver.brokerage.SiteMapper import SiteMapper
from pandaserver.dataservice.Adder import Adder
from pandaserver.dataservice.AdderSimplePlugin import AdderSimplePlugin
from pandaserver.jobdispatcher.Watcher import Watcher
from pandaserver.srvcore.errors import Busy, OutcomeUnknown, Unavailable
from pandaserver.taskbuffer import schema
from pandaserver.taskbuffer.bridge import ChildSettings
from pandaserver.taskbuffer.ConBridge import ConBridge
from pandaserver.taskbuffer.connection_settings import ConnectionSettings, OperationSettings
from pandaserver.taskbuffer.keyed_caller import KeyedCaller
from pandaserver.taskbuffer.local_bridge import LocalBridge
from pandaserver.taskbuffer.lost_jobs import heartbeat_rules
from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.requests import JobRequest, Selection, StatusReport
from pandaserver.taskbuffer.SiteSpec import SiteRows, SiteSpec
from pandaserver.taskbuffer.states import FINAL, LIVE_TABLES, TRANSITIONS
from pandaserver.taskbuffer.submission import Submission, Submitter
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from pandaserver.taskbuffer.tickets import Ticket
from pandaserver.taskbuffer.transaction import Transaction
from pandaserver.testing.servers import PostgresServer
from tests.factories import make_job

pytestmark = pytest.mark.slow

T = TypeVar("T")

ROOT = Path(__file__).parents[2]
BACKENDS = [
    name
    for name in ("sqlite", "postgres")
    if name in os.environ.get("PANDA_TEST_BACKENDS", "sqlite,postgres,mariadb").split(",")
]
JANE = Submitter(dn="/CN=Jane Doe", name="Jane Doe")
CYCLES = 200
PILOTS = 4
PATIENCE = 60.0
ARROWS = {(t.source, t.target) for t in TRANSITIONS}

EVERYWHERE = " UNION ALL ".join(f"SELECT PandaID, jobStatus FROM ATLAS_PANDA.{table}" for table in LIVE_TABLES)
HISTORY = "SELECT PandaID, jobStatus FROM ATLAS_PANDA.jobs_StatusLog ORDER BY statusLogID"


@operation(timeout=60)
def look_after_chaos(tx: Transaction) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    return tx.rows(EVERYWHERE), tx.rows(HISTORY)


@pytest.fixture(params=BACKENDS)
def connection(request: pytest.FixtureRequest) -> Iterator[ConnectionSettings]:
    """An empty database of each kind, which survives its clients."""
    memory = Path("/dev/shm")
    root = Path(tempfile.mkdtemp(prefix="panda-chaos-", dir=memory if os.access(memory, os.W_OK) else None))
    root.chmod(0o755)
    server = PostgresServer(root / "server", durable=False) if request.param == "postgres" else None
    try:
        made = server.start() if server else ConnectionSettings(backend="sqlite", name=str(root / "panda.sqlite3"))
        schema.create_all(made)
        yield made
    finally:
        if server:
            server.stop()
        shutil.rmtree(root)


@dataclass
class Crowd:
    """Clients and pilots that never give up, each on a bridge of its own."""

    connection: ConnectionSettings
    accepted: list[int] = field(default_factory=list)
    bridges: list[ConBridge] = field(default_factory=list)
    alive: set[int] = field(default_factory=set)  # children that have answered
    failures: list[BaseException] = field(default_factory=list)
    threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        logger = PandaLogger.getLogger("ConBridge")
        for n in range(PILOTS):
            bridge = ConBridge(ChildSettings(self.connection, OperationSettings()), logger)
            self.bridges.append(bridge)
            self.threads.append(threading.Thread(target=self._work, args=(bridge, range(n, CYCLES, PILOTS))))
        for thread in self.threads:
            thread.start()

    @property
    def is_busy(self) -> bool:
        return any(thread.is_alive() for thread in self.threads)

    def stop(self) -> None:
        for thread in self.threads:
            thread.join(2 * PATIENCE)
        for bridge in self.bridges:
            bridge.close()

    def _work(self, bridge: ConBridge, numbers: range) -> None:
        try:
            for number in numbers:
                self._cycle(TaskBuffer(bridge), bridge, str(number))
        except BaseException as error:
            self.failures.append(error)
            raise

    def _cycle(self, task_buffer: TaskBuffer, bridge: ConBridge, key: str) -> None:
        """Submit a job, get one (maybe another), run it."""
        jobs = [make_job()]
        submission = Submission(jobs, JANE, nothing_to_prepare={"any": True})
        ticket = Ticket(JANE.dn, key, key)
        stored = self._patiently(bridge, lambda: TaskBuffer(KeyedCaller(bridge, ticket)).storeJobs(submission))
        self.accepted += [job.PandaID for job in stored.jobs]
        request = JobRequest("TEST_PQ", 1, Selection.user)
        for job in self._patiently(bridge, lambda: task_buffer.getJobs(request)).jobs:
            assert job.PandaID is not None
            files = {f.lfn: {"guid": "g", "fsize": 1, "adler32": "00"} for f in job.Files if f.type != "input"}
            for report in (
                StatusReport(job.PandaID, "running", 0),
                StatusReport(job.PandaID, "finished", 0, output_report=json.dumps(files)),
            ):
                self._patiently(bridge, lambda: task_buffer.updateJobStatus(report))  # noqa: B023 - called at once

    def _patiently(self, bridge: ConBridge, ask: Callable[[], T]) -> T:
        """Ask again until there is an answer, as clients and pilots do."""
        deadline = monotonic() + PATIENCE
        while True:
            try:
                answer = ask()
            except (Unavailable, OutcomeUnknown, Busy):
                assert monotonic() < deadline, "no answer"
                sleep(0.001)
            else:
                if bridge.pid is not None:
                    self.alive.add(bridge.pid)
                return answer


class AdderProcess:
    """An Adder that somebody is going to kill."""

    def __init__(self, connection: ConnectionSettings) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.adder_process"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(pickle.dumps(connection))
        self._process.stdin.close()
        assert self._process.stdout.readline() == b"ready\n"

    def kill(self) -> None:
        self._process.kill()
        assert self._process.wait(20) == -signal.SIGKILL
        assert self._process.stdout is not None
        self._process.stdout.close()


def settle_the_rest(connection: ConnectionSettings) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    """Do what the daemons do in the hours after, and return all jobs and all history."""
    task_buffer = TaskBuffer(LocalBridge(connection, OperationSettings()))
    sites = SiteMapper(SiteRows, SiteSpec("default"))
    adder = Adder(task_buffer, sites, lambda _vo: AdderSimplePlugin, "last", lease=0.0)
    while adder.run(grace=0.0):
        pass
    Watcher(task_buffer).run(replace(rule, minutes=0) for rule in heartbeat_rules(2, 48))
    found: tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]] = task_buffer.caller.call(look_after_chaos, (), {})
    task_buffer.close()
    return found


def check_that_nothing_is_lost(crowd: Crowd) -> None:
    assert crowd.failures == []
    assert len(crowd.accepted) == len(set(crowd.accepted)) == CYCLES
    rows, history = settle_the_rest(crowd.connection)
    assert sorted(pid for pid, _ in rows) == sorted(crowd.accepted), "a job is lost, doubled or nobody's"
    steps: dict[int, list[str]] = {}
    for pid, status in history:
        steps.setdefault(pid, []).append(status)
    for pid, status in rows:
        life = steps[pid]
        assert status in FINAL
        assert (life[0], life[-1]) == ("defined", status)
        assert len(life) == len(set(life)), f"{pid} did something twice: {life}"
        assert set(pairwise(life)) <= ARROWS, f"{pid} jumped: {life}"
    assert sum(status == "finished" for _, status in rows) > CYCLES / 2


def test_killed_database_children_lose_nothing(connection: ConnectionSettings) -> None:
    crowd = Crowd(connection)
    crowd.start()
    kills = 0
    adder = AdderProcess(connection)
    while crowd.is_busy:
        sleep(random.uniform(0.01, 0.1))
        victims = [b.pid for b in crowd.bridges if b.pid is not None and b.pid in crowd.alive]
        if victims:
            victim = random.choice(victims)
            crowd.alive.discard(victim)
            with suppress(ProcessLookupError):  # it retired meanwhile
                os.kill(victim, signal.SIGKILL)
                kills += 1
    crowd.stop()
    adder.kill()
    check_that_nothing_is_lost(crowd)
    assert kills >= 3


def test_a_killed_adder_loses_nothing(connection: ConnectionSettings) -> None:
    crowd = Crowd(connection)
    crowd.start()
    kills = 0
    while crowd.is_busy or kills < 8:
        adder = AdderProcess(connection)
        sleep(random.uniform(0.0, 0.02))  # long enough for a few batches, so it dies within one
        adder.kill()
        kills += 1
    crowd.stop()
    check_that_nothing_is_lost(crowd)
