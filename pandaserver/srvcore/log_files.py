"""Logs in the directory of uploads that grow by compressed increments, and are read while they grow."""

from __future__ import annotations

import fcntl
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import BinaryIO, Final

from pandaserver.srvcore.errors import BadRequest, Conflict
from pandaserver.srvcore.file_cache import safe_name, storing

_CHUNK: Final = 2**16

#: Rights of a file that grows, and of one that is being made. Whatever else lies in the directory has others.
_GROWING: Final = 0o664
_NEW: Final = 0o600


class LogFiles:
    """The logs in one directory; ``limit`` is the most bytes that one may have."""

    def __init__(self, directory: Path, limit: int) -> None:
        self._directory = directory
        self._limit = limit

    def append(self, name: str, increment: BinaryIO) -> int:
        """Add what a zlib stream expands to, all or nothing, and return how many bytes that is.

        A damaged stream, and a log that would become too long, raise :class:`BadRequest`. A file that is no log is left
        alone, and :class:`Conflict` is raised: anybody may append, but only to what was made by appending.
        """
        with storing(f"log {safe_name(name)}"), self._growing(safe_name(name)) as log:
            before = log.seek(0, os.SEEK_END)
            try:
                for part in expanded(increment):
                    if log.tell() + len(part) > self._limit:
                        raise BadRequest(f"the log {name[:100]} would have more than {self._limit} bytes")
                    _write(log, part)
            except BaseException:
                log.truncate(before)
                raise
            return log.tell() - before

    def read(self, name: str, offset: int, most: int) -> bytes:
        """Return at most so many bytes of a log from an offset; nothing if there are none."""
        path = self._directory / safe_name(name)
        if not path.is_file():
            return b""
        with path.open("rb") as log:
            log.seek(offset)
            return log.read(most)

    @contextmanager
    def _growing(self, name: str) -> Iterator[FileIO]:
        try:
            handle = self._open(name, os.O_CREAT | os.O_EXCL)
            os.fchmod(handle, _GROWING)
        except FileExistsError:
            handle = self._existing(name)
        with FileIO(handle, "r+") as log:
            fcntl.flock(log, fcntl.LOCK_EX)  # increments of one log follow each other, whichever process takes them
            if stat.S_IMODE(os.fstat(handle).st_mode) not in (_GROWING, _NEW):
                raise _no_log(name)
            yield log

    def _existing(self, name: str) -> int:
        try:
            return self._open(name, 0)
        except OSError as problem:
            raise _no_log(name) from problem

    def _open(self, name: str, flags: int) -> int:
        return os.open(self._directory / name, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | flags, _NEW)


def _no_log(name: str) -> Conflict:
    return Conflict(f"{name} is no log that grows, so nothing can be appended to it")


def _write(log: FileIO, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[log.write(rest) :]


def is_increment(stream: BinaryIO) -> bool:
    """Tell whether a stream begins as zlib streams do; it stands at its beginning before and after."""
    head = stream.read(2)
    stream.seek(0)
    return len(head) == 2 and head[0] & 0x0F == zlib.DEFLATED and int.from_bytes(head) % 31 == 0


def expanded(stream: BinaryIO) -> Iterator[bytes]:
    """Expand a zlib stream piece by piece, each of bounded size."""
    inflater = zlib.decompressobj()
    data = b""
    while not inflater.eof:
        data = data or stream.read(_CHUNK)
        if not data:
            raise BadRequest("the zlib stream is incomplete")
        try:
            part = inflater.decompress(data, _CHUNK)
        except zlib.error as problem:
            raise BadRequest(f"the file is no zlib stream: {problem}") from problem
        data = inflater.unconsumed_tail
        if part:
            yield part
