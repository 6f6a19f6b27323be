"""Whose turn it is to write to a SQLite file: tickets, served in the order in which they were drawn.

SQLite's own waiting sleeps and tries again, so whoever writes all the time overtakes the others, for seconds. Here a
ticket is a lock on one byte of a file beside the database; its holder may write when no lower byte is locked. The
kernel frees the locks of a process that dies, so the queue moves on.
"""

from __future__ import annotations

import fcntl
import os
import struct
from time import monotonic, sleep
from typing import Final

#: Seconds between two looks of the one whose turn is next; others look as much less often as they are behind.
PAUSE: Final = 0.0001
LONGEST_PAUSE: Final = 0.002

#: Content of the file: the last ticket drawn and the one being served.
_CONTENT: Final = struct.Struct("=QQ")
_NUMBER: Final = struct.Struct("=Q")
#: ``struct flock``: type, whence, start, length, pid.
_FLOCK: Final = struct.Struct("@hhqqi4x")
#: Byte that is locked while a ticket is drawn, and byte of ticket 0.
_DRAWING: Final = 0
_TICKETS: Final = 1024


class WriterQueue:
    """The place of one connection in the queue of the writers of one database file."""

    def __init__(self, database: str) -> None:
        self._file = os.open(f"{database}-queue", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o660)
        self._ticket = 0

    def acquire(self, seconds: float) -> bool:
        """Wait for the turn to write; False when it does not come in time."""
        deadline = monotonic() + seconds
        if not self._draw(deadline):
            return False
        while self._someone_before():
            if monotonic() >= deadline:
                self.release()
                return False
            (serving,) = _NUMBER.unpack(os.pread(self._file, 8, 8))
            sleep(min(LONGEST_PAUSE, PAUSE * max(1, self._ticket - serving)))
        os.pwrite(self._file, _NUMBER.pack(self._ticket), 8)
        return True

    def release(self) -> None:
        """Let the next one write; harmless without a ticket."""
        if self._ticket:
            _set(self._file, fcntl.F_UNLCK, _TICKETS + self._ticket)
            self._ticket = 0

    def close(self) -> None:
        """Leave the queue."""
        os.close(self._file)

    def _draw(self, deadline: float) -> bool:
        while not _set(self._file, fcntl.F_WRLCK, _DRAWING):
            if monotonic() >= deadline:
                return False
            sleep(PAUSE)
        last, _ = _CONTENT.unpack(os.pread(self._file, 16, 0).ljust(16, b"\0"))
        self._ticket = last + 1
        _set(self._file, fcntl.F_WRLCK, _TICKETS + self._ticket)
        os.pwrite(self._file, _NUMBER.pack(self._ticket), 0)
        _set(self._file, fcntl.F_UNLCK, _DRAWING)
        return True

    def _someone_before(self) -> bool:
        asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, _TICKETS, self._ticket, 0)
        found: int = _FLOCK.unpack(fcntl.fcntl(self._file, fcntl.F_OFD_GETLK, asked))[0]
        return found != fcntl.F_UNLCK


def _set(file: int, kind: int, byte: int) -> bool:
    """Lock or unlock one byte; False when another holds it."""
    try:
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, _FLOCK.pack(kind, os.SEEK_SET, byte, 1, 0))
    except (BlockingIOError, PermissionError):  # POSIX allows either
        return False
    return True
