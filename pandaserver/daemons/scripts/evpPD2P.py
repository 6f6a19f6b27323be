"""Event-picking requests: files ``evp.*`` in the cache directory of this machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pandacommon.pandalogger.LogWrapper import LogWrapper
from pandacommon.pandalogger.PandaLogger import PandaLogger
from pandaserver.config.plugins import plugin_for
from pandaserver.daemons.environment import configuration, required
from pandaserver.daemons.request_scripts import run_requests, tell_by_mail
from pandaserver.dataservice.request_formats import read_event_picking
from pandaserver.dataservice.request_queue import EVENT_PICKING
from pandaserver.dataservice.RequestPluginBase import NoEventIndex, Outcome
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer

_log = PandaLogger().getLogger("evpPD2P")


def main(argv: Sequence[Any] = (), tbuf: TaskBuffer | None = None, **_: Any) -> None:  # noqa: ARG001
    """Try those that are at least a minute old; give up those that are a day old."""
    tbuf, log, server = required(tbuf), LogWrapper(_log, None), configuration().server
    picker = (plugin_for(server.event_picker_plugins, server.main_vo) or NoEventIndex)(taskBuffer=tbuf, logger=log)

    def pick(text: str, _name: str) -> Outcome:
        outcome: Outcome = picker.pick(read_event_picking(text))
        return outcome

    run_requests(EVENT_PICKING, pick, tell_by_mail(tbuf, read_event_picking, "event picking", log), log)
