"""Refresh the counts of jobs by share and queue that dispatch and brokerage go by."""

from __future__ import annotations

from typing import Any

from pandacommon.pandalogger.LogWrapper import LogWrapper
from pandacommon.pandalogger.PandaLogger import PandaLogger
from pandaserver.daemons.environment import required
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer

_log = PandaLogger().getLogger("share_statistics")


def main(argv: tuple[Any, ...] = (), tbuf: TaskBuffer | None = None, **_: Any) -> None:  # noqa: ARG001
    """Replace the snapshots."""
    rows = required(tbuf).refreshShareStatistics()
    LogWrapper(_log, None).info(f"refreshed rows={rows}")
