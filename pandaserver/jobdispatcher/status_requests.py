"""Questions of pilots and harvesters that move no job: states of jobs, workers, resource types."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final
from urllib.parse import urlencode

from pandaserver.api.answering import FAILED, TIMEOUT, Envelope, PilotReply, Text, json_answer, pilot_answer
from pandaserver.api.registry import (
    AlsoText,
    Auth,
    Call,
    Lenient,
    Wire,
    comma_separated,
    refuse_anonymous_readers,
    request,
    words,
)
from pandaserver.jobdispatcher.callers import require_pilot, task_buffer_for
from pandaserver.jobdispatcher.Protocol import SC_SUCCESS
from pandaserver.srvcore.errors import BadRequest, Busy, DatabaseError, OutcomeUnknown
from pandaserver.taskbuffer.db_proxy_mods.worker import PILOT_SAYS
from pandaserver.taskbuffer.kill import TO_BE_KILLED
from pandaserver.taskbuffer.requests import JobState, WorkerStatus

#: Jobs that one request may name; the rest is cut off.
MAX_IDS: Final = 5500

#: What an identifier that is no number becomes: no job has it.
NO_ID: Final = -1


def _ids(texts: Sequence[str]) -> list[int]:
    return [int(text) if text.isdecimal() and len(text) < 19 else NO_ID for text in texts[:MAX_IDS]]


def _spaced_ids(raw: Any) -> list[int]:
    return _ids(words(raw if isinstance(raw, str) else str(raw)))


def _listed_ids(raw: Any) -> list[int]:
    return _ids(comma_separated(raw if isinstance(raw, str) else str(raw)))


@request(
    v1="pilot/get_job_status",
    legacy="getStatus",
    method="GET",
    auth=Auth.ANYONE,
    auth_v1=Auth.USER,
    answer=pilot_answer,
)
def get_job_status(
    call: Call,
    job_ids: Annotated[list[int], Wire("ids", read=_spaced_ids), "jobs that are ready, at work or have ended"],
    timeout: Annotated[int | None, "seconds that the caller waits"] = 60,
) -> Envelope:
    """Tell status and attempt number of jobs, in the order in which they are named.

    For anybody; where `anonymous_reads` is off, for callers with credentials.
    """
    refuse_anonymous_readers(call)
    states = task_buffer_for(call, timeout).getJobStates(job_ids[:MAX_IDS])
    text = {
        "StatusCode": SC_SUCCESS,
        "status": "+".join(state.status or "notfound" for state in states),
        "attemptNr": "+".join(str(state.attempt_nr) for state in states),
    }
    return Envelope([_for_pilots(state) for state in states], legacy=Text(urlencode(text)))


@request(
    v1="job/get_status",
    legacy="checkJobStatus",
    method="GET",
    auth=Auth.ANYONE,
    auth_v1=Auth.USER,
    answer=json_answer,
    failed=lambda message: {"StatusCode": 30, "errorDialog": message},
)
def check_job_status(
    call: Call,
    job_ids: Annotated[list[int], Wire("ids", read=_listed_ids), "jobs that are at work or have ended lately"],
    timeout: Annotated[int | None, "seconds that the caller waits"] = 60,
) -> Envelope:
    """Tell status and pending command of jobs; a job that nobody knows any more is to be killed.

    For anybody; where `anonymous_reads` is off, for callers with credentials.
    """
    refuse_anonymous_readers(call)
    try:
        states = task_buffer_for(call, timeout).checkJobStates(job_ids[:MAX_IDS])
    except DatabaseError as problem:
        problem.details["data"] = {"code": TIMEOUT if isinstance(problem, OutcomeUnknown | Busy) else FAILED}
        raise
    data = [_for_harvesters(state) for state in states]
    return Envelope(data, legacy={"StatusCode": SC_SUCCESS, "data": data})


def _for_pilots(state: JobState) -> dict[str, Any]:
    return {"job_id": state.PandaID, "status": state.status or "not found", "attempt_number": state.attempt_nr}


def _for_harvesters(state: JobState) -> dict[str, Any]:
    if state.status is None:
        return {"status": "unknown", "command": TO_BE_KILLED}
    return {"status": state.status, "command": state.command}


@request(
    v1="pilot/update_worker_status",
    legacy="updateWorkerPilotStatus",
    method="POST",
    auth=Auth.ANYONE,
    auth_v1=Auth.PILOT,
    answer=pilot_answer,
    refused=Text,
    failed=Text,
)
def update_worker_status(
    call: Call,
    worker_id: Annotated[int, Wire("workerID"), AlsoText, "worker that runs the pilot"],
    harvester_id: Annotated[str, Wire("harvesterID"), "instance that submitted it"],
    status: Annotated[str, "started or finished"],
    site: Annotated[str | None, Wire(only="legacy"), "queue"] = None,
    timeout: Annotated[int | None, "seconds that the caller waits"] = 60,
    node_id: Annotated[str | None, Lenient, "worker node"] = None,
) -> Envelope:
    """Record the beginning or end of a pilot on its worker; a worker that nobody knows is no error.

    For pilots, by role or as an owner of pilots of the queue.
    """
    queue = require_pilot(call, site)
    if status not in PILOT_SAYS:
        raise BadRequest(f"Invalid pilot status {status[:40]!r}: it must be one of {', '.join(PILOT_SAYS)}")
    said = WorkerStatus(harvester_id, worker_id, status, node_id or None, queue)
    task_buffer_for(call, timeout).updateWorkerPilotStatus(said)
    return Envelope(legacy=PilotReply(SC_SUCCESS))


@request(
    v1="metaconfig/get_resource_types",
    legacy="getResourceTypes",
    method="GET",
    auth=Auth.ANYONE,
    auth_v1=Auth.USER,
    answer=pilot_answer,
)
def get_resource_types(
    call: Call, timeout: Annotated[int | None, Wire(only="legacy"), "seconds that the caller waits"] = 30
) -> Envelope:
    """List the resource types with their bounds.

    For anybody.
    """
    types = task_buffer_for(call, timeout).loadResourceTypes()
    # In the form without JSON the pilot understands the list as Python prints it, and nothing else.
    listed = types if call.accepts_json else str(types)
    return Envelope(types, legacy=PilotReply(SC_SUCCESS, {"Returns": 0, "ResourceTypes": listed}))
