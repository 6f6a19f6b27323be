"""Many callers at the same time, each on a connection of its own."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pandaserver.taskbuffer.connection_settings import ConnectionSettings, OperationSettings
from pandaserver.taskbuffer.local_bridge import LocalBridge
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer

#: Callers at a time.
WORKERS = 6


def at_once(database: ConnectionSettings, act: Callable[[TaskBuffer, int], Any], times: int) -> list[Any]:
    """Return what ``act`` returned on as many connections, all busy at the same time."""
    buffers = [TaskBuffer(LocalBridge(database, OperationSettings(hostname="h"))) for _ in range(WORKERS)]
    try:
        with ThreadPoolExecutor(WORKERS) as pool:
            return list(pool.map(lambda n: act(buffers[n % WORKERS], n), range(times)))
    finally:
        for buffer in buffers:
            buffer.close()
