"""What holds for every test: it leaves the process as it found it."""

from __future__ import annotations

import ctypes
import signal
from collections.abc import Iterator
from typing import Final

import pytest

PR_GET_CHILD_SUBREAPER: Final = 37
_libc: Final = ctypes.CDLL(None)


def _signals_and_orphans() -> tuple[set[int], int]:
    adopts = ctypes.c_int()
    _libc.prctl(PR_GET_CHILD_SUBREAPER, ctypes.byref(adopts), 0, 0, 0)
    return {int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, ())}, adopts.value


@pytest.fixture(autouse=True)
def _signals_are_left_alone() -> Iterator[None]:
    """Fail whoever leaves signals blocked, or adopts orphans: processes that later tests start would not end."""
    before = _signals_and_orphans()
    yield
    assert _signals_and_orphans() == before
