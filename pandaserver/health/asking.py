"""Asking the configured database with a deadline, whatever state it is in, and without a word in the logs."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pandaserver.config.panda_config import PandaConfig, connection_settings, operation_settings
from pandaserver.config.settings import LoggerSettings
from pandaserver.taskbuffer.bridge import ChildSettings
from pandaserver.taskbuffer.ConBridge import ConBridge
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer

#: Who asks by hand reads the error; a log file made by root would be in the way of the service account.
_SILENT: Final = LoggerSettings(logdir=Path(os.devnull), log_level="CRITICAL")


@contextmanager
def patient_task_buffer(config: PandaConfig, seconds: float) -> Iterator[TaskBuffer]:
    """Give a task buffer each call of which takes at most that long: its database child is killed if it hangs."""
    logger = logging.getLogger("panda-admin.database")
    logger.propagate = False
    logger.setLevel(logging.CRITICAL)
    child = ChildSettings(connection_settings(config.server), operation_settings(config.server), _SILENT)
    bridge = ConBridge(child, logger)
    try:
        yield TaskBuffer(bridge, seconds)
    finally:
        bridge.close()
