"""Harvester instances tell that they are alive, what they complain about, and how their machines are."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pandacommon.pandalogger.LogWrapper import LogWrapper
from pandacommon.pandalogger.PandaLogger import PandaLogger
from pandaserver.api.answering import Envelope, json_answer
from pandaserver.api.registry import Auth, Call, MaxLength, Wire, refuse_anonymous_readers, request
from pandaserver.jobdispatcher.harvester_replies import (
    json_of,
    optional_json_of,
    pair_request,
    require_name,
)
from pandaserver.jobdispatcher.harvester_values import (
    announced_commands,
    dialogs_of,
    metrics_of,
    text_of,
    time_of,
)
from pandaserver.jobdispatcher.worker_requests import BATCH, HarvesterId
from pandaserver.taskbuffer.worker_reports import InstanceBeat

_logger = PandaLogger().getLogger("HarvesterRequests")

#: Characters of a name that the table of instances takes.
_NAME: Final = 100


@pair_request(v1="harvester/heartbeat", legacy="harvesterIsAlive", auth=Auth.USER, away="database error")
def heartbeat(
    call: Call,
    harvester_id: HarvesterId,
    data: Annotated[
        dict[str, Any] | None,
        Wire(read=optional_json_of(dict)),
        "startTime, sw_version, commit_stamp, and commands that the instance understands; anything else is ignored",
    ] = None,
) -> Envelope:
    """Record a sign of life of an instance; the first one registers it.

    Its sender owns it then. Only callers with the pilot role take over what others own.
    """
    require_name(harvester_id)
    said = data or {}
    beat = InstanceBeat(
        harvester_id,
        call.principal.name[:_NAME],
        text_of(call.remote_host or call.environ.get("REMOTE_ADDR"), _NAME),
        time_of(said.get("startTime")),
        text_of(said.get("sw_version"), 50),
        text_of(said.get("commit_stamp"), _NAME),
        tuple(announced_commands(said.get("commands"))),
        may_take_over=call.principal.has_pilot_role,
    )
    known = call.task_buffer.within(call.remaining()).harvesterIsAlive(beat)
    if not known:
        LogWrapper(_logger, f"<harvesterID={harvester_id}>").info(f"registered owner={beat.owner} host={beat.host}")
    return Envelope(message="succeeded", legacy=[True, "succeeded"])


@pair_request(v1="harvester/add_dialogs", legacy="addHarvesterDialogs", auth=Auth.USER)
def add_dialogs(
    call: Call,
    harvester_id: HarvesterId,
    dialogs: Annotated[
        list[Any],
        Wire(read=json_of(list)),
        "objects with diagID, moduleName, identifier, creationTime, messageLevel and diagMessage",
    ],
) -> Envelope:
    """Store what an instance complains about; a number that comes again replaces what it said before."""
    require_name(harvester_id)
    rows = list(dialogs_of(dialogs))
    for start in range(0, len(rows), BATCH):
        part = rows[start : start + BATCH]
        call.task_buffer.within(call.remaining()).addHarvesterDialogs(harvester_id, part)
    if len(rows) < len(dialogs):
        _logger.warning(f"<harvesterID={harvester_id}> {len(dialogs) - len(rows)} dialogs had no number")
    return Envelope(legacy=[True, ""])


@pair_request(v1="harvester/update_service_metrics", legacy="updateServiceMetrics", auth=Auth.USER)
def update_service_metrics(
    call: Call,
    harvester_id: HarvesterId,
    metrics: Annotated[list[Any], Wire(read=json_of(list)), "lists of time, host, and measurements as JSON text"],
) -> Envelope:
    """Store how the machines of an instance are."""
    require_name(harvester_id)
    rows = list(metrics_of(metrics))
    if rows:
        call.task_buffer.within(call.remaining()).updateServiceMetrics(harvester_id, rows)
    if len(rows) < len(metrics):
        _logger.warning(f"<harvesterID={harvester_id}> {len(metrics) - len(rows)} metrics could not be read")
    return Envelope([True], legacy=[True, [True]])


@request(
    v1="harvester/get_current_worker_id",
    legacy="get_max_worker_id",
    method="GET",
    auth=Auth.ANYONE,
    auth_v1=Auth.USER,
    answer=json_answer,
    refused=lambda _: None,
    failed=lambda _: None,
)
def get_current_worker_id(call: Call, harvester_id: Annotated[str, MaxLength(50), "harvester instance"]) -> int | None:
    """Return the highest number that a worker of an instance has; null for an instance without workers.

    For anybody; where `anonymous_reads` is off, for callers with credentials.
    """
    refuse_anonymous_readers(call)
    return call.task_buffer.within(call.remaining()).get_max_worker_id(harvester_id)
