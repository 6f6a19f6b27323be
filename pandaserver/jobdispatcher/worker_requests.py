"""Harvesters report about workers: each of them, and how many there are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final

from pandacommon.pandalogger.LogWrapper import LogWrapper
from pandacommon.pandalogger.PandaLogger import PandaLogger
from pandaserver.api.answering import Envelope, json_answer
from pandaserver.api.registry import Auth, Call, MaxLength, Wire, refuse_anonymous_readers, request
from pandaserver.jobdispatcher.harvester_replies import (
    json_of,
    pair_request,
    require_name,
    survives_database,
)
from pandaserver.jobdispatcher.harvester_values import counts_by_job_type, counts_of, worker_update
from pandaserver.srvcore.errors import BadRequest
from pandaserver.taskbuffer.worker_reports import WorkerUpdate

_logger = PandaLogger().getLogger("HarvesterRequests")

#: Workers of one transaction; harvesters send a hundred or a few hundred.
BATCH: Final = 1000

#: Job type of reports from before there were any.
NO_JOB_TYPE: Final = "DUMMY"

HarvesterId = Annotated[str, Wire("harvesterID"), MaxLength(50), "harvester instance"]


@pair_request(v1="harvester/update_workers", legacy="updateWorkers", auth=Auth.USER)
def update_workers(
    call: Call,
    harvester_id: HarvesterId,
    workers: Annotated[list[Any], Wire(read=json_of(list)), "objects with workerID, status, pandaid_list, ..."],
) -> Envelope:
    """Take what an instance says about its workers; True for each that was taken.

    Jobs whose worker has ended before them fail, if their pilots report themselves (`syncLevel` 1). That takes the
    pilot role, or jobs of the caller's own.
    """
    require_name(harvester_id)
    updates = [worker_update(item) for item in workers]
    usable = [update for update in updates if update is not None]
    owner = None if call.principal.has_pilot_role else call.principal.name
    ended = _store(call, harvester_id, usable, owner)
    log = LogWrapper(_logger, f"<harvesterID={harvester_id}>")
    log.info(f"took {len(usable)} of {len(updates)} workers{f' ended PandaIDs={ended}' if ended else ''}")
    done = [update is not None for update in updates]
    return Envelope(done, legacy=[True, done])


def _store(call: Call, harvester_id: str, updates: Sequence[WorkerUpdate], owner: str | None) -> list[int]:
    ended: list[int] = []
    for start in range(0, len(updates), BATCH):
        part = updates[start : start + BATCH]
        ended += call.task_buffer.within(call.remaining()).updateWorkers(harvester_id, part, owner)
    return ended


Statistics = Annotated[
    str | dict[str, Any], Wire("paramsList", read=json_of(dict)), "JSON text: {job type: {resource type: {status: n}}}"
]


@pair_request(v1="harvester/report_worker_statistics", legacy="reportWorkerStats_jobtype", auth=Auth.USER)
def report_worker_statistics(
    call: Call,
    harvester_id: HarvesterId,
    panda_queue: Annotated[str, Wire("siteName"), MaxLength(128), "PanDA queue"],
    statistics: Statistics,
) -> Envelope:
    """Replace what is known of an instance's workers at a queue; no workers at all is a report, too."""
    found = json_of(dict)(statistics)
    return _report(call, harvester_id, panda_queue, counts_by_job_type(found))


@pair_request(v1=None, legacy="reportWorkerStats", auth=Auth.USER)
def report_worker_statistics_without_job_type(
    call: Call,
    harvester_id: HarvesterId,
    panda_queue: Annotated[str, Wire("siteName"), MaxLength(128), "PanDA queue"],
    statistics: Annotated[
        dict[str, Any], Wire("paramsList", read=json_of(dict)), "JSON text: {resource type: {status: n}}"
    ],
) -> Envelope:
    """Replace what is known of an instance's workers at a queue, by an instance that knows no job types."""
    return _report(call, harvester_id, panda_queue, list(counts_of(statistics, NO_JOB_TYPE)))


def _report(call: Call, harvester_id: str, queue: str, counts: Sequence[tuple[str, str, str, int]]) -> Envelope:
    require_name(harvester_id)
    if not queue:
        raise BadRequest("the name of the queue is empty")
    call.task_buffer.within(call.remaining()).reportWorkerStats_jobtype(harvester_id, queue, counts)
    return Envelope(message="OK", legacy=[True, "OK"])


@request(
    v1="harvester/get_worker_statistics",
    legacy="getWorkerStats",
    method="GET",
    auth=Auth.ANYONE,
    auth_v1=Auth.USER,
    answer=json_answer,
    refused=lambda _: {},
    failed=lambda _: {},
)
@survives_database({})
def get_worker_statistics(call: Call) -> dict[str, Any]:
    """Return workers by queue, instance, job type, resource type and status, as reported in the last four hours.

    For anybody; where `anonymous_reads` is off, for callers with credentials.
    """
    refuse_anonymous_readers(call)
    return call.task_buffer.within(call.remaining()).getWorkerStats()
