"""The Setupper child of a web process: reads identifiers of new jobs from its standard input and prepares the jobs.

Its lines are hints: what it loses, the daemon picks up. It ends when the pipe closes or nothing came for a while.
"""

from __future__ import annotations

import logging
import os
import select
import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial
from time import sleep
from typing import Final

from pandacommon.pandalogger.PandaLogger import PandaLogger
from pandaserver.brokerage.SiteMapper import SiteMapper
from pandaserver.config.panda_config import (
    PandaConfig,
    connection_settings,
    default_site,
    load,
    operation_settings,
    plugin_for,
)
from pandaserver.dataservice.Setupper import Setupper
from pandaserver.taskbuffer.local_bridge import LocalBridge
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer

#: Seconds that the child may go on with what it has begun after its parent is gone.
GRACE: Final = 60.0

#: Bytes read at once: as many as a pipe holds.
PIPE_SIZE: Final = 65536


def main() -> int:
    """Serve the web process at the other end of standard input."""
    config = load(os.environ)
    PandaLogger.configure(config.logger)
    config.require("server", "logger")
    logger = PandaLogger.getLogger("Setupper")
    source = sys.stdin.fileno()
    threading.Thread(target=_exit_after_hangup, args=(source,), daemon=True).start()
    logger.info("PID=%d starts", os.getpid())
    serve(source, make_setupper(config).set_up, config.server.setupper_idle, logger)
    logger.info("PID=%d ends", os.getpid())
    return 0


def make_setupper(config: PandaConfig) -> Setupper:
    """Return a Setupper on a connection of this process."""
    server = config.server
    task_buffer = TaskBuffer(LocalBridge(connection_settings(server), operation_settings(server)))
    sites = SiteMapper(task_buffer.loadSites, default_site(server), logger=PandaLogger.getLogger("SiteMapper"))
    return Setupper(task_buffer, sites, partial(plugin_for, server.setupper_plugins))


def serve(source: int, set_up: Callable[[Sequence[int]], object], idle: float, logger: logging.Logger) -> None:
    """Set up what the lines say until the pipe closes or is silent for ``idle`` seconds."""
    rest = b""
    while select.select([source], [], [], idle)[0]:
        received = os.read(source, PIPE_SIZE)
        if not received:
            return
        *lines, rest = (rest + received).split(b"\n")
        ids = [int(word) for line in lines for word in line.split() if word.isdigit()]
        try:
            if ids:
                set_up(ids)
        except Exception:  # the child's loop: one bad submission must not keep the next one waiting
            logger.exception("set-up failed jobs=%d", len(ids))


def _exit_after_hangup(source: int) -> None:
    """End the process some time after the parent is gone, even if a plug-in hangs."""
    poll = select.poll()
    poll.register(source, 0)  # hang-up is reported whatever is asked for
    poll.poll()
    sleep(GRACE)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
