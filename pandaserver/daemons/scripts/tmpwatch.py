"""Remove old temporary files that this account left behind."""

from __future__ import annotations

import argparse
import glob
import os
import stat
from collections.abc import Iterable, Sequence
from time import time
from typing import Any, Final

from pandacommon.pandalogger.LogWrapper import LogWrapper
from pandacommon.pandalogger.PandaLogger import PandaLogger

_log = PandaLogger().getLogger("tmpwatch")

PATTERNS: Final = ("/tmp/tmp*", "/tmp/atlpan/tmp*", "/tmp/pansrv/tmp*")


def main(argv: Sequence[Any] = (), patterns: Iterable[str] = PATTERNS, **_: Any) -> None:
    """Remove them. Options: ``-h`` hours that a file must be old (12), ``-t`` only tell what would be removed."""
    parser = argparse.ArgumentParser(prog="tmpwatch", add_help=False)
    parser.add_argument("-h", dest="hours", type=float, default=12)
    parser.add_argument("-t", dest="test", action="store_true")
    options = parser.parse_args([str(argument) for argument in argv[1:]])
    removed = remove_old(patterns, options.hours * 3600, test=options.test)
    LogWrapper(_log, None).info(f"{'would remove' if options.test else 'removed'} files={removed}")


def remove_old(patterns: Iterable[str], seconds: float, *, test: bool = False) -> int:
    """Remove plain files of ours that match and were not changed for that long; return how many."""
    removed = 0
    for path in sorted({path for pattern in patterns for path in glob.glob(pattern)}):
        try:
            facts = os.lstat(path)
            if _is_ours(facts) and time() - facts.st_mtime > seconds:
                if not test:
                    os.unlink(path)
                removed += 1
        except FileNotFoundError:  # somebody else was faster
            continue
    return removed


def _is_ours(facts: os.stat_result) -> bool:
    return stat.S_ISREG(facts.st_mode) and facts.st_uid == os.getuid() and bool(facts.st_mode & stat.S_IWUSR)
