"""``make demo``: the main job. Jobs submitted by the stock client, run by two pilots, carried to ``finished``."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from pandaserver.srvcore.errors import PandaError
from pandaserver.testing import sample_job
from pandaserver.testing.instance import Instance, InstanceFailed
from pandaserver.testing.job_history import Stay
from pandaserver.testing.pilot_pool import BuiltinPilots, PilotPool, StockPilots
from pandaserver.testing.run import add_options, ended_by_signals, hold_back_signals, instance_options
from pandaserver.testing.servers import ServerNotStarted
from pandaserver.testing.stock_client import ClientFailed, StockClient
from pandaserver.testing.stock_pilot_release import PilotUnavailable

USER: Final = "Jane Doe"
#: States in which a job stays.
FINAL: Final = ("finished", "failed", "cancelled", "closed")
_POLL: Final = 0.5
_BAR: Final = 30


def main() -> None:
    """Run the demonstration; exit code 0 only if every job finished."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    add_options(parser)
    parser.add_argument("--jobs", type=int, default=20, help="(make: N)")
    parser.add_argument("--pilot", choices=("builtin", "stock"), default="builtin", help="(make: PILOT)")
    parser.add_argument("--pilots", type=int, default=2, help="pilots at the same time")
    arguments = parser.parse_args()
    finished = False
    try:
        with ended_by_signals(), Instance(instance_options(arguments)) as instance:
            try:
                with pilots_for(arguments.pilot, instance, arguments.pilots) as pilots:
                    finished = demonstrate(instance, pilots, arguments.jobs)
            finally:
                hold_back_signals()
    except (InstanceFailed, ServerNotStarted, ClientFailed, PilotUnavailable, PandaError, ValueError) as failure:
        sys.exit(f"make demo: {failure}")
    sys.exit(0 if finished else 1)


@contextmanager
def pilots_for(kind: str, instance: Instance, count: int) -> Iterator[PilotPool]:
    """Give a pool of pilots that ends with the block."""
    pool = BuiltinPilots(instance, count) if kind == "builtin" else StockPilots(instance, count)
    try:
        yield pool
    finally:
        pool.stop()


def demonstrate(instance: Instance, pilots: PilotPool, count: int) -> bool:
    """Carry ``count`` jobs to their end and show how; tell whether all finished."""
    sample_job.publish_scripts(instance.layout.trf / "user")
    with StockClient(instance, certificate=instance.certificate(USER)) as client:
        ids = submit(instance, client, pilots, count)
        states = settle(instance, client, pilots, ids)
    print()
    print("\n".join(table(states, stays(instance, ids))))
    print(f"\nPilots: {pilots.description}. Outputs and logs of the jobs: {pilots.store}")
    good = sum(state == "finished" for state in states.values())
    print(f"{good} of {len(ids)} jobs finished.", flush=True)
    return good == len(ids)


def submit(instance: Instance, client: StockClient, pilots: PilotPool, count: int) -> list[int]:
    """Submit jobs and return their PandaIDs."""
    pilots.provide(sample_job.write_input(instance.layout.work), sample_job.INPUT_SCOPE, client)
    tag = f"demo{int(time.time())}"
    jobs = [sample_job.counting_job(pilots.script_base, n, tag=tag) for n in range(1, count + 1)]
    ids = client.submit(jobs)
    print(f"Submitted {len(ids)} jobs as {USER} with the stock client: PandaID {ids[0]} to {ids[-1]}.", flush=True)
    return ids


def settle(instance: Instance, client: StockClient, pilots: PilotPool, ids: Sequence[int]) -> dict[int, str]:
    """Keep pilots running until every job has its final state, or far too much time has passed; return the states."""
    show = Progress(len(ids))
    deadline = time.monotonic() + pilots.seconds_for(len(ids))
    while True:
        instance.check()
        states: dict[int, str] = {panda_id: job.jobStatus for panda_id, job in zip(ids, client.jobs(ids), strict=True)}
        show(Counter(states.values()))
        unfinished = sum(state not in FINAL for state in states.values())
        if not unfinished or time.monotonic() > deadline:
            return states
        pilots.keep_running(unfinished)
        time.sleep(_POLL)


class Progress:
    """A line that grows on a terminal, and a line for each change elsewhere."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._last = ""

    def __call__(self, states: Mapping[str, int]) -> None:
        """Show how many jobs are in which state."""
        done = sum(states.get(state, 0) for state in FINAL)
        bar = "#" * (_BAR * done // self._total)
        counts = " ".join(f"{state}={count}" for state, count in sorted(states.items()))
        line = f"[{bar:.<{_BAR}}] {done}/{self._total}  {counts}"
        if line != self._last:
            print(
                f"\r{line:<100}" if sys.stdout.isatty() else line, end="" if sys.stdout.isatty() else "\n", flush=True
            )
            self._last = line


def stays(instance: Instance, ids: Sequence[int]) -> Mapping[int, Sequence[Stay]]:
    """Return how long each job was in each state."""
    found: dict[str, Any] = instance.run_module("pandaserver.testing.job_history", *map(str, ids))
    return {int(panda_id): [(state, seconds) for state, seconds in rows] for panda_id, rows in found.items()}


def table(states: Mapping[int, str], history: Mapping[int, Sequence[Stay]]) -> Iterator[str]:
    """Yield the lines of the final table."""
    yield f"{'PandaID':>10}  {'status':<10}  seconds in each state"
    for panda_id, state in states.items():
        stay = "  ".join(f"{name} {seconds:.1f}" for name, seconds in history.get(panda_id, ()) if seconds is not None)
        yield f"{panda_id:>10}  {state:<10}  {stay}"


if __name__ == "__main__":
    main()
