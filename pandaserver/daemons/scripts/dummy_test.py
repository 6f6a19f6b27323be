"""Self-test of the daemon: prints who runs it, where, and whether it got what a script is promised."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any


def main(argv: Sequence[Any] = (), tbuf: object = None, lock_pool: object = None, **_: object) -> None:
    """Print one line."""
    has = {True: "yes", False: "no"}
    print(
        f"dummy_test uid={os.getuid()} pid={os.getpid()} arguments={list(argv[1:])} "
        f"tbuf={has[tbuf is not None]} lock_pool={has[lock_pool is not None]} 6*7={6 * 7}",
        flush=True,
    )


if __name__ == "__main__":
    main(sys.argv)
