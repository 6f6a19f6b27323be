"""Files that clients leave on this machine: one flat directory, written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import struct
import tempfile
import uuid
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, NoReturn, cast

from pandaserver.srvcore.errors import BadRequest, Conflict, NotFound, StorageError

_CHUNK: Final = 2**20

#: Names stand as they are in URLs, in scripts of worker nodes and between the colons of a reply. 255 is what file
#: systems take.
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._~+=@,-]{0,254}")

#: End of the name of a file that may be written again.
_REWRITABLE: Final = "__ow__"

#: Beginnings of names of files that the server makes and later believes, and names of directories beside the uploads.
_OWN_BEGINNINGS: Final = ("evp.", "recov.", "workflow.", "hpo_cp_", "lost_file_recovery.")
_OWN_NAMES: Final = frozenset({"jedilog", "schedconfig"})


@dataclass(frozen=True, slots=True)
class StoredFile:
    """What is known of a file that was written."""

    name: str
    size: int
    checksum: int | None  # first number of the gzip trailer; None for a file too short to have one


def safe_name(name: str) -> str:
    """Return the part of a client's file name that may name a file here, or refuse it."""
    base = name.rpartition("/")[2]
    if not _NAME.fullmatch(base):
        raise BadRequest(
            f"{base[:100]!r} cannot be the name of a file: use up to 255 ASCII letters, digits and . _ ~ + = @ , - "
            "with a letter, digit or _ at the beginning"
        )
    return base


def upload_name(name: str) -> str:
    """Return the same for a file whose name a client chooses; those of the server's own files are refused, too."""
    base = safe_name(name)
    folded = base.lower()
    if folded.startswith(_OWN_BEGINNINGS) or folded in _OWN_NAMES:
        raise BadRequest(f"{base[:100]!r} is a name of the server's own files: use another one")
    return base


def is_rewritable(name: str) -> bool:
    """Return whether a file of that name may be replaced by its owner's jobs."""
    return name.rpartition(".")[2] == _REWRITABLE


@contextmanager
def storing(what: str) -> Iterator[None]:
    """Turn the system's refusal to write into :class:`StorageError`, whose message begins with what was tried."""
    try:
        yield
    except OSError as problem:
        raise StorageError(f"cannot write {what}: {os.strerror(problem.errno or 0)}") from problem


class FileCache:
    """The directory that the web server publishes as ``/cache/``."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def path(self, name: str) -> Path:
        """Return where the file of that name is, or would be."""
        return self._directory / safe_name(name)

    def has(self, name: str) -> bool:
        """Return whether there is a file of that name."""
        path = self.path(name)
        return path.is_file() and not path.is_symlink()

    def store(self, name: str, content: BinaryIO, *, compress: bool = False, replace: bool = False) -> StoredFile:
        """Write a file whole; readers never see a part of it, and it outlives a crash of the machine.

        A file that exists stays as it is, only younger, and :class:`Conflict` is raised, unless its name says that
        it may be replaced, or ``replace`` does. What the disk does not take raises :class:`StorageError`.
        """
        target = self.path(name)
        rewritable = replace or is_rewritable(target.name)
        if not rewritable and self.has(name):  # spares the disk; the link below decides
            self._refuse(name)
        with storing(f"file {target.name}"), self._temporary() as temporary:
            kept = None if compress else _named(content, temporary)
            size, tail = kept or _copied(content, temporary, compress=compress)
            if rewritable:
                os.replace(temporary, target)
            elif not _linked(temporary, target):
                self._refuse(name)
            self._sync(target, undo=not rewritable)
        return StoredFile(target.name, size, _checksum(tail))

    def touch(self, name: str) -> None:
        """Make a file young, so that it is kept; raise :class:`NotFound` if there is none."""
        if not self.has(name):
            raise NotFound(f"there is no file {safe_name(name)}")
        try:
            os.utime(self.path(name))
        except FileNotFoundError:
            raise NotFound(f"there is no file {safe_name(name)}") from None

    def remove(self, name: str) -> bool:
        """Remove a file; return whether it existed."""
        try:
            self.path(name).unlink()
        except FileNotFoundError:
            return False
        return True

    def _refuse(self, name: str) -> NoReturn:
        with contextlib.suppress(NotFound):  # it is no plain file, or has just gone
            self.touch(name)
        raise Conflict(f"cannot overwrite file {safe_name(name)}")

    @contextmanager
    def _temporary(self) -> Iterator[Path]:
        """Give a name in the same directory that nobody has, now or afterwards."""
        path = self._directory / f".upload-{uuid.uuid4()}"
        try:
            yield path
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)

    def _sync(self, target: Path, *, undo: bool) -> None:
        """Make the name of a new file last as its content does."""
        try:
            directory = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
        except OSError:
            if undo:
                target.unlink(missing_ok=True)
            raise


def _linked(temporary: Path, target: Path) -> bool:
    """Give a file its name, unless another has it; of many who try at once, one succeeds."""
    try:
        os.link(temporary, target)
    except FileExistsError:
        return False
    return True


def spool(directory: str | None) -> BinaryIO:
    """Return an empty file without a name, gone when it is closed unless :meth:`FileCache.store` gives it one."""
    if directory is not None:
        with contextlib.suppress(OSError):  # where a file system knows no such files, or is full, which the next tells
            handle = os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
            return os.fdopen(handle, "w+b")
    return cast(BinaryIO, tempfile.TemporaryFile(dir=directory))


def _named(content: BinaryIO, path: Path) -> tuple[int, bytes] | None:
    """Give a name to a file that has none, and return its size and last eight bytes; None if it must be copied."""
    try:
        handle = content.fileno()
    except OSError:  # it lies in memory
        return None
    if os.fstat(handle).st_nlink or content.tell():
        return None
    content.flush()
    try:
        os.link(f"/proc/self/fd/{handle}", path, src_dir_fd=handle, follow_symlinks=True)
    except OSError as problem:
        if problem.errno in (errno.ENOENT, errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP):
            return None  # of a kind that gets no name, or on another disk
        raise
    _settle(handle)
    size = os.fstat(handle).st_size
    return size, os.pread(handle, 8, max(0, size - 8))


def _copied(content: BinaryIO, path: Path, *, compress: bool) -> tuple[int, bytes]:
    """Copy a stream and return the number of bytes written and the last eight of them."""
    with path.open("xb") as file:
        size, tail = _copy(content, file.write, compress=compress)
        file.flush()
        _settle(file.fileno())
    return size, tail


def _settle(handle: int) -> None:
    os.fchmod(handle, 0o644)  # the web server may run under another account
    os.fsync(handle)


def _copy(content: BinaryIO, write: Callable[[bytes], object], *, compress: bool) -> tuple[int, bytes]:
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
