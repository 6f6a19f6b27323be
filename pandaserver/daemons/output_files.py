"""What a process prints goes on in a file of the same name when somebody rotates the file away."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pandacommon.pandalogger.file_handler import open_shared

_STANDARD: Final = (1, 2)


class OutputFiles:
    """The files behind stdout and stderr, as they are called when this object is made; pipes and terminals stay.

    Nothing is lost: whoever has not looked yet prints to the renamed file.
    """

    def __init__(self, descriptors: Sequence[int] = _STANDARD) -> None:
        self._paths = {number: path for number in descriptors if (path := _path_of(number)) is not None}
        self._complained: set[Path] = set()

    def follow(self) -> None:
        """Open again whatever has another name now. What cannot be opened stays as it is, which is told once."""
        for number, path in self._paths.items():
            if _identity(path) == _identity(number):
                continue
            sys.stdout.flush()
            sys.stderr.flush()
            try:
                new = open_shared(path)
            except OSError as error:
                if path not in self._complained:
                    self._complained.add(path)
                    print(f"cannot open {path}, so output goes on to the former file: {error}", file=sys.stderr)
                continue
            os.dup2(new, number)  # inherited by what scripts start
            os.close(new)
            self._complained.discard(path)


def _path_of(number: int) -> Path | None:
    """Return the name of an open file, None if it has none."""
    try:
        if not stat.S_ISREG(os.fstat(number).st_mode):
            return None
    except OSError:  # closed
        return None
    path = Path(os.readlink(f"/proc/self/fd/{number}"))
    return path if _identity(path) == _identity(number) else None  # else it was deleted


def _identity(file: Path | int) -> tuple[int, int] | None:
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_dev, found.st_ino
