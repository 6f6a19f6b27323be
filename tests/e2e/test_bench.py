"""`make bench` runs, prints every line, and counts what it did. Nobody asserts a time here."""

from __future__ import annotations

import contextlib
import fcntl
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.durations import summary
from bench.fill import Filler
from bench.load import prepare
from bench.measuring import Measured, Meter
from bench.proc import CHILD, WEB, cpu_seconds, private_megabytes
from bench.rig import CYCLED, PREFIX, SINGLE, SPREAD, SUBMITTED, Rig, remove_abandoned, started
from bench.scenarios import Notes
from bench.targets import judged
from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.transaction import Transaction
from pandaserver.testing.layout import Layout

ROOT = Path(__file__).parents[2]
TINY = ("--backend", "sqlite", "--seconds", "0.2", "--concurrency", "2", "--waiting", "400")
ROWS = (
    *("hello", "isAlive", "getJob 400 at 200", "getJob 400 at 1", "heartbeat", "final update", "Adder", "submit 1"),
    *("submit 100", "cycle", "getJob 400 of 200 shares"),
)

pytestmark = pytest.mark.slow


@operation(repeatable=True)
def count_jobs_by_queue(tx: Transaction) -> list[tuple[str, str, int]]:
    return [tuple(row) for table in (ACTIVE, ARCHIVED) for row in tx.rows(table)]


ACTIVE = "SELECT computingSite, jobStatus, COUNT(*) FROM ATLAS_PANDA.jobsActive4 GROUP BY computingSite, jobStatus"
ARCHIVED = "SELECT computingSite, jobStatus, COUNT(*) FROM ATLAS_PANDA.jobsArchived4 GROUP BY computingSite, jobStatus"


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with started("sqlite") as running:
        yield running


@pytest.fixture
def meter(rig: Rig) -> Meter:
    return Meter(rig, "sqlite", 1.0, lambda measured: None)


def jobs(rig: Rig, queue: str) -> Counter[str]:
    proxy = rig.proxy()
    try:
        return Counter({status: n for site, status, n in proxy.call("count_jobs_by_queue") if site == queue})
    finally:
        proxy.close()


def load(meter: Meter, conversation: str, most: int, **arguments: object) -> Measured:
    found = meter.once("test", conversation, arguments, 2, 30.0, most)
    assert found.errors == {}
    return found


