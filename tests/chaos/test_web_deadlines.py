"""A database that stalls, goes and comes back costs requests their deadline, and nothing else."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from time import monotonic

import pytest

from pandaserver.testing.tcp_proxy import TcpProxy
from tests.chaos.web_cycles import Crew, User, assert_in_order, books, fail_lost, forget_locks, submission
from tests.chaos.web_rig import Answer, Rig, directory, offspring, postgres, url_of, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

#: Seconds that a call of the database may take here.
LIMIT = 2
#: What a request may take beyond that on a busy machine.
SLACK = 1.5
WANTED = {"siteName": "TEST_PQ", "prodSourceLabel": "user", "node": "n"}


@pytest.fixture(scope="module")
def line_and_rig() -> Iterator[tuple[TcpProxy, Rig]]:
    with ExitStack() as stack:
        home = stack.enter_context(directory())
        settings = stack.enter_context(postgres(home))
        line = stack.enter_context(TcpProxy("127.0.0.1", settings.port))
        rig = Rig(home / "var", url_of(settings, line.port), server={"dbtimeout": LIMIT})
        stack.enter_context(rig)
        yield line, rig


@pytest.fixture
def line(line_and_rig: tuple[TcpProxy, Rig]) -> Iterator[TcpProxy]:
    """The line between the processes and the database, whole before and after a test."""
    line, rig = line_and_rig
    wait_until(lambda: rig.ask("getJob", WANTED).status == 200)
    yield line
    line.restore()


@pytest.fixture
def rig(line_and_rig: tuple[TcpProxy, Rig], line: TcpProxy) -> Rig:
    return line_and_rig[1]


def timed(rig: Rig, *arguments: object) -> tuple[float, Answer]:
    started = monotonic()
    answer = rig.ask(*arguments)
    return monotonic() - started, answer


def test_a_stalled_database_costs_a_pilot_the_deadline_and_tells_it(rig: Rig, line: TcpProxy) -> None:
    line.stall()
    seconds, answer = timed(rig, "getJob", WANTED)
    assert LIMIT - 0.5 <= seconds < LIMIT + SLACK
    assert (answer.status, answer.text[:13]) == (503, "StatusCode=10")
    assert answer.fields["errorDialog"]


def test_others_are_told_in_words(rig: Rig, line: TcpProxy) -> None:
    line.stall()
    seconds, answer = timed(rig, "getFullJobStatus", {"ids": "1"})
    assert seconds < LIMIT + SLACK
    assert (answer.status, answer.text[:8]) == (503, "ERROR : ")


def test_the_next_request_after_a_stall_works(rig: Rig, line: TcpProxy) -> None:
    line.stall()
    assert rig.ask("getJob", WANTED).status == 503
    line.restore()
    seconds, answer = timed(rig, "getJob", WANTED)
    assert seconds < SLACK
    assert (answer.status, answer.text[:13]) == (200, "StatusCode=20")


def test_is_alive_answers_while_a_request_waits_for_a_stalled_database(rig: Rig, line: TcpProxy) -> None:
    line.stall()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(rig.ask, "getJob", WANTED)
        answers = []
        while not waiting.done():
            answers.append(timed(rig, "isAlive"))
    assert len(answers) > 3
    assert {answer.text for _, answer in answers} == {"alive=yes"}
    assert max(seconds for seconds, _ in answers) < SLACK


def test_stalled_requests_leave_no_more_children_than_configured(rig: Rig, line: TcpProxy) -> None:
    before = descriptors(rig)
    line.stall()
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: rig.ask("getJob", WANTED).status, range(8)))
    assert answers == [503] * 8
    children = [child for process in rig.web_processes() for child in offspring(process)]
    assert len(children) <= len(before)
    line.restore()
    wait_until(lambda: rig.ask("getJob", WANTED).status == 200)
    after = descriptors(rig)
    assert after.keys() == before.keys()
    assert all(after[pid] <= before[pid] + 1 for pid in before)


def descriptors(rig: Rig) -> dict[int, int]:
    """Return how much each web process has open, but for its logs and counters, which open when it first serves."""
    own = (str(rig.layout.log), str(rig.layout.metrics))
    return {
        process.pid: process.num_fds() - sum(file.path.startswith(own) for file in process.open_files())
        for process in rig.web_processes()
    }


def test_a_lost_database_is_told_at_once_and_found_again(rig: Rig, line: TcpProxy) -> None:
    line.cut()
    seconds, answer = timed(rig, "getJob", WANTED)
    assert seconds < LIMIT + SLACK
    assert (answer.status, answer.text[:13]) == (503, "StatusCode=10")
    line.restore()
    assert rig.ask("getJob", WANTED).status == 200


def test_jobs_survive_a_database_that_comes_and_goes(rig: Rig, line: TcpProxy) -> None:
    User(rig).submit(submission(60, "come_and_go"))
    with Crew(rig, 4) as crew:
        for moment, trouble in ((10, line.cut), (25, line.stall), (40, line.cut)):
            crew.wait_for(moment)
            trouble()
            threading.Event().wait(LIMIT + 1)
            line.restore()
        forget_locks(rig)
        crew.settle("come_and_go")
    fail_lost(rig)
    assert_in_order(books(rig, "come_and_go"), 60, lost=12)


def test_apache_starts_without_a_database_and_finds_it_later(rig: Rig, line: TcpProxy) -> None:
    rig.kill_apache()
    line.cut()
    rig.start_apache()
    wait_until(lambda: rig.ask("isAlive").text == "alive=yes")
    answer = rig.ask("getJob", WANTED)
    assert (answer.status, answer.text[:13]) == (503, "StatusCode=10")
    assert rig.ask("isAlive").text == "alive=yes"
    line.restore()
    wait_until(lambda: rig.ask("getJob", WANTED).status == 200, 10)


def test_the_daemon_starts_without_a_database_and_finds_it_later(rig: Rig, line: TcpProxy) -> None:
    rig.kill_daemon()
    line.cut()
    attempts = "worker failed to start"
    before = rig.daemon_output().count(attempts)
    rig.start_daemon()
    wait_until(lambda: rig.daemon_output().count(attempts) > before)
    line.restore()
    User(rig).submit(submission(5, "late_daemon"))
    with Crew(rig, 2) as crew:
        crew.settle("late_daemon")
    assert_in_order(books(rig, "late_daemon"), 5, lost=0)
