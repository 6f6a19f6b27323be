"""What the server promises, in terms of what the machine can do: a table, and the judgement of a run by it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bench.measuring import Measured
from bench.scenarios import Notes

#: The concurrency and the backend of the promises.
CONCURRENCY: Final = 8
BACKEND: Final = "postgresql"
WRITERS: Final = 4


@dataclass(frozen=True, slots=True)
class Ratio:
    """Jobs (or requests) that a scenario brings while hello is said once, at least."""

    what: str
    name: str
    least: float
    concurrency: int = CONCURRENCY


RATIOS: Final = (
    Ratio("getJob, 20000 waiting in 200 queues, of hello", "getJob 20000 at 200", 0.10),
    Ratio("heartbeat, of hello", "heartbeat", 0.13),
    Ratio("final update with output report, of hello", "final update", 0.06),
    Ratio("submitJobs of one job with three files, of hello", "submit 1", 0.03),
    Ratio("submitJobs of 100 jobs, jobs per hello", "submit 100", 0.15),
    Ratio("whole cycle, of hello", "cycle", 0.012),
    Ratio("Adder to final state, jobs per hello", "Adder", 0.03, concurrency=1),
)
#: A queue with a million waiting jobs, compared to one with a thousand.
FEW, MANY, SLOWER = "getJob 1000 at 1", "getJob 1000000 at 1", 1.3
#: The same with 200 shares at 500 queues.
SHARES_FEW, SHARES_MANY, SHARES_SLOWER = "getJob 1000 of 200 shares", "getJob 1000000 of 200 shares", 1.5
TAIL: Final = 20.0
WEB_MB, CHILD_MB = 60.0, 45.0


def judged(results: Sequence[Measured], notes: Mapping[str, Notes]) -> list[str]:
    """Return one line for each promise; what was not measured says so."""
    found = {(m.backend, m.name, m.concurrency): m for m in results}
    lines = [f"{'':58}{'target':>9} {'measured':>9}"]
    for ratio in RATIOS:
        m = found.get((BACKEND, ratio.name, ratio.concurrency))
        lines.append(_line(ratio.what, ">=", ratio.least, m.jobs * m.rate / m.hello if m and m.hello else None))
    for what, few_name, many_name, limit in (
        ("getJob, 1 M waiting in a queue, slower than 1 k by", FEW, MANY, SLOWER),
        ("getJob, 1 M of 200 shares at 500 queues, than 1 k by", SHARES_FEW, SHARES_MANY, SHARES_SLOWER),
    ):
        few, many = (found.get((BACKEND, name, CONCURRENCY)) for name in (few_name, many_name))
        lines.append(_line(what, "<=", limit, few.rate / many.rate if few and many and many.rate else None))
    tail = found.get(("sqlite", "heartbeat", WRITERS))
    ratio_of_tail = tail.p99 / tail.p50 if tail and tail.p50 else None
    lines.append(_line(f"SQLite, {WRITERS} writers: p99 of a heartbeat, in medians", "<=", TAIL, ratio_of_tail))
    memory = notes.get(BACKEND)
    lines.append(_line("private memory of a web process, MB", "<=", WEB_MB, memory.web if memory else None))
    lines.append(_line("private memory of a database child, MB", "<=", CHILD_MB, memory.child if memory else None))
    return lines


def _line(what: str, sign: str, target: float, measured: float | None) -> str:
    if measured is None:
        return f"{what:58}{sign} {target:>6g}         - not measured"
    good = measured >= target if sign == ">=" else measured <= target
    return f"{what:58}{sign} {target:>6g} {measured:>9.3g} {'ok' if good else 'MISSED'}"
