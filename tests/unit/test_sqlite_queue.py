"""Writers of a SQLite file are served in the order in which they came."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from multiprocessing import get_context
from multiprocessing.queues import Queue
from pathlib import Path
from statistics import median
from time import monotonic

import pytest

from pandaserver.taskbuffer import schema
from pandaserver.taskbuffer.connection_settings import ConnectionSettings, OperationSettings
from pandaserver.taskbuffer.dialects.sqlite_queue import WriterQueue
from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.OraDBProxy import OraDBProxy
from pandaserver.taskbuffer.transaction import Transaction

HOLD_AND_DIE = """
import os, sys
from pandaserver.taskbuffer.dialects.sqlite_queue import WriterQueue
assert WriterQueue(sys.argv[1]).acquire(5)
print("held", flush=True)
sys.stdin.read()
os._exit(1)
"""


@pytest.fixture
def database(tmp_path: Path) -> str:
    return str(tmp_path / "panda.sqlite3")


@pytest.fixture
def queues(database: str) -> Iterator[list[WriterQueue]]:
    made = [WriterQueue(database) for _ in range(4)]
    yield made
    for queue in made:
        queue.close()


def test_the_turn_passes_on(queues: list[WriterQueue]) -> None:
    for queue in (*queues, *queues):
        assert queue.acquire(1)
        queue.release()


def test_waiting_ends_at_the_deadline_and_leaves_the_queue(queues: list[WriterQueue]) -> None:
    first, second, third, _ = queues
    assert first.acquire(1)
    started = monotonic()
    assert not second.acquire(0.2)
    assert 0.2 <= monotonic() - started < 0.4
    first.release()
    assert third.acquire(0.1)


def test_whoever_came_first_is_served_first(queues: list[WriterQueue]) -> None:
    holder, *waiters = queues
    assert holder.acquire(1)
    served: list[int] = []

    def wait(number: int) -> None:
        assert waiters[number].acquire(10)
        served.append(number)
        waiters[number].release()

    threads = []
    for number in range(3):
        threads.append(threading.Thread(target=wait, args=(number,)))
        threads[-1].start()
        deadline = monotonic() + 5
        while waiters[number]._ticket == 0:  # has no ticket yet
            assert monotonic() < deadline
    holder.release()
    for thread in threads:
        thread.join(10)
    assert served == [0, 1, 2]


def test_the_turn_of_a_process_that_dies_passes_on(queues: list[WriterQueue], database: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD_AND_DIE, database], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        assert not queues[0].acquire(0.05)
        child.kill()
        assert queues[0].acquire(5)
    queues[0].release()


@operation(timeout=30)
def beat_for_test(tx: Transaction, owner: str) -> None:
    tx.upsert("ATLAS_PANDA.panda_leases", {"component": owner}, {"owner": owner, "token": 1, "lastStart": tx.now()})
    tx.rows("SELECT owner FROM ATLAS_PANDA.panda_leases WHERE component = :owner", owner=owner)


def _beat(database: str, owner: str, out: Queue[list[float]]) -> None:
    proxy = OraDBProxy(ConnectionSettings("sqlite", database), OperationSettings())
    times: list[float] = []
    end = monotonic() + 2.0
    while monotonic() < end:
        started = monotonic()
        proxy.call("beat_for_test", [owner])
        times.append(monotonic() - started)
    proxy.close()
    out.put(times[5:])


@pytest.mark.slow
def test_four_processes_that_write_all_the_time_share_evenly(database: str) -> None:
    schema.create_all(ConnectionSettings("sqlite", database))
    context = get_context("fork")
    out: Queue[list[float]] = context.Queue()
    processes = [context.Process(target=_beat, args=(database, f"owner{n}", out)) for n in range(4)]
    for process in processes:
        process.start()
    results = [out.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    every = sorted(seconds for times in results for seconds in times)
    assert every[int(0.99 * len(every))] < 20 * median(every)
    assert max(map(len, results)) < 1.5 * min(map(len, results))
