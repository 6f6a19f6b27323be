"""Writers of a SQLite file are served in the order in which they came."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from itertools import pairwise
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from pathlib import Path
from time import monotonic

import pytest

from pandaserver.taskbuffer import schema
from pandaserver.taskbuffer.connection_settings import ConnectionSettings, OperationSettings
from pandaserver.taskbuffer.dialects.sqlite import SQLite, SQLiteSession
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


#: Of each process.
WRITES = 200


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
    assert 0.2 <= monotonic() - started < 10
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
def write_for_test(tx: Transaction, owner: str, log: str) -> None:
    """Write, and note by which ticket while nobody else can write."""
    tx.upsert("ATLAS_PANDA.panda_leases", {"component": owner}, {"owner": owner, "token": 1, "lastStart": tx.now()})
    session = tx.cursor.session
    assert isinstance(session, SQLiteSession)
    assert session._queue is not None
    with open(log, "a") as file:
        file.write(f"{session._queue._ticket} {owner}\n")


def _write(database: str, owner: str, log: str, start: Barrier) -> None:
    proxy = OraDBProxy(ConnectionSettings("sqlite", database), OperationSettings())
    start.wait(60)
    for _ in range(WRITES):
        proxy.call("write_for_test", [owner, log])
    proxy.close()


@pytest.mark.slow
def test_processes_that_write_all_the_time_do_not_overtake_each_other(database: str, tmp_path: Path) -> None:
    schema.create_all(ConnectionSettings("sqlite", database))
    log = tmp_path / "log"
    context = get_context("fork")
    start = context.Barrier(4)
    processes = [context.Process(target=_write, args=(database, f"owner{n}", str(log), start)) for n in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0] * 4
    lines = [line.split() for line in log.read_text().splitlines()]
    tickets = [int(ticket) for ticket, _ in lines]
    assert tickets == sorted(set(tickets))
    assert 0 not in tickets
    owners = [owner for _, owner in lines]
    assert len(owners) == 4 * WRITES
    assert sum(one != other for one, other in pairwise(owners)) > 3, "they wrote one after the other: nobody waited"


def test_a_database_that_somebody_else_holds_is_opened_when_it_is_free(database: str) -> None:
    settings = ConnectionSettings("sqlite", database)
    schema.create_all(settings)
    with sqlite3.connect(database, isolation_level=None, check_same_thread=False) as holder:
        holder.execute("PRAGMA journal_mode = DELETE")
        holder.execute("BEGIN IMMEDIATE")  # as whoever switches the journal on
        release = threading.Timer(0.3, holder.rollback)
        release.start()
        SQLite(settings).connect(20.0).close()
        release.join()
    holder.close()
