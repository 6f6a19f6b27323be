"""Starting helper processes of our own: which interpreter, and how it finds this package."""

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
