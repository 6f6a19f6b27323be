"""What one durable write costs here, because no commit can be quicker."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Final

_WRITES: Final = 50
_BYTES: Final = 8192


def disk_milliseconds(directory: Path) -> float:
    """Return the median time of appending a page to a file in ``directory`` and waiting for the disk."""
    durations = []
    with tempfile.TemporaryFile(dir=directory, buffering=0) as file:
        for _ in range(_WRITES):
            started = time.perf_counter()
            file.write(bytes(_BYTES))
            os.fdatasync(file.fileno())
            durations.append(time.perf_counter() - started)
    return median(durations) * 1000
