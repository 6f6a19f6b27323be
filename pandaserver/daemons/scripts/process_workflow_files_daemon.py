"""Workflow requests: files ``workflow.*`` in the cache directory of this machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pandacommon.pandalogger.LogWrapper import LogWrapper
from pandacommon.pandalogger.PandaLogger import PandaLogger
from pandaserver.config.plugins import plugin_for
from pandaserver.daemons.environment import configuration, required
from pandaserver.daemons.request_scripts import run_requests, tell_by_mail
from pandaserver.dataservice.request_formats import read_workflow
from pandaserver.dataservice.request_queue import WORKFLOW
from pandaserver.dataservice.RequestPluginBase import NoWorkflowEngine, Outcome
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer

_log = PandaLogger().getLogger("process_workflow_files")


def main(argv: Sequence[Any] = (), tbuf: TaskBuffer | None = None, **_: Any) -> None:  # noqa: ARG001
    """Try those that are at least five seconds old; give up those that are two hours old."""
    tbuf, log, server = required(tbuf), LogWrapper(_log, None), configuration().server
    engine = (plugin_for(server.workflow_plugins, server.main_vo) or NoWorkflowEngine)(taskBuffer=tbuf, logger=log)

    def run(text: str, _name: str) -> Outcome:
        outcome: Outcome = engine.run(read_workflow(text))
        return outcome

    run_requests(WORKFLOW, run, tell_by_mail(tbuf, read_workflow, "workflow submission", log), log)
