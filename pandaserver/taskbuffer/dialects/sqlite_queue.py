"""Whose turn it is to write to a SQLite file: a queue of processes made of two file locks.

SQLite's own waiting sleeps and tries again, so a process that writes all the time starves the others for seconds. Here
the next writer holds the ``next`` lock while it waits for the ``turn`` lock; whoever just wrote has to queue for
``next`` first, so it cannot overtake. The kernel frees both when a process dies.
"""

from __future__ import annotations

import fcntl
import os
from time import monotonic, sleep
from typing import Final

#: Seconds between two looks: at the turn (one process looks) and at the place of the next one (many may).
TURN_PAUSE: Final = 0.0002
NEXT_PAUSE: Final = 0.001


class WriterQueue:
    """The place of one connection in the queue of the writers of one database file."""

    def __init__(self, database: str) -> None:
        self._next = _open(f"{database}-next")
        self._turn = _open(f"{database}-turn")

    def acquire(self, seconds: float) -> bool:
        """Wait for the turn to write; False when it does not come in time."""
        deadline = monotonic() + seconds
        if not _lock(self._next, deadline, NEXT_PAUSE):
            return False
        try:
            return _lock(self._turn, deadline, TURN_PAUSE)
        finally:
            fcntl.flock(self._next, fcntl.LOCK_UN)

    def release(self) -> None:
        """Let the next one write; harmless without the turn."""
        fcntl.flock(self._turn, fcntl.LOCK_UN)

    def close(self) -> None:
        """Leave the queue."""
        os.close(self._next)
        os.close(self._turn)


def _open(path: str) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o660)


def _lock(fd: int, deadline: float, pause: float) -> bool:
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if monotonic() >= deadline:
                return False
            sleep(pause)
        else:
            return True
