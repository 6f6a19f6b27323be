"""Two complete servers on one database, as two machines behind a load balancer."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.chaos.web_cycles import Crew, User, assert_in_order, books, submission
from tests.chaos.web_rig import DAEMONS, Rig, directory, postgres, url_of, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

#: Seconds between the starts of the script that only one machine may run, and how long it takes.
PERIOD, RUN = 1, 0.6

#: A daemon script that writes down when it runs, and takes some time.
WITNESS = f"""
import os, time

def main(argv, tbuf=None, **_):
    for mark in ("start", "end"):
        with open(os.environ["EVENTS"], "a") as file:
            file.write(f"{{time.monotonic()}} {{mark}} {{os.environ['PANDA_HOME']}}\\n")
        if mark == "start":
            time.sleep({RUN})
"""


class Mark(NamedTuple):
    """One line of the script that only one machine may run."""

    time: float
    what: str
    home: str


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    with directory() as path:
        path.chmod(0o777)  # the script writes here, as the service account
        (path / "code").mkdir()
        (path / "code" / "witness.py").write_text(WITNESS)
        yield path


@pytest.fixture(scope="module")
def servers(home: Path) -> Iterator[tuple[Rig, Rig]]:
    daemons = {**DAEMONS, "witness": {"module": "witness", "period": PERIOD, "sync": True}}
    variables = {"PYTHONPATH": str(home / "code"), "EVENTS": str(home / "events")}
    with ExitStack() as stack:
        database = url_of(stack.enter_context(postgres(home)))
        made = [
            stack.enter_context(Rig(home / name, database, daemons=daemons, variables=variables))
            for name in ("one", "two")
        ]
        yield made[0], made[1]


def test_jobs_submitted_at_one_server_are_finished_through_the_other(servers: tuple[Rig, Rig]) -> None:
    one, two = servers
    User(one).submit(submission(40, "crossing"))
    with Crew(two, 4) as crew:
        crew.settle("crossing")
    assert_in_order(books(one, "crossing"), 40, lost=0)


def test_pilots_of_two_servers_share_the_jobs_of_both(servers: tuple[Rig, Rig]) -> None:
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda server: User(server).submit(submission(60, f"shared.{server.http}")), servers))
    with Crew(servers[0], 4) as left, Crew(servers[1], 4) as right:
        left.settle("shared")
    assert left.given
    assert right.given
    assert len(left.given + right.given) == len({*left.given, *right.given}) == 120
    assert_in_order(books(servers[0], "shared"), 120, lost=0)


def test_a_job_half_done_at_one_server_is_finished_after_that_server_is_gone(servers: tuple[Rig, Rig]) -> None:
    one, two = servers
    User(one).submit(submission(1, "moving"))
    wanted = {"siteName": "TEST_PQ", "prodSourceLabel": "user", "node": "n"}
    job = one.ask("getJob", wanted).fields
    report = {"jobId": job["PandaID"], "attemptNr": job["attemptNr"], "siteName": "TEST_PQ"}
    assert one.ask("updateJob", report | {"state": "running"}).fields["StatusCode"] == "0"
    one.kill_apache()
    one.kill_daemon()
    try:
        assert two.ask("updateJob", report | {"state": "failed"}).fields["StatusCode"] == "0"
        wait_until(lambda: books(two, "moving").count("failed") == 1, what="the end of the job")
    finally:
        one.start_apache()
        one.start_daemon()
        wait_until(lambda: one.ask("isAlive").text == "alive=yes")


def test_a_sync_script_runs_on_one_machine_at_a_time(servers: tuple[Rig, Rig], home: Path) -> None:
    logs = [server.layout.log / "panda-daemons.log" for server in servers]
    begun = len(marks(home))
    wait_until(lambda: len(marks(home)) >= begun + 12, 60)
    found = marks(home)[begun:]
    starts = [mark for mark in found if mark.what == "start"]
    assert [(a, b) for a, b in pairwise(found) if a.what == b.what] == []
    assert any("skipped since locked daemon=witness" in log.read_text() for log in logs)
    assert min(b.time - a.time for a, b in pairwise(starts)) > PERIOD * 0.9


def marks(home: Path) -> list[Mark]:
    path = home / "events"
    lines = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
    return [Mark(float(time), what, where) for time, what, where in lines]
