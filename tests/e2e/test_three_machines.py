"""Three machines, one PostgreSQL: scripts for one machine at a time, and requests that go to any of them.

Each machine has its own directory, and where this is possible its own network.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from pandaserver.testing.development_issuer import DevelopmentIssuer
from tests.chaos.web_cycles import Crew, User, assert_in_order, books, submission
from tests.chaos.web_rig import DAEMONS, Rig, directory, wait_until
from tests.e2e.network import Place, Server, places

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

#: Seconds between the starts of the script that only one machine may run, and how long it takes.
PERIOD, RUN = 3, 1.0
LATENESS = 0.5  # seconds by which a loaded machine may record a start late, and so make the next gap look short

#: A daemon script that writes down when it runs; while a file tells it to, it does not end.
WITNESS = f"""
import os, time

def note(what):
    with open(os.environ["EVENTS"], "a") as file:
        file.write(f"{{time.monotonic()}} {{what}} {{os.environ['PANDA_HOME']}} {{os.getpid()}}\\n")

def main(argv, tbuf=None, **_):
    note("start")
    end = time.monotonic() + {RUN}
    while time.monotonic() < end or os.path.exists(os.environ["EVENTS"] + ".stay"):
        note("alive")
        time.sleep(0.05)
        if os.path.exists(os.environ["EVENTS"] + ".commit"):
            try:
                tbuf.set_user_secrets(f"witness-{{os.getpid()}}", "{{}}")
            except Exception as error:
                note(f"refused:{{type(error).__name__}}")
                raise
            note("committed")
            break
    note("end")
