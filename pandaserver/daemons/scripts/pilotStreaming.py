"""Tell harvesters how many workers to submit to queues whose workers pull jobs of several shapes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pandacommon.pandalogger.LogWrapper import LogWrapper
from pandacommon.pandalogger.PandaLogger import PandaLogger
from pandaserver.daemons.environment import required
from pandaserver.taskbuffer.provisioning import StreamedQueue, streamed_queue
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer

_log = PandaLogger().getLogger("PilotStreaming")


def main(argv: tuple[Any, ...] = (), tbuf: TaskBuffer | None = None, **_: Any) -> None:  # noqa: ARG001
    """Do it once for each queue."""
    tbuf = required(tbuf)
    queues, findings = streamed_queues(tbuf.loadQueueData())
    log = LogWrapper(_log, None)
    if findings:
        log.warning(f"queues left out: {'; '.join(findings)}")
    told = {queue.name: tbuf.streamPilots(queue) for queue in queues}
    silent = sorted(name for name, instances in told.items() if not instances)
    workers = sum(sum(numbers.values()) for instances in told.values() for numbers in instances.values())
    log.info(f"told queues={len(told) - len(silent)} workers={workers}")
    if silent:
        log.info(f"no harvester has reported workers of {','.join(silent)} within an hour, so nobody can be told")


def streamed_queues(queues: Mapping[str, Mapping[str, Any]]) -> tuple[list[StreamedQueue], list[str]]:
    """Return the queues that this is about, and a finding for each that cannot be read."""
    found: list[StreamedQueue] = []
    findings: list[str] = []
    for name, data in queues.items():
        try:
            queue = streamed_queue(name, data)
        except ValueError as error:
            findings.append(f"{name}: {error}")
        else:
            found += [queue] if queue else []
    return found, findings
