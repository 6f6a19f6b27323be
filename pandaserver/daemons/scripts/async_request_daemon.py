"""Carry out what operators ask of this machine: searching its logs, or showing that it lives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import sleep
from typing import Any, Final

from pandacommon.pandalogger.LogWrapper import LogWrapper
from pandacommon.pandalogger.PandaLogger import PandaLogger
from pandaserver.daemons.environment import configuration, required
from pandaserver.dataservice.log_search import Pattern, search
from pandaserver.srvcore.errors import PandaError
from pandaserver.taskbuffer.async_requests import DONE, FAILED, GREP, MOST_TEXT, SERVICE, SLEEP_ECHO, MachineAnswer
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer

_log = PandaLogger().getLogger("async_request_daemon")

#: Seconds that one search may take.
SEARCH_SECONDS: Final = 60.0

#: Seconds that a machine may be told to sleep.
MOST_SLEEP: Final = 60.0

#: Days for which requests and answers are kept.
KEPT_DAYS: Final = 7.0


def main(argv: Sequence[Any] = (), tbuf: TaskBuffer | None = None, **_: Any) -> None:  # noqa: ARG001
    """Say that this machine lives, do what waits for it, one request after the other, and forget old ones."""
    tbuf = required(tbuf)
    machine = configuration().server.pserverhost
    log = LogWrapper(_log, None)
    for order in tbuf.takeAsyncOrders(machine, SERVICE):
        answer = carry_out(order.kind, order.parameters, configuration().logger.logdir)
        tbuf.storeAsyncAnswer(order.request_id, machine, answer)
        log.info(f"request={order.request_id} kind={order.kind} status={answer.status} error={answer.error!r}")
    tbuf.forgetAsyncRequests(KEPT_DAYS)


def carry_out(kind: str, parameters: Mapping[str, Any], logs: Path) -> MachineAnswer:
    """Do one thing; what goes wrong with it is part of the answer."""
    action = ACTIONS.get(kind)
    if action is None:
        return MachineAnswer(FAILED, return_code=2, error=f"this machine does not know requests of the kind {kind!r}")
    try:
        return action(parameters, logs)
    except PandaError as problem:
        return MachineAnswer(FAILED, return_code=2, error=problem.message)


def _grep(parameters: Mapping[str, Any], logs: Path) -> MachineAnswer:
    pattern = Pattern(str(parameters.get("pattern", "")))
    name = str(parameters.get("log_filename", ""))
    found = search(logs, name, pattern, seconds=SEARCH_SECONDS, most_bytes=MOST_TEXT)
    return MachineAnswer(DONE, "\n".join(found.lines), 0 if found.lines else 1, found.truncated)


def _sleep_echo(parameters: Mapping[str, Any], _logs: Path) -> MachineAnswer:
    sleep(min(max(float(parameters.get("seconds", 0)), 0.0), MOST_SLEEP))
    return MachineAnswer(DONE, str(parameters.get("message", "")))


ACTIONS: Final[Mapping[str, Callable[[Mapping[str, Any], Path], MachineAnswer]]] = {
    GREP: _grep,
    SLEEP_ECHO: _sleep_echo,
}
