"""Set up jobs whose Setupper was lost, and look for a queue again where there was none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pandacommon.pandalogger.LogWrapper import LogWrapper
from pandacommon.pandalogger.PandaLogger import PandaLogger
from pandaserver.config.plugins import plugin_for
from pandaserver.daemons.environment import configuration, required, site_mapper
from pandaserver.dataservice.Setupper import LOST_AFTER, RETRY_AFTER, Setupper
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer

_log = PandaLogger().getLogger("setup_lost_jobs")


def main(argv: Sequence[Any] = (), tbuf: TaskBuffer | None = None, **_: Any) -> None:
    """Work through both. Arguments: seconds after which a job counts as lost, and as to be tried again."""
    tbuf = required(tbuf)
    lost_after = float(argv[1]) if len(argv) > 1 else LOST_AFTER
    retry_after = float(argv[2]) if len(argv) > 2 else RETRY_AFTER
    plugins = configuration().server.setupper_plugins
    setupper = Setupper(tbuf, site_mapper(tbuf), lambda vo: plugin_for(plugins, vo))
    lost = setupper.pick_up_lost(lost_after)
    placed = setupper.retry_waiting(retry_after)
    LogWrapper(_log, None).info(f"set up lost={len(lost)} placed={len(placed)}")
