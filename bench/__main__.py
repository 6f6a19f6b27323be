"""``make bench``, or ``python -m bench --quick``: measure, and say how far from its limits the server is."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from bench.helper import HelperFailed
from bench.measuring import Measured, Meter
from bench.report import HEAD, line, ratios
from bench.rig import started
from bench.scenarios import NAMES, Notes, Plan, Scenarios
from bench.targets import BACKEND, CONCURRENCY, WRITERS, judged
from pandaserver.testing.instance import InstanceFailed
from pandaserver.testing.servers import ServerNotStarted

BACKENDS: Final = ("postgresql", "sqlite")
QUICK: Final = Plan(
    only=frozenset(NAMES) - {"isAlive"},
    concurrency=(CONCURRENCY,),
    levels=(1_000, 1_000_000),
    spread_levels=False,
    with_bare=False,
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what the command line asks for. A missed target is a line, not a failure."""
    options = _options(arguments)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)  # so that everything we started ends with us
    began = time.monotonic()
    results: list[Measured] = []
    notes: dict[str, Notes] = {}
    plan = _plan(options)
    try:
        for backend in options.backend or ((BACKEND,) if options.quick else BACKENDS):
            notes[backend] = _measure(backend, plan, options, results)
        if "heartbeat" in plan.only and (not options.backend or "sqlite" in options.backend):
            writers = replace(plan, only=frozenset({"heartbeat"}), concurrency=(WRITERS,), with_bare=False)
            _measure("sqlite", writers, options, results, web_processes=WRITERS)
    except (InstanceFailed, ServerNotStarted, HelperFailed) as failure:
        sys.exit(f"make bench: {failure}")
    except KeyboardInterrupt:
        sys.exit("make bench: stopped")
    print("\nAs parts of the limits of this machine, measured in this run")
    print("\n".join(ratios(results)))
    print(f"\nPromises ({BACKEND} with default durability, concurrency {CONCURRENCY})")
    print("\n".join(judged(results, notes)))
    print(f"\n{time.monotonic() - began:.0f} s in all", flush=True)


def _measure(
    backend: str, plan: Plan, options: argparse.Namespace, results: list[Measured], web_processes: int = 2
) -> Notes:
    print(f"\n{backend}, {web_processes} web processes with one thread and one database child each\n{HEAD}", flush=True)
    with started(backend, options.dir, web_processes) as rig:
        meter = Meter(rig, backend, options.seconds, lambda measured: print(line(measured), flush=True))
        scenarios = Scenarios(meter, plan, lambda text: print(f"  {text}", flush=True))
        try:
            scenarios.run()
        finally:
            results += scenarios.results
    return scenarios.notes


def _plan(options: argparse.Namespace) -> Plan:
    plan = QUICK if options.quick else Plan()
    if options.only:
        plan = replace(plan, only=frozenset(options.only))
    if options.concurrency:
        plan = replace(plan, concurrency=tuple(options.concurrency))
    if options.waiting:
        plan = replace(plan, levels=tuple(options.waiting), spread=min(plan.spread, max(options.waiting)))
    return plan


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=main.__doc__)
    parser.add_argument("--quick", action="store_true", help="only what the promises are about, in a few minutes")
    parser.add_argument("--only", action="append", choices=NAMES, help="may be given several times")
    parser.add_argument("--backend", action="append", choices=BACKENDS, help="may be given several times")
    parser.add_argument("--concurrency", action="append", type=int, help="clients at the same time; several times")
    parser.add_argument("--waiting", action="append", type=int, help="waiting jobs for getJob; several times")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--dir", type=Path, help="where the instances live meanwhile; default the temporary directory")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
