"""Pilots and harvesters report about jobs, one or many at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Final

from pandacommon.pandalogger.LogWrapper import LogWrapper
from pandacommon.pandalogger.PandaLogger import PandaLogger
from pandaserver.api.answering import Envelope, PilotReply, heartbeat_answer, json_answer, pilot_answer
from pandaserver.api.parameters import Signature
from pandaserver.api.registry import (
    Auth,
    Call,
    Door,
    MaxLength,
    Wire,
    largest_body,
    request,
)
from pandaserver.jobdispatcher.callers import (
    NO_ROLE,
    is_pilot,
    only_queue,
    require_pilot,
    require_valid_token,
    task_buffer_for,
)
from pandaserver.jobdispatcher.heartbeat_fields import report_of, takes_heartbeat
from pandaserver.jobdispatcher.Protocol import NULL, SC_FAILED, SC_INVALID, SC_ROLE, SC_SUCCESS
from pandaserver.srvcore.errors import BadRequest
from pandaserver.taskbuffer.kill import TO_BE_KILLED
from pandaserver.taskbuffer.requests import Reception, StatusReport, UpdateOutcome

_logger = PandaLogger().getLogger("JobDispatcher")

#: States that a pilot may report.
STATES: Final = ("running", "failed", "finished", "holding", "starting", "transferring")

#: Characters of a pilot's log that are kept.
LOG_LIMIT: Final = 4000

#: Most heartbeats of one request; harvesters send a hundred.
MAX_REPORTS: Final = 1000


@request(
    v1="pilot/update_job",
    legacy="updateJob",
    method="POST",
    auth=Auth.ANYONE,
    auth_v1=Auth.USER,
    answer=heartbeat_answer,
    body_limit=largest_body,
)
@takes_heartbeat
def update_job(call: Call, **fields: Any) -> Envelope:
    """Take one heartbeat; `finished` and `failed` make the job `holding` until its outputs are settled.

    For pilots, by role or as an owner of pilots of the queue.
    """
    queue = require_pilot(call, fields.get("site_name"))
    require_valid_token(call, fields.get("token"), fields.get("timeout"))
    report = _readable_report(call, fields, queue)
    if not isinstance(report, StatusReport):
        return report
    return _answer(_logged(task_buffer_for(call, fields.get("timeout")).updateJobStatus(report), fields))


_HEARTBEAT: Final = Signature(update_job)


@request(
    v1="pilot/update_jobs_bulk",
    legacy="updateJobsInBulk",
    method="POST",
    auth=Auth.ANYONE,
    auth_v1=Auth.USER,
    answer=json_answer,
    failed=lambda message: [False, message],
    body_limit=largest_body,
)
def update_jobs_bulk(
    call: Call,
    job_list: Annotated[list[Any], Wire("jobList"), MaxLength(MAX_REPORTS), "parameters of update_job, job by job"],
    harvester_id: Annotated[str | None, "who reports; for the log"] = None,
) -> Envelope:
    """Take many heartbeats in one transaction and answer each, in their order.

    For pilots, by role or as an owner of pilots of the queue of each heartbeat.
    """
    answers: list[Envelope | None] = [None] * len(job_list)
    readable: list[tuple[int, StatusReport, Mapping[str, Any]]] = []
    for place, item in enumerate(job_list):
        taken = _item(call, item)
        if isinstance(taken, Envelope):
            answers[place] = taken
        else:
            readable.append((place, *taken))
    reports = [report for _, report, _ in readable]
    outcomes = call.task_buffer.within(call.remaining()).updateJobsInBulk(reports) if reports else []
    for (place, _, fields), outcome in zip(readable, outcomes, strict=True):
        answers[place] = _answer(_for_harvesters(_logged(outcome, fields)))
    _logger.info(f"took {len(readable)} of {len(job_list)} heartbeats harvester={harvester_id}")
    complete = [answer for answer in answers if answer is not None]
    return Envelope(
        data=[_v1_item(answer) for answer in complete],
        legacy=[True, [_legacy_item(answer, call.accepts_json) for answer in complete]],
    )


def _item(call: Call, item: Any) -> tuple[StatusReport, Mapping[str, Any]] | Envelope:
    """Return the heartbeat in one element of a list, or the answer to an element that is none."""
    try:
        fields = _bound(call, item)
    except BadRequest as problem:
        # One that nobody can read must not keep the others from arriving: harvesters send the whole list again.
        unread = PilotReply(SC_FAILED, {"errorDialog": problem.message})
        return Envelope(success=False, message=problem.message, legacy=unread)
    site = call.sites.get(fields.get("site_name") or "")
    if not is_pilot(call, site):
        return Envelope(success=False, message=NO_ROLE, legacy=_refusal(call.accepts_json))
    report = _readable_report(call, fields, only_queue(call, site))
    return (report, fields) if isinstance(report, StatusReport) else report


def _bound(call: Call, item: Any) -> dict[str, Any]:
    if not isinstance(item, dict):
        raise BadRequest(f"an element of the list must be an object, got {type(item).__name__}")
    # Payloads put words of their own into what harvesters send; so a token is theirs, and says nothing of the sender.
    known = _HEARTBEAT.at(call.door)
    raw = {name: _historical(value, call.door) for name, value in item.items() if name in known}
    # A harvester repeats a heartbeat until it is taken, and forwards what the payload wrote as it is.
    return {**_HEARTBEAT.bind(call.door, raw, typed=True, forgiving=True).arguments}


def _historical(value: Any, door: Door) -> Any:
    """Return a value as the reader of historical JSON bodies leaves it: truth is a word."""
    return str(value) if door is Door.LEGACY and isinstance(value, bool) else value


def _readable_report(call: Call, fields: Mapping[str, Any], queue: str | None) -> StatusReport | Envelope:
    """Return the heartbeat, or the answer to one that names no job or no state; the historical door forgives both."""
    if fields["job_id"] is None:
        return _invalid("job_id is NULL")
    if fields["job_status"] not in STATES:
        _logger.warning(f"<PandaID={fields['job_id']}> reported in unknown state={fields['job_status']!r:.40}")
        return _invalid(f"Invalid job status: {fields['job_status'][:40]}")
    return report_of(fields, rates_in_bytes=call.door is Door.V1, queue=queue)


def _invalid(message: str) -> Envelope:
    return Envelope({"StatusCode": SC_INVALID}, message, success=False, legacy=PilotReply(SC_SUCCESS))


def _refusal(accepts_json: bool) -> PilotReply:
    return PilotReply(SC_ROLE, {"errorDialog": NO_ROLE} if accepts_json else {})


def _for_harvesters(outcome: UpdateOutcome) -> UpdateOutcome:
    """Return the outcome with the only command that harvesters obey alone, as they compare the whole text."""
    killed = TO_BE_KILLED in (outcome.command or "").split(",")
    return replace(outcome, command=TO_BE_KILLED) if killed else outcome


def _answer(outcome: UpdateOutcome) -> Envelope:
    if outcome.reception is Reception.unknown_job:
        diag = f"PandaID {outcome.PandaID} is not in the database, so its metadata cannot be kept"
        return Envelope({"StatusCode": SC_FAILED, "ErrorDiag": diag}, legacy=PilotReply(SC_SUCCESS))
    extra = {} if outcome.pilot_secrets is None else {"pilotSecrets": outcome.pilot_secrets}
    return Envelope(
        {"StatusCode": SC_SUCCESS, "command": outcome.command, **extra},
        # Only this word means "none" to a pilot: a null in its place stops the thread that reads it.
        legacy=PilotReply(SC_SUCCESS, {"command": outcome.command or NULL, **extra}),
    )


def _logged(outcome: UpdateOutcome, fields: Mapping[str, Any]) -> UpdateOutcome:
    log = LogWrapper(_logger, f"<PandaID={outcome.PandaID}>")
    log.info(
        f"heartbeat state={fields['job_status']} attempt={fields.get('attempt_nr')} site={fields.get('site_name')} "
        f"node={fields.get('node')} reception={outcome.reception} command={outcome.command}"
    )
    if pilot_log := fields.get("pilot_log"):
        log.info(f"pilot says: {pilot_log[:LOG_LIMIT]}")
    return outcome


def _v1_item(answer: Envelope) -> dict[str, Any]:
    return {"success": answer.success, "message": answer.message, "data": answer.data}


def _legacy_item(answer: Envelope, accepts_json: bool) -> Any:
    """Return one answer as old harvesters read it: text within JSON."""
    body = pilot_answer.result(answer, accepts_json).body.decode()
    return {"type": "json", "content": body} if accepts_json else body
