"""What operators look at: the state of the database itself, counts of jobs, and who runs what on which machine."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.transaction import Transaction

#: From the snapshots of the daemon share_statistics: counting jobs afresh for each monitor would cost a scan each.
JOB_COUNTS: Final = {
    stats: f"""
    SELECT jobStatus, SUM(nJobs), MAX(ts) FROM ATLAS_PANDA.{stats}
    GROUP BY jobStatus
"""
    for stats in ("Jobs_Share_Stats", "JobsDefined_Share_Stats")
}

LEASES: Final = """
    SELECT component, owner, leaseUntil, lastStart FROM ATLAS_PANDA.panda_leases
    WHERE component LIKE :pattern
"""

STARTS: Final = """
    SELECT component, lockedBy, lockedTime FROM ATLAS_PANDA.JEDI_Process_Lock
    WHERE component LIKE :pattern AND vo = :any_value AND prodSourceLabel = :any_value AND cloud = :any_value
      AND workqueue_id = 0 AND resource_type = :any_value
"""


@dataclass(frozen=True, slots=True)
class Durability:
    """One setting on which it depends whether a commit survives a power failure."""

    name: str
    value: str
    is_safe: bool


@dataclass(frozen=True, slots=True)
class DatabaseFacts:
    """What a database says about itself."""

    now: datetime  # naive UTC
    clock_is_ours: bool  # it has none of its own


@dataclass(frozen=True, slots=True)
class JobCounts:
    """How many jobs are in each state, a while ago."""

    by_state: dict[str, int]
    age: float | None  # seconds; None: nobody has counted yet, or there was nothing to count


@dataclass(frozen=True, slots=True)
class ExclusiveRun:
    """Who runs a component or ran it last, on whichever machine. Times are naive UTC, by the database's clock."""

    component: str
    owner: str
    last_start: datetime | None
    holds: bool  # the owner is at it, or died so recently that its lease goes on
    age: float | None  # seconds since the last start


@operation(timeout=10, repeatable=True)
def look_at_database(tx: Transaction) -> DatabaseFacts:
    """Return what the clock of the database says."""
    return DatabaseFacts(tx.now(), tx.cursor.dialect.clock_is_ours)


@operation(timeout=10, repeatable=True)
def look_at_durability(tx: Transaction) -> list[Durability]:
    """Return on what it depends whether commits last. An account that may not ask gets a DatabaseError."""
    found = []
    for promise in tx.cursor.dialect.promises:
        tx.run(lambda query=promise.query: tx.cursor.execute_native(query))  # type: ignore[misc]
        row = tx.cursor.fetchone()
        if row is not None:  # else this version of the server does not have it
            value = str(row[-1])
            found.append(Durability(promise.name, value, value in promise.safe))
    return found


@operation(timeout=10, repeatable=True)
def count_jobs_by_state(tx: Transaction) -> JobCounts:
    """Return how many jobs that are not final are in each state, as of the last snapshot."""
    by_state: dict[str, int] = {}
    newest: datetime | None = None
    for query in JOB_COUNTS.values():
        for state, jobs, counted in tx.rows(query):
            by_state[state] = by_state.get(state, 0) + int(jobs)
            newest = counted if newest is None else max(newest, counted)
    return JobCounts(by_state, None if newest is None else (tx.now() - newest).total_seconds())


@operation(timeout=10, repeatable=True)
def exclusive_runs(tx: Transaction, prefix: str) -> list[ExclusiveRun]:
    """Return the holders, or last holders, of all components whose name starts like that.

    A machine with an older server has no lease, only its start.
    """
    now, pattern = tx.now(), f"{prefix}%"
    leases = {component: facts for component, *facts in tx.rows(LEASES, pattern=pattern)}
    starts = {component: facts for component, *facts in tx.rows(STARTS, pattern=pattern, any_value="default")}
    found = []
    for component in sorted(leases | starts):
        owner, until, started = leases.get(component, (None, None, None))
        holds = until is not None and until > now
        if component in starts and not holds:
            owner, started = starts[component]
        age = None if started is None else (now - started).total_seconds()
        found.append(ExclusiveRun(component, owner or "", started, holds, age))
    return found
