"""Releases of other people's programs that are fetched once and kept beside what is installed for this server."""

from __future__ import annotations

import fcntl
import sys
from collections.abc import Callable
from pathlib import Path


def kept(kind: str, version: str, make: Callable[[Path], None]) -> Path:
    """Return the directory of a release of a program; ``make`` fills it at first use, once at a time.

    Where ``make`` fails nothing counts as kept, and the next caller begins again.
    """
    home = Path(sys.prefix) / kind
    home.mkdir(exist_ok=True)
    complete = home / f"{version}.complete"
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not complete.exists():
            make(home / version)
            complete.touch()
    return home / version
