"""An exclusive run is granted once, counts its period on every machine, and a former holder cannot commit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from pandaserver.daemons.exclusive import FencedBridge
from pandaserver.srvcore.errors import Conflict
from pandaserver.taskbuffer.connection_settings import ConnectionSettings, OperationSettings
from pandaserver.taskbuffer.db_proxy_mods.lease import Lease, NotNow
from pandaserver.taskbuffer.local_bridge import LocalBridge
from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.OraDBProxy import OraDBProxy
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from pandaserver.taskbuffer.transaction import Transaction

COMPONENT = "pandaD.copyArchive"
LEASE_UNTIL = "SELECT leaseUntil FROM ATLAS_PANDA.panda_leases WHERE component = :component"
LAST_START = "SELECT lockedTime FROM ATLAS_PANDA.JEDI_Process_Lock WHERE component = :component"
END_LEASE = "UPDATE ATLAS_PANDA.panda_leases SET leaseUntil = :time WHERE component = :component"
AGE_START = "UPDATE ATLAS_PANDA.JEDI_Process_Lock SET lockedTime = :time WHERE component = :component"


@operation()
def let_time_pass(tx: Transaction, seconds: int) -> None:
    for read, write in ((LEASE_UNTIL, END_LEASE), (LAST_START, AGE_START)):
        time = tx.value(read, component=COMPONENT)
        if time is not None:
            tx.change(write, component=COMPONENT, time=time - timedelta(seconds=seconds))


@pytest.fixture
def age(proxy: OraDBProxy) -> Callable[[int], None]:
    """Make the last start and the lease older."""
    return lambda seconds: proxy.call("let_time_pass", (seconds,))


@pytest.fixture
def lease(tbuf: TaskBuffer) -> Lease:
    return granted(tbuf.start_exclusive_run(COMPONENT, "here-1-1", 100, 10))


@pytest.fixture
def elsewhere(database: ConnectionSettings) -> Iterator[TaskBuffer]:
    bridge = LocalBridge(database, OperationSettings(hostname="elsewhere"))
    yield TaskBuffer(bridge)
    bridge.close()


def granted(permit: Lease | NotNow) -> Lease:
    assert isinstance(permit, Lease)
    return permit


def refused(permit: Lease | NotNow) -> float:
    assert isinstance(permit, NotNow)
    return permit.wait


def test_a_component_in_its_period_is_refused_and_told_when_to_ask_again(tbuf: TaskBuffer, lease: Lease) -> None:
    tbuf.end_exclusive_run(lease)
    assert 95 < refused(tbuf.start_exclusive_run(COMPONENT, "there-1-1", 100, 10)) <= 100


def test_a_component_is_granted_again_when_its_period_is_over(
    tbuf: TaskBuffer, lease: Lease, age: Callable[[int], None]
) -> None:
    tbuf.end_exclusive_run(lease)
    age(101)
    assert granted(tbuf.start_exclusive_run(COMPONENT, "there-1-1", 100, 10)).token == lease.token + 1


def test_a_run_longer_than_its_period_stays_exclusive(
    tbuf: TaskBuffer, lease: Lease, age: Callable[[int], None]
) -> None:
    age(101)
    assert tbuf.renew_lease(lease)
    assert 5 < refused(tbuf.start_exclusive_run(COMPONENT, "there-1-1", 100, 10)) <= 10


def test_a_lease_that_nobody_renews_ends(tbuf: TaskBuffer, lease: Lease, age: Callable[[int], None]) -> None:
    age(101)
    assert granted(tbuf.start_exclusive_run(COMPONENT, "there-1-1", 100, 10)).token > lease.token


def test_a_former_holder_can_neither_renew_nor_end_the_run_of_the_next(
    tbuf: TaskBuffer, lease: Lease, age: Callable[[int], None]
) -> None:
    age(101)
    granted(tbuf.start_exclusive_run(COMPONENT, "there-1-1", 100, 10))
    tbuf.end_exclusive_run(lease)
    assert not tbuf.renew_lease(lease)
    assert refused(tbuf.start_exclusive_run(COMPONENT, "third-1-1", 0, 10)) > 5


def test_a_former_holder_cannot_commit(tbuf: TaskBuffer, lease: Lease, age: Callable[[int], None]) -> None:
    age(101)
    granted(tbuf.start_exclusive_run(COMPONENT, "there-1-1", 100, 10))
    late = TaskBuffer(FencedBridge(tbuf.caller, lease))
    with pytest.raises(Conflict, match="taken over"):
        late.set_user_secrets("me", "{}")
    assert not tbuf.get_user_secrets("me")


def test_the_present_holder_commits_and_renews_by_it(
    tbuf: TaskBuffer, lease: Lease, age: Callable[[int], None]
) -> None:
    age(101)
    TaskBuffer(FencedBridge(tbuf.caller, lease)).set_user_secrets("me", "{}")
    assert tbuf.get_user_secrets("me")
    assert refused(tbuf.start_exclusive_run(COMPONENT, "there-1-1", 100, 10)) > 5


def test_of_two_machines_that_ask_first_one_is_granted(tbuf: TaskBuffer, elsewhere: TaskBuffer) -> None:
    with ThreadPoolExecutor() as threads:
        asked = [threads.submit(one.start_exclusive_run, COMPONENT, "any-1-1", 100, 10) for one in (tbuf, elsewhere)]
        permits = [permit.result() for permit in asked]
    assert sorted(type(permit).__name__ for permit in permits) == ["Lease", "NotNow"]
