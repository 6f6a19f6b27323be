"""Percentiles of durations."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence


def summary(durations: Sequence[float], elapsed: float) -> Mapping[str, float]:
    """Return how many there were, how many a second, and their percentiles in milliseconds."""
    ordered = sorted(durations)
    return {
        "count": len(ordered),
        "seconds": elapsed,
        "rate": len(ordered) / elapsed if elapsed else 0.0,
        "p50": percentile(ordered, 50),
        "p95": percentile(ordered, 95),
        "p99": percentile(ordered, 99),
    }


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Return, in milliseconds, the smallest value that so many per cent do not exceed; 0 of nothing."""
    if not ordered:
        return 0.0
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)] * 1000
