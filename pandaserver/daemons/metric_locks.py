"""Each metric is computed by one machine at a time, and not more often than it needs: a lock of its own."""

from __future__ import annotations

import zlib
from typing import Final

from pandaserver.daemons.environment import owner
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer

#: Seconds by which a period may be cut short, because the daemon does not come to the second.
_SLACK: Final = 10.0


def is_due(tbuf: TaskBuffer, prefix: str, metric: str, minutes: float) -> bool:
    """Take the lock of a metric for so many minutes; False if some machine had it meanwhile."""
    component = f"{prefix}.{metric}.{zlib.adler32(metric.encode()):08x}"
    return tbuf.lockMetric(component, owner(), minutes * 60 - _SLACK)
