"""Growing, jittered pauses after failures, so that many processes do not retry in step."""

from __future__ import annotations

import random


class Backoff:
    """Doubles the pause with every failure in a row, from ``first`` up to ``limit`` seconds."""

    def __init__(self, first: float = 1.0, limit: float = 60.0) -> None:
        self.first = first
        self.limit = limit
        self.failures = 0

    def failed(self) -> float:
        """Count a failure and return the seconds to pause before the next attempt."""
        pause = min(self.limit, self.first * 2.0 ** min(self.failures, 30))
        self.failures += 1
        return random.uniform(0.5, 1.0) * pause

    def succeeded(self) -> None:
        """Forget the failures."""
        self.failures = 0
