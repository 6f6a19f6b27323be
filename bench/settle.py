"""The Adder as the daemon runs it, until no report waits any more (see helper.py)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from bench.helper import serve
from pandaserver.config.panda_config import connection_settings, operation_settings
from pandaserver.daemons.environment import configuration
from pandaserver.daemons.scripts.add_main import BATCH, make_adder
from pandaserver.taskbuffer.local_bridge import LocalBridge
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer


def prepare(task: Mapping[str, Any]) -> Callable[[], Mapping[str, Any]]:
    """Make the Adder; the result lets it settle all reports."""
    server = configuration().server
    task_buffer = TaskBuffer(LocalBridge(connection_settings(server), operation_settings(server)))
    task_buffer.check_database()
    adder = make_adder(task_buffer)

    def run() -> Mapping[str, Any]:
        started, cpu, count = time.perf_counter(), time.process_time(), 0
        while time.perf_counter() - started < task["seconds"]:
            taken = adder.run(BATCH, None, grace=0.0)
            count += taken
            if not taken:
                break
        elapsed, spent = time.perf_counter() - started, time.process_time() - cpu
        task_buffer.close()
        return {"count": count, "seconds": elapsed, "rate": count / elapsed, "cpu_ms": spent * 1000 / max(count, 1)}

    return run


if __name__ == "__main__":
    serve(prepare)
