"""What is measured, in which order, and with which jobs in the database."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from bench import shapes
from bench.disk import disk_milliseconds
from bench.fill import Filler, Loaded
from bench.measuring import DISAGREEMENT, Bare, Measured, Meter
from bench.proc import private_megabytes
from bench.rig import CYCLED, LEAVES, RUNNING, SINGLE, SPREAD, SUBMITTED, WIDE, database_size

#: Names for --only, in the order in which they run.
NAMES: Final = ("isAlive", "getJob", "heartbeat", "final", "submit", "cycle", "waiting", "shares")

#: Attempt number of copied jobs, which nobody has retried.
_ATTEMPT: Final = 0
#: Requests of a measurement with a certain number of waiting jobs.
_TAKEN: Final = 1600
#: Endings, and so reports for the Adder, of one second of measuring.
_ENDINGS_A_SECOND: Final = 700
_ADDER_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run measures."""

    only: frozenset[str] = frozenset(NAMES)
    concurrency: Sequence[int] = (1, 8, 32)
    spread: int = 20_000  # jobs waiting at 200 queues while getJob is measured
    levels: Sequence[int] = (1_000, 20_000, 200_000, 1_000_000)
    spread_levels: bool = True  # the levels also at 200 queues
    with_bare: bool = True


@dataclass(slots=True)
class Notes:
    """What is not a measurement of requests."""

    lines: list[str] = field(default_factory=list)
    web: float = 0.0  # MB of the largest web process
    child: float = 0.0


