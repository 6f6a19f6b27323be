"""A pid file held by an OS lock, so that a crash leaves nothing to clean up."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path


class AlreadyRunning(Exception):
    """Another process holds the pid file."""


class PidFile:
    """Take the lock with :meth:`acquire`, write the pid once it is final, :meth:`remove` at the end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.descriptor = -1

    def acquire(self) -> None:
        """Take the lock, or raise AlreadyRunning. A fork shares it, and it lasts until the last holder closes it."""
        while self.descriptor < 0:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
                os.close(descriptor)
                raise AlreadyRunning(f"{self.path} is held by process {holder or 'unknown'}") from None
            if self._is_ours(descriptor):
                self.descriptor = descriptor
            else:  # its former holder removed it between our open and our lock
                os.close(descriptor)

    def write(self) -> None:
        """Write the pid of this process."""
        os.ftruncate(self.descriptor, 0)
        os.pwrite(self.descriptor, str(os.getpid()).encode(), 0)

    def give_to(self, uid: int, gid: int) -> None:
        """Make another account the owner, before this process becomes it."""
        os.fchown(self.descriptor, uid, gid)

    def close(self) -> None:
        """Let go of the file without removing it, as a forked child does."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def remove(self) -> None:
        """Remove the file, or empty it where the account may not remove it from its directory, and let go of it."""
        os.ftruncate(self.descriptor, 0)
        with contextlib.suppress(PermissionError, FileNotFoundError):
            self.path.unlink()
        self.close()

    def _is_ours(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), self.path.stat())
        except FileNotFoundError:
            return False