def test_a_run_prints_every_line_and_leaves_nothing_behind(directory: Path) -> None:
    command = [sys.executable, "-m", "bench", *TINY, "--dir", str(directory)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    for row in ROWS:
        assert any(line.startswith(f"{row:24}") for line in lines), f"{row} is missing:\n{done.stdout}"
    assert " x " not in done.stdout, "a request was refused"
    promises = lines[next(n for n, line in enumerate(lines) if line.startswith("Promises")) + 2 : -2]
    assert len(promises) == 12
    assert all(line.endswith(("ok", "MISSED", "not measured")) for line in promises)
    assert list(directory.iterdir()) == []


def test_submissions_and_dispatch_are_counted_as_they_happen(rig: Rig, meter: Meter) -> None:
    before = jobs(rig, SUBMITTED)
    assert load(meter, "submissions", 12, queue=SUBMITTED, jobs=3, tokens=rig.user_tokens()).count == 12
    assert load(meter, "acquiring", 5, queues=[SUBMITTED], token=rig.pilot_token()).count == 5
    assert jobs(rig, SUBMITTED) - before == Counter(activated=31, sent=5)


def test_a_cycle_ends_with_a_report_that_the_adder_settles(rig: Rig, meter: Meter) -> None:
    arguments = {"queue": CYCLED, "token": rig.pilot_token(), "tokens": rig.user_tokens()}
    assert load(meter, "cycles", 7, **arguments).count == 7
    assert jobs(rig, CYCLED) == Counter(holding=7)
    assert meter.settle(30.0, 2).count == 7
    assert jobs(rig, CYCLED) == Counter(finished=7)


def test_a_reply_that_nobody_expects_is_an_error_and_no_success(rig: Rig, meter: Meter) -> None:
    found = meter.once("test", "acquiring", {"queues": [SINGLE], "token": rig.pilot_token()}, 2, 30.0, 4)
    assert (found.count, found.errors) == (0, {"StatusCode=20": 4})


def test_copies_wait_at_all_queues_in_turn(rig: Rig) -> None:
    filler = Filler(rig)
    try:
        assert filler.waiting(SPREAD, 400).count == 400
        # One more, at the first queue, is what they are copies of.
        assert filler.count_waiting(SPREAD) == {queue: 3 if queue == SPREAD[0] else 2 for queue in SPREAD}
    finally:
        filler.close()


def test_cpu_time_and_memory_are_those_of_the_server(rig: Rig, meter: Meter) -> None:
    apache = int((rig.layout.run / "panda_server_httpd.pid").read_text())  # other servers may run beside it
    before = cpu_seconds(apache)
    meter.load("isAlive", "pages", {"path": "/server/panda/isAlive", "beginning": "alive=yes"}, 2, most=2000)
    assert cpu_seconds(apache)[WEB] > before[WEB]
    memory = private_megabytes(apache)
    assert len(memory[WEB]) == 2
    assert all(1 < size < 1000 for kind in (WEB, CHILD) for size in memory.get(kind, ()))


def test_an_idle_connection_may_be_closed_without_a_word() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=answer_three_times_each, args=(server,), daemon=True).start()
        task = {
            "conversation": "pages",
            "arguments": {"path": "/", "beginning": "hello"},
            "connections": 4,
            "port": server.getsockname()[1],
            "seconds": 30.0,
            "most": 100,
        }
        found = prepare(task)()
    assert (found["count"], found["errors"]) == (100, {})


def answer_three_times_each(server: socket.socket) -> None:
    def answer(client: socket.socket) -> None:
        with client, client.makefile("rb") as requests:
            for _ in range(3):
                while (line := requests.readline()) != b"\r\n":
                    if not line:
                        return
                client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")

    with contextlib.suppress(OSError):  # the test is over
        while True:
            threading.Thread(target=answer, args=(server.accept()[0],), daemon=True).start()


def test_percentiles_are_values_that_were_measured() -> None:
    found = summary([n / 1000 for n in range(1, 101)], 2.0)
    assert (found["count"], found["rate"]) == (100, 50.0)
    assert [round(found[name]) for name in ("p50", "p95", "p99")] == [50, 95, 99]


def test_a_promise_is_judged_by_the_hello_beside_it() -> None:
    slow = Measured("heartbeat", "postgresql", 8, 100, 129.0, 1.0, 1.0, 1.0, {}, 0.0, hello=1000.0)
    fast = Measured("cycle", "postgresql", 8, 100, 12.0, 1.0, 1.0, 1.0, {}, 0.0, hello=1000.0)
    lines = judged([slow, fast], {"postgresql": Notes(web=61.0, child=44.0)})
    verdicts = {line.split(",")[0].split("  ")[0]: line.rsplit(maxsplit=1)[1] for line in lines[1:]}
    assert verdicts["heartbeat"] == "MISSED"
    assert verdicts["whole cycle"] == "ok"
    assert verdicts["private memory of a web process"] == "MISSED"
    assert verdicts["private memory of a database child"] == "ok"


def test_what_a_killed_run_left_behind_is_removed_by_the_next(tmp_path: Path) -> None:
    dead, living = (Layout(tmp_path / f"{PREFIX}{name}" / "var") for name in ("dead", "living"))
    for layout in (dead, living):
        layout.home.mkdir(parents=True)
        layout.lock.touch()
    beginning = tmp_path / f"{PREFIX}beginning"
    beginning.mkdir()
    with living.lock.open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        remove_abandoned(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {f"{PREFIX}living", f"{PREFIX}beginning"}
