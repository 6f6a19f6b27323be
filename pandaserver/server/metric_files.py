"""The files in which processes count: those of processes that are gone are added up in one, so they stay few."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from prometheus_client.mmap_dict import MmapedDict

#: Stands for a process id in the name of the file of all that are gone.
GONE: Final = "0"


@contextmanager
def reading_metrics(directory: Path) -> Iterator[None]:
    """Gather what ended processes counted, and keep others from doing that while the files are read."""
    with (directory / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for path in directory.glob("*.db"):
            kind, _, pid = path.stem.rpartition("_")
            if pid != GONE and not Path("/proc", pid).exists():
                _gather(path, kind)
        yield


def _gather(path: Path, kind: str) -> None:
    """Add the counts of one file to those of all that are gone. What is about living processes goes with them."""
    if not kind.startswith("gauge_live"):
        together = MmapedDict(str(path.with_name(f"{kind}_{GONE}.db")))
        try:
            for key, value, timestamp, _ in MmapedDict.read_all_values_from_file(str(path)):
                together.write_value(key, together.read_value(key)[0] + value, timestamp)
        finally:
            together.close()
    path.unlink()
