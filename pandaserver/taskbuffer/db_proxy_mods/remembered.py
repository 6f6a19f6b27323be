"""Answers that a connection keeps for a while, because they change by the minute and are asked by the millisecond."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import TypeVar

from pandaserver.taskbuffer.transaction import Transaction

T = TypeVar("T")


def remembered(tx: Transaction, name: str, lifetime: float, read: Callable[[Transaction], T]) -> T:
    """Return what ``read`` returned less than ``lifetime`` seconds ago on this connection, else read again."""
    kept = tx.memory.get(name)
    if kept is not None and kept[0] > monotonic():
        value: T = kept[1]
        return value
    value = read(tx)
    tx.memory[name] = (monotonic() + lifetime, value)
    return value