class Scenarios:
    """Runs the scenarios of a plan on one rig."""

    def __init__(self, meter: Meter, plan: Plan, say: Callable[[str], None]) -> None:
        self._meter = meter
        self._plan = plan
        self._say = say
        self._filler = Filler(meter.rig)
        self._token = meter.rig.pilot_token()
        self._users = meter.rig.user_tokens()
        self._middle = 8 if 8 in plan.concurrency else plan.concurrency[0]
        self.results: list[Measured] = []
        self.notes = Notes()

    def run(self) -> None:
        """Run them all, between two measurements of hello."""
        self._warm_up()
        self._hello()
        for name in NAMES:
            if name in self._plan.only:
                getattr(self, f"_{name}")()
        self._memory()
        self._hello()
        self._filler.close()

    def _warm_up(self) -> None:
        """Let every process import what it needs, and see what one write to the disk takes."""
        arguments = {"queue": SUBMITTED, "jobs": 1, "tokens": self._users}
        self._meter.warm_up("submissions", arguments)
        self._meter.warm_up("acquiring", self._acquiring([SUBMITTED]))
        self._note(f"one fdatasync takes {disk_milliseconds(self._meter.rig.layout.database):.2f} ms (median)")

    # ---- the web alone

    def _hello(self) -> None:
        for concurrency in self._plan.concurrency:
            self.results.append(self._meter.hello(concurrency))
        ours, theirs = self.results[-1], self._meter.wrk(self._plan.concurrency[-1])
        if theirs is None:
            self._note("wrk is not installed, so nobody checks our load generator")
        elif abs(theirs - ours.rate) > DISAGREEMENT * max(theirs, ours.rate):
            self._note(f"wrk sees {theirs:.0f} hello/s and we {ours.rate:.0f}: more than a quarter apart")
        else:
            self._note(f"wrk sees {theirs:.0f} hello/s, we {ours.rate:.0f}")

    def _isAlive(self) -> None:
        page = {"path": "/server/panda/isAlive", "beginning": "alive=yes"}
        for concurrency in self._plan.concurrency:
            self.results.append(self._meter.load("isAlive", "pages", page, concurrency))

    # ---- pilots

    def _getJob(self) -> None:
        most = max(1, self._plan.spread // (4 * len(self._plan.concurrency)))
        self._load(SPREAD, self._plan.spread)
        self._each(f"getJob {self._plan.spread} at 200", "acquiring", self._acquiring(SPREAD), most=most)

    def _heartbeat(self) -> None:
        jobs = self._filler.running(RUNNING, 2_000)
        self._filler.settle()
        self._each("heartbeat", "heartbeats", self._reporting(jobs.ids))

    def _final(self) -> None:
        """The ends of jobs, each set of reports settled by the Adder."""
        count = max(16, round(_ENDINGS_A_SECOND * self._meter.seconds))
        bare = None
        if self._plan.with_bare:
            bare = self._meter.bare("endings", self._reporting(self._filler.running(RUNNING, count).ids))
        for concurrency in self._plan.concurrency:
            jobs = self._filler.running(RUNNING, count)
            arguments = self._reporting(jobs.ids)
            self._add("final update", "endings", arguments, concurrency, bare=bare)
        self.results.append(self._meter.settle(_ADDER_SECONDS, self._middle))

    def _waiting(self) -> None:
        for level in self._plan.levels:
            for queues, where in ((SINGLE,), "1"), (SPREAD, "200"):
                name = f"getJob {level} at {where}"
                known = any(measured.name == name for measured in self.results)
                if not known and (where == "1" or self._plan.spread_levels):
                    self.results.append(self._at_level(name, queues, level))

    def _shares(self) -> None:
        """The fewest and the most waiting jobs, of 200 shares at 500 queues."""
        for level in sorted({min(self._plan.levels), max(self._plan.levels)}):
            self.results.append(self._at_level(f"getJob {level} of 200 shares", WIDE, level, LEAVES))

    def _at_level(self, name: str, queues: Sequence[str], level: int, shares: Sequence[str] = ()) -> Measured:
        """Measure getJob in rounds that take few of the waiting jobs each."""
        most = max(1, min(_TAKEN, level // 2))

        def prepare() -> None:
            self._top_up(queues, level + most // 2, shares)

        bare = None
        if self._plan.with_bare:
            prepare()
            bare = self._meter.bare("acquiring", self._acquiring(queues), most=most)
        return self._meter.load(
            name,
            "acquiring",
            self._acquiring(queues),
            self._middle,
            most=most,
            bare=bare,
            rounds=-(-_TAKEN // most),
            prepare=prepare,
        )

    # ---- users

    def _submit(self) -> None:
        for jobs in (1, 100):
            arguments = {"queue": SUBMITTED, "jobs": jobs, "tokens": self._users}
            self._each(f"submit {jobs}", "submissions", arguments, jobs=jobs)

    def _cycle(self) -> None:
        arguments = {"queue": CYCLED, "token": self._token, "tokens": self._users}
        for concurrency in self._plan.concurrency:
            self._add("cycle", "cycles", arguments, concurrency)

    # ---- how

    def _each(
        self, name: str, conversation: str, arguments: Mapping[str, Any], *, most: int = 1_000_000, jobs: int = 1
    ) -> None:
        """Measure without web and at each concurrency."""
        bare = self._meter.bare(conversation, arguments, most=most) if self._plan.with_bare else None
        for concurrency in self._plan.concurrency:
            self._add(name, conversation, arguments, concurrency, most=most, jobs=jobs, bare=bare)

    def _add(
        self,
        name: str,
        conversation: str,
        arguments: Mapping[str, Any],
        concurrency: int,
        *,
        most: int = 1_000_000,
        jobs: int = 1,
        bare: Bare | None = None,
    ) -> None:
        self.results.append(
            self._meter.load(name, conversation, arguments, concurrency, most=most, jobs=jobs, bare=bare)
        )

    def _acquiring(self, queues: Sequence[str]) -> Mapping[str, Any]:
        return {"queues": list(queues), "token": self._token}

    def _reporting(self, ids: Sequence[int]) -> Mapping[str, Any]:
        lfns = [spec.lfn for spec in shapes.client_job(RUNNING, 0).Files if spec.type != "input"]
        return {"ids": list(ids), "queue": RUNNING, "attempt": _ATTEMPT, "token": self._token, "lfns": lfns}

    def _top_up(self, queues: Sequence[str], wanted: int, shares: Sequence[str]) -> None:
        """Have so many jobs waiting, and at no queue less than its part."""
        least = -(-wanted // len(queues))
        missing = least - min(self._filler.count_waiting(queues).values())
        if missing > 0:
            self._load(queues, missing * len(queues), shares)

    def _load(self, queues: Sequence[str], count: int, shares: Sequence[str] = ()) -> Loaded:
        loaded = self._filler.waiting(queues, count, shares)
        self._filler.settle()
        if count >= 100_000:
            self._note(
                f"loaded {count} jobs with three files each in {loaded.seconds:.0f} s; "
                f"the database has {database_size(self._meter.rig):.0f} MB"
            )
        return loaded

    def _memory(self) -> None:
        found = private_megabytes(os.getpid())
        self.notes.web = max(found.get("web process", [0.0]))
        self.notes.child = max(found.get("database child", [0.0]))
        sizes = (f"{kind} {', '.join(f'{size:.0f}' for size in sorted(found[kind]))}" for kind in sorted(found))
        self._note(f"private memory (MB): {'; '.join(sizes)}")

    def _note(self, line: str) -> None:
        self.notes.lines.append(line)
        self._say(line)
