"""One refresher at a time, the old value meanwhile."""

from __future__ import annotations

import threading

import pytest

from pandaserver.srvcore.caching import CachedObject
from pandaserver.srvcore.errors import Unavailable


class Source:
    """Counts loads; ``fails`` makes the next ones fail; ``gate`` makes them wait."""

    def __init__(self) -> None:
        self.loads = 0
        self.fails = False
        self.now = 0.0
        self.gate: threading.Event | None = None
        self.entered = threading.Event()

    def load(self) -> int:
        self.entered.set()
        if self.gate:
            assert self.gate.wait(10)
        if self.fails:
            raise Unavailable("down")
        self.loads += 1
        return self.loads


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def failures() -> list[Exception]:
    return []


@pytest.fixture
def cached(source: Source, failures: list[Exception]) -> CachedObject[int]:
    return CachedObject(source.load, 600, retry=30, on_failure=failures.append, clock=lambda: source.now)


def test_a_value_serves_until_it_is_old(cached: CachedObject[int], source: Source) -> None:
    assert cached.get() == 1
    source.now = 599.9
    assert cached.get() == 1
    source.now = 600
    assert cached.get() == 2


def test_the_first_failure_is_the_callers(cached: CachedObject[int], source: Source) -> None:
    source.fails = True
    with pytest.raises(Unavailable):
        cached.get()
    source.fails = False
    assert cached.get() == 1


def test_a_later_failure_keeps_the_old_value_for_a_while(
    cached: CachedObject[int], source: Source, failures: list[Exception]
) -> None:
    cached.get()
    source.fails, source.now = True, 600
    assert [cached.get(), cached.get()] == [1, 1]
    assert len(failures) == 1
    source.fails, source.now = False, 630
    assert cached.get() == 2


def test_others_get_the_old_value_while_one_refreshes(cached: CachedObject[int], source: Source) -> None:
    cached.get()
    source.gate, source.now = threading.Event(), 600
    source.entered.clear()
    refresher = threading.Thread(target=cached.get)
    refresher.start()
    assert source.entered.wait(10)
    assert cached.get() == 1
    source.gate.set()
    refresher.join(10)
    assert cached.get() == 2


def test_a_forgotten_value_is_loaded_again(cached: CachedObject[int]) -> None:
    cached.get()
    cached.forget()
    assert cached.get() == 2


def test_peeking_never_loads(cached: CachedObject[int], source: Source) -> None:
    assert cached.peek() is None
    cached.get()
    source.now = 10_000
    assert cached.peek() == 1
