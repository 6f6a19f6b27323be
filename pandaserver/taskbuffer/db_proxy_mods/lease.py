"""Exclusive runs across machines: who may start one, who is running it, and a token that outdates former holders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pandaserver.srvcore.errors import Conflict, DuplicateKey
from pandaserver.taskbuffer.operation import Operation, operation
from pandaserver.taskbuffer.transaction import Transaction

LEASE = """
    SELECT leaseUntil, token FROM ATLAS_PANDA.panda_leases
    WHERE component = :component
    FOR UPDATE
"""
LAST_START = """
    SELECT lockedTime FROM ATLAS_PANDA.JEDI_Process_Lock
    WHERE component = :component AND vo = :any_value AND prodSourceLabel = :any_value AND cloud = :any_value
      AND workqueue_id = 0 AND resource_type = :any_value
"""
TAKE = """
    UPDATE ATLAS_PANDA.panda_leases
    SET owner = :owner, token = :token, lastStart = CURRENT_TIMESTAMP,
        leaseUntil = CURRENT_TIMESTAMP + :seconds * INTERVAL '1' SECOND
    WHERE component = :component
"""
RENEW = """
    UPDATE ATLAS_PANDA.panda_leases SET leaseUntil = CURRENT_TIMESTAMP + :seconds * INTERVAL '1' SECOND
    WHERE component = :component AND token = :token
"""
GIVE_BACK = """
    UPDATE ATLAS_PANDA.panda_leases SET leaseUntil = NULL
    WHERE component = :component AND token = :token
"""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to run a component until it is renewed no more; ``token`` rises with every holder."""

    component: str
    token: int
    seconds: int  # without renewal


@dataclass(frozen=True, slots=True)
class NotNow:
    """The component runs, or ran, elsewhere."""

    wait: float  # seconds after which asking again makes sense


@operation(timeout=30)
def start_exclusive_run(tx: Transaction, component: str, owner: str, period: float, seconds: int) -> Lease | NotNow:
    """Allow a run if nobody is running the component and its last start on any machine is a period ago."""
    lease_until, token = _locked(tx, component)
    if lease_until is not None and lease_until > tx.now():
        return NotNow((lease_until - tx.now()).total_seconds())
    if not tx.lock_process(component, owner, period=period):
        started = tx.value(LAST_START, component=component, any_value="default")
        return NotNow(period if started is None else period - (tx.now() - started).total_seconds())
    tx.change(TAKE, component=component, owner=owner, token=token + 1, seconds=seconds)
    return Lease(component, token + 1, seconds)


@operation(timeout=30)
def renew_lease(tx: Transaction, lease: Lease) -> bool:
    """Extend a lease from now; False if there is a newer holder."""
    return tx.change(RENEW, component=lease.component, token=lease.token, seconds=lease.seconds) == 1


@operation(timeout=30)
def end_exclusive_run(tx: Transaction, lease: Lease) -> None:
    """Give a lease back. The period still counts from the start of the run."""
    tx.change(GIVE_BACK, component=lease.component, token=lease.token)


@operation()
def run_under_lease(
    tx: Transaction, lease: Lease, wanted: Operation[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Any:
    """Run another operation in a transaction that only the current holder of the lease can commit.

    The check comes last and locks the row of the lease, so a new holder appears either before it, and this transaction
    fails, or after the commit.
    """
    result = wanted(tx, *args, **kwargs)
    if tx.change(RENEW, component=lease.component, token=lease.token, seconds=lease.seconds) != 1:
        raise Conflict(f"{lease.component} has been taken over by another process: {wanted.name} was undone")
    return result


@operation(timeout=30, repeatable=True)
def check_database(tx: Transaction) -> None:
    """Prove that the database answers, and that its schema is the one this program knows."""
    tx.now()


def _locked(tx: Transaction, component: str) -> tuple[Any, int]:
    """Return the end of the present lease and its token, with the row locked."""
    row = tx.one(LEASE, component=component)
    if row is None:
        try:
            with tx.savepoint():
                tx.insert("ATLAS_PANDA.panda_leases", [{"component": component, "owner": "nobody", "token": 0}])
        except DuplicateKey:  # another machine was as early as we are
            pass
        row = tx.one(LEASE, component=component)
    if row is None:
        raise Conflict(f"the lease of {component} vanished")
    return row[0], int(row[1])
