"""Tell harvesters about workers whose pilots have been further than the harvester knows for an hour."""

from __future__ import annotations

from typing import Any, Final

from pandacommon.pandalogger.LogWrapper import LogWrapper
from pandacommon.pandalogger.PandaLogger import PandaLogger
from pandaserver.daemons.environment import required
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer

_log = PandaLogger().getLogger("worker_sync")

#: Workers of each command that one transaction takes.
BATCH: Final = 5000


def main(argv: tuple[Any, ...] = (), tbuf: TaskBuffer | None = None, **_: Any) -> None:  # noqa: ARG001
    """Tell them until nobody is left who was not told lately."""
    total: dict[str, int] = {}
    batch = BATCH
    while batch == BATCH:
        told = required(tbuf).synchronizeWorkers(BATCH)
        total = {command: total.get(command, 0) + number for command, number in told.items()}
        batch = max(told.values())
    LogWrapper(_log, None).info("told " + " ".join(f"{command}={number}" for command, number in total.items()))
