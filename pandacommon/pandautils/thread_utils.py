"""Locks between processes that nobody has to clean up: the kernel frees them when their holder dies."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Final

_POLL: Final = 0.02  # seconds between two attempts of an acquire() with a time limit


class ProcessLock:
    """One lock file. Threads exclude each other, too. A forked child of the holder keeps it held."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._held = -1

    def acquire(self, timeout: float | None = None) -> bool:
        """Take the lock and return True, or False when ``timeout`` seconds have passed; 0 tries once."""
        descriptor = _opened(self._path)
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            taken = _flock(descriptor, fcntl.LOCK_EX, wait=deadline is None)
            while not taken and deadline is not None and time.monotonic() < deadline:
                time.sleep(_POLL)
                taken = _flock(descriptor, fcntl.LOCK_EX, wait=False)
        except BaseException:
            os.close(descriptor)
            raise
        if taken:
            self._held = descriptor
        else:
            os.close(descriptor)
        return taken

    def release(self) -> None:
        """Give the lock back; RuntimeError if this object does not hold it."""
        if self._held < 0:
            raise RuntimeError(f"{self._path} is not held")
        descriptor, self._held = self._held, -1
        os.close(descriptor)

    def __enter__(self) -> ProcessLock:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class LockPool:
    """Named locks for the scripts of one machine; at most ``size`` names are in use at a time.

    The directory is the pool: all processes that are given the same one share it. Each of its slots is two files:
    whoever uses the slot has a shared lock on ``NN.use``, which contains the key; ``NN.lock`` is the lock itself.
    """

    def __init__(self, directory: Path, size: int = 100) -> None:
        self._directory = directory
        self._size = size
        self._used: dict[str, tuple[int, int, int]] = {}  # key -> slot, descriptor of its use file, times gotten
        self._threads = threading.Lock()

    def get(self, key: str) -> ProcessLock | None:
        """Return the lock of that key, or None while all slots belong to other keys. Pair it with ``release``."""
        with self._threads:
            if key in self._used:
                slot, descriptor, times = self._used[key]
                self._used[key] = slot, descriptor, times + 1
                return ProcessLock(self._directory / f"{slot:02}.lock")
            self._directory.mkdir(parents=True, exist_ok=True)
            with ProcessLock(self._directory / "registry"):
                return self._occupy(key)

    def release(self, key: str) -> None:
        """Stop using a key; it leaves the pool when no process uses it any more. Unknown keys are ignored."""
        with self._threads:
            if key not in self._used:
                return
            slot, descriptor, times = self._used.pop(key)
            if times > 1:
                self._used[key] = slot, descriptor, times - 1
            else:
                os.close(descriptor)

    def _occupy(self, key: str) -> ProcessLock | None:
        """Join the slot of the key, or write the key into a free one. The caller holds the registry."""
        free: tuple[int, int] | None = None
        for slot in range(self._size):
            descriptor = _opened(self._directory / f"{slot:02}.use")
            if _flock(descriptor, fcntl.LOCK_EX, wait=False):
                if free is None:
                    free = slot, descriptor
                    continue
            elif os.pread(descriptor, 4096, 0) == key.encode():
                if free is not None:
                    os.close(free[1])
                return self._use(key, slot, descriptor)
            os.close(descriptor)
        if free is None:
            return None
        os.ftruncate(free[1], 0)
        os.pwrite(free[1], key.encode(), 0)
        return self._use(key, *free)

    def _use(self, key: str, slot: int, descriptor: int) -> ProcessLock:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        self._used[key] = slot, descriptor, 1
        return ProcessLock(self._directory / f"{slot:02}.lock")


def _opened(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o664)


def _flock(descriptor: int, kind: int, *, wait: bool) -> bool:
    try:
        fcntl.flock(descriptor, kind if wait else kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
