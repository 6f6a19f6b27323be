"""Processes are killed while jobs run through: no job is lost, doubled, or without a whole history."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from time import monotonic

import psutil
import pytest

from tests.chaos.web_cycles import (
    Crew,
    User,
    assert_in_order,
    books,
    chaos_lock_holder,
    fail_lost,
    forget_locks,
    submission,
)
from tests.chaos.web_rig import Rig, directory, kill_all, postgres, url_of, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

JOBS = 200
PILOTS = 6
#: Requests of each user who submits.
SUBMISSIONS = 12
#: Numbers of final reports at which somebody is killed.
MOMENTS = range(20, 180, 20)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    with ExitStack() as stack:
        home = stack.enter_context(directory())
        database = request.param
        if database == "postgresql":
            database = url_of(stack.enter_context(postgres(home)))
        yield stack.enter_context(Rig(home / "var", database))


@pytest.fixture
def tag(rig: Rig, request: pytest.FixtureRequest) -> str:
    """Submit the jobs of a test and return what their names begin with."""
    tag = request.node.originalname.removeprefix("test_")
    User(rig).submit(submission(JOBS, tag))
    return str(tag)


def disturbed(rig: Rig, tag: str, disturb: Callable[[], int]) -> int:
    """Carry all jobs to their final report, disturbed at each moment; return how many requests that may have cost."""
    with Crew(rig, PILOTS) as crew:
        cost = 0
        for moment in MOMENTS:
            crew.wait_for(moment)
            cost += disturb()
        crew.settle(tag)
    return cost


def one_of(processes: list[psutil.Process]) -> int:
    """Kill one of the processes, and return how many that were."""
    victims = random.sample(processes, min(1, len(processes)))
    kill_all(victims)
    return len(victims)


def test_killed_database_children(rig: Rig, tag: str) -> None:
    cost = disturbed(rig, tag, lambda: one_of(rig.database_children()))
    assert cost > len(MOMENTS) / 2
    fail_lost(rig)
    assert_in_order(books(rig, tag), JOBS, lost=cost)


def test_killed_web_processes(rig: Rig, tag: str) -> None:
    cost = disturbed(rig, tag, lambda: one_of(rig.web_processes()))
    assert cost > len(MOMENTS) / 2
    fail_lost(rig)
    assert_in_order(books(rig, tag), JOBS, lost=cost)


def test_killed_workers_that_were_settling_reports(rig: Rig, tag: str) -> None:
    killed: list[int] = []
    disturbed(rig, tag, lambda: kill_settling_worker(rig, killed))
    assert len(killed) >= 2
    assert_in_order(books(rig, tag), JOBS, lost=0)


def test_a_killed_daemon_that_is_started_again(rig: Rig, tag: str) -> None:
    disturbed(rig, tag, lambda: restart_daemon(rig))
    assert_in_order(books(rig, tag), JOBS, lost=0)


@pytest.mark.parametrize("victims", ["database_children", "web_processes"])
def test_a_submission_repeated_under_its_key_is_stored_once(rig: Rig, victims: str) -> None:
    tag = f"keyed_{victims}"
    users = [User(rig, f"User {number}") for number in range(4)]
    stored: list[list[int]] = []
    with ThreadPoolExecutor(len(users)) as pool:
        work = [pool.submit(submit_often, user, f"{tag}.{number}", stored) for number, user in enumerate(users)]
        for moment in range(3, len(users) * SUBMISSIONS, 4):
            wait_until(lambda: len(stored) >= moment, 60)  # noqa: B023 - called before the next moment
            one_of(getattr(rig, victims)())
        answers = [ids for one in work for ids in one.result()]
    assert sum(user.retries for user in users) > 0
    again = [user.submit(submission(2, f"{tag}.{n}.0"), f"{tag}.{n}.0") for n, user in enumerate(users)]
    assert again == answers[::SUBMISSIONS]
    with Crew(rig, PILOTS) as crew:
        crew.settle(tag)
    found = books(rig, tag)
    assert_in_order(found, len(users) * SUBMISSIONS * 2, lost=0)
    names = [entry.name for entries in found.rows.values() for entry in entries]
    assert len(names) == len(set(names))
    assert sorted(found.rows) == sorted(panda_id for ids in answers for panda_id in ids)


def submit_often(user: User, tag: str, stored: list[list[int]]) -> list[list[int]]:
    mine = []
    for number in range(SUBMISSIONS):
        mine.append(user.submit(submission(2, f"{tag}.{number}"), f"{tag}.{number}"))
        stored.append(mine[-1])
    return mine


def kill_settling_worker(rig: Rig, killed: list[int]) -> int:
    """Kill a worker while it holds reports, and let its locks become old; do nothing if none is met for a while."""
    master = rig.master()
    with rig.task_buffer() as tbuf:
        deadline = monotonic() + 2
        while monotonic() < deadline:
            holder = tbuf.caller.call(chaos_lock_holder, (), {})
            if holder and psutil.pid_exists(holder) and psutil.Process(holder).ppid() == master.pid:
                kill_all([psutil.Process(holder)])
                killed.append(holder)
                break
    forget_locks(rig)
    return 0


def restart_daemon(rig: Rig) -> int:
    rig.kill_daemon()
    forget_locks(rig)
    rig.start_daemon()
    return 0