"""


class Mark(NamedTuple):
    """One line of the witness."""

    time: float
    what: str
    home: str
    pid: int


class MachineRig(Rig):
    """An instance at a place."""

    def __init__(self, path: Path, place: Place, server: Server, events: Path) -> None:
        settings = server.settings
        account = f"{settings.user}:{settings.password.reveal()}"
        url = f"postgresql://{account}@{place.database_host}:{place.database_port}/{settings.name}"
        daemons = {**DAEMONS, "witness": {"module": "witness", "period": PERIOD, "timeout": 120, "sync": True}}
        variables = {"PYTHONPATH": str(events.parent / "code"), "EVENTS": str(events)}
        super().__init__(path, url, daemons=daemons, variables=variables)
        self.options = replace(self.options, host=place.host)
        self.place = place

    def _write_credentials(self) -> None:
        super()._write_credentials()
        # Tokens are of a server on the machine itself; from elsewhere keys are taken by https only.
        DevelopmentIssuer(self.layout.issuer, self.layout.auth).publish(f"http://localhost:{self.options.port}/auth")

    def start_daemon(self) -> None:
        self.place.run(super().start_daemon)


class Fleet:
    """Three machines and what the witness wrote."""

    def __init__(self, machines: Sequence[MachineRig], events: Path) -> None:
        self.machines = machines
        self._events = events
        self.stay = Path(f"{events}.stay")
        self.commit = Path(f"{events}.commit")

    def marks(self, what: str = "") -> list[Mark]:
        """Return what the witness wrote, in the order of time."""
        lines = [line.split() for line in self._events.read_text().splitlines()] if self._events.exists() else []
        found = sorted(Mark(float(time), kind, home, int(pid)) for time, kind, home, pid in lines)
        return [mark for mark in found if mark.what.startswith(what)]

    def starts(self) -> list[Mark]:
        """Return the starts of the witness."""
        return self.marks("start")

    def next_start(self) -> Mark:
        """Wait until the witness is started once more."""
        seen = len(self.starts())
        wait_until(lambda: len(self.starts()) > seen, 60, "the next start of the witness")
        return self.starts()[seen]

    def hold(self) -> Mark:
        """Wait until the witness is started, and let that run last until ``stay`` is gone."""
        start = self.next_start()
        self.stay.touch()
        return start

    def at(self, mark: Mark) -> MachineRig:
        """Return the machine that wrote something."""
        return next(machine for machine in self.machines if str(machine.layout.home) == mark.home)

    def others(self, machine: MachineRig) -> list[MachineRig]:
        """Return the machines but one."""
        return [one for one in self.machines if one is not machine]

    def assert_apart(self, since: float) -> None:
        """Hold the marks against what was promised: starts a period apart, and no sign of a run within another."""
        found = [mark for mark in self.marks() if mark.time >= since]
        starts = [mark for mark in found if mark.what == "start"]
        assert len(starts) >= 2
        assert min(b.time - a.time for a, b in pairwise(starts)) > PERIOD - LATENESS
        begun: list[int] = []
        for mark in found:
            if mark.what == "start":
                begun.append(mark.pid)
            elif begun and mark.what in ("alive", "committed", "end") and mark.pid in begun[:-1]:
                assert mark.pid == begun[-1], f"{mark} after the start of {begun[-1]}"


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    with directory() as path, ExitStack() as stack:
        path.chmod(0o777)  # the witness writes here, as the service account
        (path / "code").mkdir()
        (path / "code" / "witness.py").write_text(WITNESS)
        events = path / "events"
        server = Server(path / "postgres", durable=False)
        server.start()
        stack.callback(server.stop)
        machines = []
        for number, place in enumerate(stack.enter_context(places(3, server.port)), 1):
            machine = MachineRig(path / f"m{number}", place, server, events)
            place.run(machine.__enter__)
            stack.callback(place.run, lambda machine=machine: machine.__exit__(None, None, None))
            machines.append(machine)
        made = Fleet(machines, events)
        yield made
        for file in (made.stay, made.commit):
            file.unlink(missing_ok=True)


@pytest.fixture(autouse=True)
def usual(fleet: Fleet) -> Iterator[None]:
    """End what a test told the witness, and every fault, also when the test failed."""
    yield
    for file in (fleet.stay, fleet.commit):
        file.unlink(missing_ok=True)
    for machine in fleet.machines:
        machine.place.restore()


def test_starts_on_any_machine_are_a_period_apart_and_runs_never_overlap(fleet: Fleet) -> None:
    since = fleet.next_start().time
    wait_until(lambda: len([mark for mark in fleet.starts() if mark.time >= since]) >= 3, 60)
    fleet.assert_apart(since)


def test_a_killed_machine_is_succeeded_after_its_period(fleet: Fleet) -> None:
    start = fleet.hold()
    dead = fleet.at(start)
    dead.kill_daemon()
    try:
        fleet.stay.unlink()
        following = fleet.next_start()
        assert following.home != start.home
        fleet.assert_apart(start.time)
    finally:
        dead.start_daemon()


def test_a_machine_that_is_cut_off_ends_its_run_before_another_begins(fleet: Fleet) -> None:
    start = fleet.hold()
    lonely = fleet.at(start)
    lonely.place.cut()
    following = fleet.next_start()
    assert following.home != start.home
    last = max(mark.time for mark in fleet.marks() if mark.pid == start.pid)
    assert last < following.time
    assert "cannot renew its lock, killing it" in lonely.daemon_output()
    lonely.place.restore()
    fleet.stay.unlink()
    fleet.assert_apart(start.time)
    wait_until(lambda: len(lonely.workers()) == 2 and lonely.ask("isAlive").text == "alive=yes", 60)


def test_a_machine_that_slept_past_its_lease_commits_nothing_when_it_wakes(fleet: Fleet) -> None:
    start = fleet.hold()
    machine = fleet.at(start)
    frozen = [machine.master(), psutil.Process(start.pid)]
    for process in frozen:  # the master first, which would end the script of a sleeping worker
        process.suspend()
    try:
        following = fleet.next_start()
        assert following.home != start.home
        fleet.commit.touch()
        wait_until(lambda: any(mark.pid == following.pid for mark in fleet.marks("committed")))
        frozen[1].resume()
        wait_until(lambda: fleet.marks("refused"), what="the end of the sleeper")
    finally:
        frozen[0].resume()
    assert [(mark.pid, mark.what) for mark in fleet.marks("refused")] == [(start.pid, "refused:Conflict")]
    with fleet.others(machine)[0].task_buffer() as tbuf:
        assert tbuf.get_user_secrets(f"witness-{start.pid}") is None


def carry(fleet: Fleet, tag: str, count: int) -> None:
    """Submit jobs at all machines, carry them with pilots of all, each through any machine, and check the books."""
    share = count // 3
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda n: User(fleet.machines[n]).submit(submission(share, f"{tag}.{n}")), range(3)))
    with ExitStack() as stack:
        crews = [stack.enter_context(Crew(machine, 3)) for machine in fleet.machines]
        crews[0].settle(tag, 30 + count / 2)
    assert all(crew.given for crew in crews)
    assert sum(len(crew.given) for crew in crews) == share * 3
    assert_in_order(books(fleet.machines[0], tag), share * 3, lost=0)


def test_jobs_are_carried_to_their_end_through_all_machines(fleet: Fleet) -> None:
    carry(fleet, "few", 150)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_thousand_jobs_are_carried_to_their_end_through_all_machines(fleet: Fleet) -> None:
    carry(fleet, "many", 1002)
