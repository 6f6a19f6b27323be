"""Searching one log file in a time that grows with its length only, whatever is searched for."""

from __future__ import annotations

import gzip
import os
import re
import stat
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import IO, Final

from pandaserver.srvcore.errors import BadRequest, NotFound

#: Names of files that may be searched.
FILE_NAME: Final = re.compile(r"panda-[\w.+-]*\.(?:log|gz)", re.ASCII)

#: Characters of a pattern.
LONGEST_PATTERN: Final = 500

#: Bytes of a line that are looked at; the rest of a longer one counts as the next line.
LONGEST_LINE: Final = 64 * 1024

#: What stands for any text between two parts of a pattern.
GAP: Final = ".*"


class Pattern:
    r"""A text that a line contains; ``.*`` stands for anything, ``^`` and ``$`` at the ends for the ends of a line.

    Everything else means itself, and a backslash takes the meaning from what follows. Nothing is tried twice, so that
    no pattern is slow.
    """

    def __init__(self, text: str) -> None:
        if not text or len(text) > LONGEST_PATTERN or "\n" in text:
            raise BadRequest(f"a pattern has 1 to {LONGEST_PATTERN} characters in one line")
        self._at_start, text = text.startswith("^"), text.removeprefix("^")
        self._at_end = text.endswith("$") and not text.endswith("\\$")
        parts = re.split(r"(?<!\\)\.\*", text.removesuffix("$") if self._at_end else text)
        self._parts = [re.sub(r"\\(.)", r"\1", part).encode() for part in parts]

    def matches(self, line: bytes) -> bool:
        """Tell whether a line, without its end, contains the text."""
        parts, place = self._parts, 0
        if self._at_start and not line.startswith(parts[0]):
            return False
        for part in parts[:-1] if self._at_end else parts:
            found = line.find(part, place)
            if found < 0:
                return False
            place = found + len(part)
        if not self._at_end:
            return True
        if len(parts) == 1 and self._at_start:
            return line == parts[0]
        return len(line) - len(parts[-1]) >= place and line.endswith(parts[-1])


@dataclass(frozen=True, slots=True)
class Found:
    """Lines that match. ``truncated`` says that there may be more: too many of them, or no time left."""

    lines: tuple[str, ...]
    truncated: bool


def check_file_name(name: str) -> str:
    """Return a name that may be searched, or raise BadRequest."""
    if not FILE_NAME.fullmatch(name) or ".." in name or len(name) > 200:
        raise BadRequest(f"'log_filename' must be like panda-<name>.log or panda-<name>.gz, got {name[:100]!r}")
    return name


def search(directory: Path, name: str, pattern: Pattern, *, seconds: float, most_bytes: int) -> Found:
    """Return the lines of a log that match, in their order, as many as fit into so many seconds and bytes."""
    deadline, size = monotonic() + seconds, 0
    lines: list[str] = []
    with _opened(directory / check_file_name(name)) as file:
        for line in _lines(file):
            if monotonic() > deadline:
                return Found(tuple(lines), truncated=True)
            if not pattern.matches(line):
                continue
            size += len(line) + 1
            if size > most_bytes:
                return Found(tuple(lines), truncated=True)
            lines.append(line.decode(errors="replace").replace("\0", "?"))
    return Found(tuple(lines), truncated=False)


def _opened(path: Path) -> IO[bytes]:
    """Open a plain file that is no link: a link could lead out of the directory of logs."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as problem:
        raise NotFound(f"{path.name} cannot be read on this machine: {problem.strerror}") from problem
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise NotFound(f"{path.name} is no plain file")
    file = os.fdopen(handle, "rb")
    return gzip.GzipFile(fileobj=file) if path.name.endswith(".gz") else file  # type: ignore[return-value]


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    try:
        yield from (line.rstrip(b"\r\n") for line in _pieces(file))
    except (OSError, EOFError, zlib.error) as problem:
        raise NotFound(f"the log is damaged: {problem}") from problem


def _pieces(file: IO[bytes]) -> Iterable[bytes]:
    return iter(lambda: file.readline(LONGEST_LINE), b"")
