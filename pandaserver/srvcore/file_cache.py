"""Files that clients leave on this machine: one flat directory, written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import struct
import tempfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from pandaserver.srvcore.errors import BadRequest, Conflict, NotFound

_CHUNK: Final = 2**20
_LONGEST_NAME: Final = 255  # bytes, as file systems count

#: End of the name of a file that may be written again.
_REWRITABLE: Final = "__ow__"


@dataclass(frozen=True, slots=True)
class StoredFile:
    """What is known of a file that was written."""

    name: str
    size: int
    checksum: int | None  # first number of the gzip trailer; None for a file too short to have one
    replaced: bool = False


def safe_name(name: str) -> str:
    """Return the part of a client's file name that may name a file here, or refuse it."""
    base = name.rpartition("/")[2]
    if not base or base.startswith(".") or not base.isprintable() or len(os.fsencode(base)) > _LONGEST_NAME:
        raise BadRequest(f"{base[:100]!r} cannot be the name of a file")
    return base


def is_rewritable(name: str) -> bool:
    """Return whether a file of that name may be replaced by its owner's jobs."""
    return name.rpartition(".")[2] == _REWRITABLE


class FileCache:
    """The directory that the web server publishes as ``/cache/``."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def path(self, name: str) -> Path:
        """Return where the file of that name is, or would be."""
        return self._directory / safe_name(name)

    def store(self, name: str, content: BinaryIO, *, compress: bool = False, replace: bool = False) -> StoredFile:
        """Write a file whole; readers never see a part of it.

        A file that exists stays as it is, only younger, and :class:`Conflict` is raised, unless its name says that
        it may be replaced, or ``replace`` does.
        """
        target = self.path(name)
        rewritable = replace or is_rewritable(target.name)
        handle, temporary = tempfile.mkstemp(prefix=".upload-", dir=self._directory)
        try:
            with os.fdopen(handle, "wb") as file:
                size, tail = _copy(content, file.write, compress=compress)
                os.fchmod(file.fileno(), 0o644)  # the web server may run under another account
            existed = target.exists()
            if rewritable:
                os.replace(temporary, target)
            else:
                os.link(temporary, target)
        except FileExistsError:
            self.touch(name)
            raise Conflict(f"cannot overwrite file {target.name}") from None
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
        return StoredFile(target.name, size, _checksum(tail), replaced=existed)

    def touch(self, name: str) -> None:
        """Make a file young, so that it is kept; raise :class:`NotFound` if there is none."""
        try:
            os.utime(self.path(name))
        except FileNotFoundError:
            raise NotFound(f"there is no file {safe_name(name)}") from None

    def remove(self, name: str) -> None:
        """Remove a file if it exists."""
        self.path(name).unlink(missing_ok=True)


def _copy(content: BinaryIO, write: Callable[[bytes], object], *, compress: bool) -> tuple[int, bytes]:
    """Copy a stream and return the number of bytes written and the last eight of them."""
    chunks: Iterator[bytes] = iter(lambda: content.read(_CHUNK), b"")
    size, tail = 0, b""
    for chunk in _compressed(chunks) if compress else chunks:
        write(chunk)
        size += len(chunk)
        tail = (tail + chunk)[-8:]
    return size, tail


def _compressed(chunks: Iterator[bytes]) -> Iterator[bytes]:
    packer = zlib.compressobj(wbits=31)  # with the header and trailer of gzip
    for chunk in chunks:
        yield packer.compress(chunk)
    yield packer.flush()


def _checksum(tail: bytes) -> int | None:
    """Return the CRC out of a gzip trailer. Clients compute nothing else, so no other file type matters."""
    if len(tail) < 8:
        return None
    checksum: int = struct.unpack("<II", tail)[0]
    return checksum
