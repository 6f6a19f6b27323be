"""Whether a process handles a signal yet: one that is still starting would be ended by it.

Run as ``python -m pandaserver.deployment.signals PID``, it waits until Apache can be told to restart gracefully.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from signal import SIGUSR1, Signals
from typing import Final

#: Seconds that Apache may take from its first breath to its handlers: it starts the WSGI processes in between.
PATIENCE: Final = 20.0
_PAUSE: Final = 0.05


def handles(pid: int, number: Signals) -> bool:
    """Tell whether a process has a handler for a signal; one that is gone has none."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    caught = status.partition("SigCgt:")[2].split()
    return bool(caught) and bool(int(caught[0], 16) >> (number - 1) & 1)


def wait_until_handled(pid: int, number: Signals, seconds: float = PATIENCE) -> bool:
    """Wait for the handler; return whether it is there."""
    deadline = time.monotonic() + seconds
    while not handles(pid, number):
        if time.monotonic() >= deadline:
            return False
        time.sleep(_PAUSE)
    return True


if __name__ == "__main__":
    sys.exit(0 if wait_until_handled(int(sys.argv[1]), SIGUSR1) else 1)
