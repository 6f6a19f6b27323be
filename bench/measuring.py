"""One measurement: load on one side, CPU time on the other, and beside it the limits of this machine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean, median
from typing import Any, Final

from bench.helper import together
from bench.proc import cpu_seconds
from bench.rig import CODE, HELLO, Rig

_WRK_RATE: Final = re.compile(r"Requests/sec:\s*([\d.]+)")
HELLO_NAME: Final = "hello"
HELLO_PAGE: Final = {"path": HELLO, "beginning": HELLO_NAME}
#: Seconds of the shortest measurement.
_SHORTEST: Final = 0.3
#: Seconds of asking before anything is measured.
WARM_UP: Final = 1.0
#: How far apart the two load generators may be before somebody should look.
DISAGREEMENT: Final = 0.25


@dataclass(frozen=True, slots=True)
class Bare:
    """The same operation without web: all processes together, and the latency of one transaction."""

    rate: float
    p50: float
    cpu_ms: float
    processes: int


@dataclass(frozen=True, slots=True)
class Measured:
    """What one scenario gave. A unit is a request, or a cycle of four; it brings ``jobs`` jobs."""

    name: str
    backend: str
    concurrency: int
    count: int
    rate: float
    p50: float
    p95: float
    p99: float
    cpu_ms: Mapping[str, float]  # of one unit, by kind of process
    client_ms: float  # of one request
    jobs: int = 1
    errors: Mapping[str, int] = field(default_factory=dict)
    bare: Bare | None = None
    hello: float = 0.0  # requests/s of hello, measured immediately before and after
    hello_cpu_ms: float = 0.0


class Meter:
    """Measures one rig for so many seconds a scenario."""

    def __init__(self, rig: Rig, backend: str, seconds: float, say: Callable[[Measured], None]) -> None:
        self.rig = rig
        self.backend = backend
        self.seconds = seconds
        self._say = say

    def hello(self, concurrency: int) -> Measured:
        """Measure the page that costs nothing but the web."""
        found = self.once(HELLO_NAME, "pages", HELLO_PAGE, concurrency, self.seconds, 1_000_000)
        self._say(found)
        return found

    def load(
        self,
        name: str,
        conversation: str,
        arguments: Mapping[str, Any],
        concurrency: int,
        *,
        most: int = 1_000_000,
        jobs: int = 1,
        bare: Bare | None = None,
        rounds: int = 1,
        prepare: Callable[[], None] | None = None,
    ) -> Measured:
        """Let clients ask for some seconds, or ``most`` times, and say hello before and after.

        Several ``rounds``, each after a call of ``prepare``, count as one measurement.
        """
        before = self._glance(concurrency)
        found = []
        for _ in range(rounds):
            if prepare:
                prepare()
            found.append(self.once(name, conversation, arguments, concurrency, self.seconds, most))
        hello = combined([before, self._glance(concurrency)])
        return self._shown(replace(combined(found), jobs=jobs, bare=bare), hello)

    def _shown(self, measured: Measured, hello: Measured) -> Measured:
        complete = replace(measured, hello=hello.rate, hello_cpu_ms=sum(hello.cpu_ms.values()))
        self._say(complete)
        return complete

    def _glance(self, concurrency: int) -> Measured:
        seconds = max(_SHORTEST, self.seconds / 4)
        return self.once(HELLO_NAME, "pages", HELLO_PAGE, concurrency, seconds, 1_000_000)

    def once(
        self,
        name: str,
        conversation: str,
        arguments: Mapping[str, Any],
        concurrency: int,
        seconds: float,
        most: int,
    ) -> Measured:
        """Let clients ask, and nothing else."""
        task = self._task(conversation, arguments, concurrency, seconds, most)
        before: dict[str, float] = {}
        (found,) = together([("bench.load", task)], lambda: before.update(cpu_seconds(os.getpid())), cwd=CODE)
        self.rig.check()
        return Measured(
            name=name,
            backend=self.backend,
            concurrency=concurrency,
            cpu_ms=_spent(before, found["count"]),
            client_ms=found["client_ms"],
            errors=found["errors"],
            **{key: found[key] for key in ("count", "rate", "p50", "p95", "p99")},
        )

    def warm_up(self, conversation: str, arguments: Mapping[str, Any]) -> None:
        """Let clients ask for a moment and forget it."""
        task = self._task(conversation, arguments, 4 * self.rig.options.web_processes, WARM_UP, 1_000_000)
        together([("bench.load", task)], cwd=CODE)

    def _task(
        self, conversation: str, arguments: Mapping[str, Any], concurrency: int, seconds: float, most: int
    ) -> Mapping[str, Any]:
        return {
            "conversation": conversation,
            "arguments": arguments,
            "connections": concurrency,
            "port": self.rig.options.port,
            "seconds": seconds,
            "most": most,
        }

    def bare(self, conversation: str, arguments: Mapping[str, Any], *, most: int = 1_000_000) -> Bare:
        """Let as many processes as the server has children run the operation itself."""
        count = self.rig.options.web_processes
        tasks: list[tuple[str, Mapping[str, Any]]] = [
            (
                "bench.bare",
                {
                    "conversation": conversation,
                    "arguments": arguments,
                    "seconds": self.seconds,
                    "most": max(1, most // count),
                    "number": number,
                    "processes": count,
                },
            )
            for number in range(count)
        ]
        before: dict[str, float] = {}
        found = together(tasks, lambda: before.update(cpu_seconds(os.getpid())), **self.rig.as_service())
        if problems := [text for one in found for text in one["errors"]]:
            raise RuntimeError(f"bare {conversation}: {problems[0]}")
        done = sum(one["count"] for one in found)
        cpu = sum(one["cpu_ms"] * one["count"] for one in found) / max(done, 1) + sum(_spent(before, done).values())
        return Bare(sum(one["rate"] for one in found), fmean(one["p50"] for one in found), cpu, count)

    def settle(self, most_seconds: float, concurrency: int) -> Measured:
        """Let one Adder settle all reports that wait; hello is said at ``concurrency``."""
        hello = self._glance(concurrency)
        before: dict[str, float] = {}
        task = {"seconds": most_seconds}
        (found,) = together(
            [("bench.settle", task)], lambda: before.update(cpu_seconds(os.getpid())), **self.rig.as_service()
        )
        cpu = {**_spent(before, found["count"]), "Adder": found["cpu_ms"]}
        one = 1000 / found["rate"] if found["rate"] else 0.0
        measured = Measured("Adder", self.backend, 1, found["count"], found["rate"], one, one, one, cpu, 0.0)
        return self._shown(measured, combined([hello, self._glance(concurrency)]))

    def wrk(self, concurrency: int) -> float | None:
        """Return the requests/s of hello as another load generator sees them; None when it is not installed."""
        program = shutil.which("wrk")
        if program is None:
            return None
        url = f"http://127.0.0.1:{self.rig.options.port}{HELLO}"
        seconds = max(1, round(self.seconds))
        done = subprocess.run(
            [program, "-t1", f"-c{concurrency}", f"-d{seconds}s", url],
            capture_output=True,
            text=True,
            check=True,
            timeout=seconds + 30,
        )
        found = _WRK_RATE.search(done.stdout)
        return float(found[1]) if found else None


def combined(rounds: Sequence[Measured]) -> Measured:
    """Return rounds of one scenario as one: the rate of all, the median of their percentiles."""
    count = sum(m.count for m in rounds)
    seconds = sum(m.count / m.rate for m in rounds if m.rate)
    kinds = {kind for m in rounds for kind in m.cpu_ms}
    return replace(
        rounds[0],
        count=count,
        rate=count / seconds if seconds else 0.0,
        p50=median(m.p50 for m in rounds),
        p95=median(m.p95 for m in rounds),
        p99=median(m.p99 for m in rounds),
        cpu_ms={kind: sum(m.cpu_ms.get(kind, 0.0) * m.count for m in rounds) / max(count, 1) for kind in kinds},
        errors=dict(sum((Counter(m.errors) for m in rounds), Counter())),
    )


def _spent(before: Mapping[str, float], count: int) -> dict[str, float]:
    """Return the CPU time in ms, for each of ``count`` units, since ``before``."""
    after = cpu_seconds(os.getpid())
    return {kind: max(0.0, after[kind] - before.get(kind, 0.0)) * 1000 / max(count, 1) for kind in after}
