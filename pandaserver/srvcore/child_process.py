"""Helper processes of our own: which interpreter runs them, how it finds this package, how large they are."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pandaserver


def command_of(module: str, *arguments: str) -> list[str]:
    """Return the command line that runs a module of ours."""
    # sys.executable names httpd under mod_wsgi. -P keeps the working directory out of the module search path.
    return [f"{sys.prefix}/bin/python3", "-P", "-m", module, *arguments]


def environment() -> dict[str, str]:
    """Make the child find this very package when it is not installed but found by a path of the parent's."""
    root = Path(pandaserver.__file__).parents[1]
    if root.is_relative_to(sys.prefix):
        return dict(os.environ)
    found_before = os.environ.get("PYTHONPATH", "")
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(root), found_before]))}


def resident_megabytes(pid: int) -> int:
    """Return how much memory a process uses now, 0 if it is gone."""
    try:
        with open(f"/proc/{pid}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 2**20
    except (FileNotFoundError, ProcessLookupError):
        return 0
