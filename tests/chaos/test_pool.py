"""Threads share bridges: in parallel while there are some, within one deadline, and no bridge is ever mislaid."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import Any

import pytest

from pandaserver.srvcore.errors import Busy, Conflict
from pandaserver.taskbuffer.connection_settings import ConnectionSettings, OperationSettings
from pandaserver.taskbuffer.DBProxyPool import OraDBProxyPool
from pandaserver.taskbuffer.operation import Operation
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer, proxied
from tests.chaos import bridge_operations as ops

CONNECTION = ConnectionSettings(backend="sqlite", name=":memory:")


class FakeBridge:
    """Holds its calls until the test opens the gate, and remembers how long each was given."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.entered = threading.Semaphore(0)
        self.limits: list[float | None] = []
        self.error: Exception | None = None

    def call(
        self,
        operation: Operation[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        timeout: float | None = None,
    ) -> Any:
        self.limits.append(timeout)
        self.entered.release()
        assert self.gate.wait(10)
        if self.error:
            raise self.error
        return args[0]

    def close(self) -> None:
        self.gate.set()


MakePool = Callable[..., OraDBProxyPool]


@pytest.fixture
def bridge() -> FakeBridge:
    return FakeBridge()


@pytest.fixture
def make_pool(bridge: FakeBridge) -> Iterator[MakePool]:
    def make(size: int, patience: float = 10.0) -> OraDBProxyPool:
        return OraDBProxyPool(size, CONNECTION, OperationSettings(), patience=patience, make_bridge=lambda: bridge)

    yield make
    bridge.gate.set()


def test_as_many_calls_run_at_once_as_there_are_bridges(make_pool: MakePool, bridge: FakeBridge) -> None:
    pool = make_pool(3)
    with ThreadPoolExecutor() as threads:
        running = [threads.submit(pool.call, ops.bridge_echo, (n,), {}) for n in range(3)]
        for _ in running:
            assert bridge.entered.acquire(timeout=10)
        bridge.gate.set()
        assert [call.result() for call in running] == [0, 1, 2]


def test_a_call_that_finds_no_bridge_is_told_busy_when_patience_ends(make_pool: MakePool, bridge: FakeBridge) -> None:
    pool = make_pool(1, patience=0.1)
    with ThreadPoolExecutor() as threads:
        threads.submit(pool.call, ops.bridge_echo, (1,), {})
        assert bridge.entered.acquire(timeout=10)
        with pytest.raises(Busy, match="was not executed"):
            pool.call(ops.bridge_echo, (2,), {})
        bridge.gate.set()


def test_waiting_for_a_bridge_ends_at_the_deadline_of_the_call(make_pool: MakePool, bridge: FakeBridge) -> None:
    pool = make_pool(1)
    with ThreadPoolExecutor() as threads:
        threads.submit(pool.call, ops.bridge_echo, (1,), {})
        assert bridge.entered.acquire(timeout=10)
        started = monotonic()
        with pytest.raises(Busy):
            pool.call(ops.bridge_echo, (2,), {}, timeout=0.2)
        assert 0.2 <= monotonic() - started < 1
        bridge.gate.set()


def test_time_spent_waiting_is_taken_from_the_call(make_pool: MakePool, bridge: FakeBridge) -> None:
    pool = make_pool(1)
    with ThreadPoolExecutor() as threads:
        first = threads.submit(pool.call, ops.bridge_echo, (1,), {})
        assert bridge.entered.acquire(timeout=10)
        threading.Timer(0.3, bridge.gate.set).start()
        pool.call(ops.bridge_echo, (2,), {}, timeout=5)
        first.result()
    assert bridge.limits[1] is not None
    assert bridge.limits[1] <= 4.9  # the timer began before the call


def test_a_call_that_raises_gives_its_bridge_back(make_pool: MakePool, bridge: FakeBridge) -> None:
    pool = make_pool(1)
    bridge.gate.set()
    bridge.error = Conflict("no")
    with pytest.raises(Conflict):
        pool.call(ops.bridge_echo, (1,), {})
    bridge.error = None
    assert pool.call(ops.bridge_echo, (2,), {}) == 2


def test_a_task_buffer_within_other_seconds_asks_for_them(make_pool: MakePool, bridge: FakeBridge) -> None:
    class Wanted(TaskBuffer):
        echo = proxied(ops.bridge_echo)

    bridge.gate.set()
    wanted = Wanted(make_pool(1))
    assert wanted.within(7).echo("a") == "a"
    assert bridge.limits[0] is not None
    assert 6 < bridge.limits[0] <= 7
    assert wanted.echo("b") == "b"
    assert bridge.limits[1] is not None
    assert bridge.limits[1] > 50


def test_threads_call_real_children_in_parallel(connection: ConnectionSettings) -> None:
    pool = OraDBProxyPool(2, connection, OperationSettings(), modules=("tests.chaos.bridge_operations",))
    try:
        with ThreadPoolExecutor(8) as threads:
            results = list(threads.map(lambda n: pool.call(ops.bridge_echo, (n,), {}), range(100)))
        assert results == list(range(100))
    finally:
        pool.close()
