"""Appending to a log file that several processes share and that others may rotate at any time."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Final

#: Others in the group of the service account may append, too: an administrator runs a script by hand.
_MODE: Final = 0o664


class SharedFileHandler(logging.Handler):
    """Write each record with one ``write()`` in append mode, so that lines of several processes never mix.

    The file is opened by the first record, and again when the name leads to another file than the open one. When the
    file cannot be opened or written, the record goes to stderr, and the next record tries again.
    """

    def __init__(self, path: Path, formatter: logging.Formatter) -> None:
        super().__init__()
        self.path = path
        self.setFormatter(formatter)
        self._descriptor: int | None = None
        self._identity = (0, 0)

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line of a record."""
        data = line_of(self, record)
        try:
            written = os.write(self._current(), data)
        except OSError as error:
            _complain(self.path, error, data)
        else:
            if written < len(data):  # the disk is full, or a limit of file size is met
                _complain(self.path, OSError("incomplete write"), data)

    def close(self) -> None:
        """Close the file; a later record would open it again."""
        self._forget()
        super().close()

    def _current(self) -> int:
        """Return the descriptor of the file that has our name now."""
        if self._descriptor is not None and _identity(self.path) == self._identity:
            return self._descriptor
        self._forget()
        descriptor = open_shared(self.path)
        found = os.fstat(descriptor)
        self._descriptor, self._identity = descriptor, (found.st_dev, found.st_ino)
        return descriptor

    def _forget(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class StderrHandler(logging.Handler):
    """Where records go before the log directory is known: warnings and above to the stderr of the moment."""

    def __init__(self, formatter: logging.Formatter, level: int = logging.WARNING) -> None:
        super().__init__(level)
        self.setFormatter(formatter)

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line of a record."""
        _to_stderr(line_of(self, record))


class StdoutHandler(logging.Handler):
    """A copy of every record on stdout, for containers."""

    def __init__(self, formatter: logging.Formatter) -> None:
        super().__init__()
        self.setFormatter(formatter)

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line of a record."""
        try:
            os.write(1, line_of(self, record))
        except OSError as error:
            _complain(Path("stdout"), error, b"")


def open_shared(path: Path) -> int:
    """Open for appending; a new file gets a mode that the umask cannot narrow."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags | os.O_EXCL, _MODE)
    except FileExistsError:
        return os.open(path, flags, _MODE)
    os.fchmod(descriptor, _MODE)
    return descriptor


def line_of(handler: logging.Handler, record: logging.LogRecord) -> bytes:
    """Return the bytes of a record. One that cannot be formatted becomes a line that says so."""
    try:
        text = handler.format(record)
    except Exception as error:  # noqa: BLE001 - the arguments of a caller's record may fail in any way
        text = f"unreadable log record of {record.pathname}:{record.lineno}: {error!r}"
    return f"{text}\n".encode("utf-8", "backslashreplace")


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _complain(path: Path, error: OSError, data: bytes) -> None:
    _to_stderr(f"cannot log to {path}: {error}\n".encode("utf-8", "backslashreplace") + data)


def _to_stderr(data: bytes) -> None:
    # Through sys.stderr, not descriptor 2: under mod_wsgi only the former reaches the error log of Apache.
    if sys.stderr is None:
        return
    try:
        sys.stderr.write(data.decode("utf-8", "replace"))
        sys.stderr.flush()
    except (OSError, ValueError):  # closed or broken: there is nowhere left to tell
        return
