"""Pilots and harvesters ask for event ranges and report about them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final

from pandacommon.pandalogger.LogWrapper import LogWrapper
from pandacommon.pandalogger.PandaLogger import PandaLogger
from pandaserver.api.answering import Envelope, PilotReply, Text, json_answer, pilot_answer
from pandaserver.api.registry import (
    AlsoText,
    Auth,
    Call,
    Door,
    Lenient,
    Wire,
    largest_body,
    refuse_anonymous_readers,
    request,
)
from pandaserver.jobdispatcher.callers import task_buffer_for
from pandaserver.jobdispatcher.event_items import is_item, reports_of, single_report
from pandaserver.jobdispatcher.Protocol import SC_FAILED, SC_SUCCESS
from pandaserver.srvcore.errors import BadRequest
from pandaserver.srvcore.json_size import refuse_many_values
from pandaserver.taskbuffer.events import EventRange, RangeOrder, RangesTaken

_logger = PandaLogger().getLogger("JobDispatcher")

#: Ranges that a request gets that does not say how many, and one that says it in no number.
DEFAULT_RANGES: Final = 10
UNREADABLE_RANGES: Final = 8

#: Jobs whose ranges one question may ask for.
MOST_JOBS: Final = 1000

StatusQuestion = list[dict[str, int]]


def _lenient_count(raw: Any) -> int:
    try:
        return max(int(float(raw)), 0)
    except (ValueError, OverflowError, TypeError):
        return UNREADABLE_RANGES


def _flag(raw: Any) -> bool:
    return str(raw).lower() == "true"


def _lenient_id(raw: Any) -> int | None:
    text = str(raw)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


@request(
    v1="event/acquire_event_ranges",
    legacy="getEventRanges",
    method="POST",
    auth=Auth.PILOT,
    auth_v1=Auth.PILOT,
    answer=pilot_answer,
    refused=Text,
)
def acquire_event_ranges(
    call: Call,
    job_id: Annotated[int, Wire("pandaID"), AlsoText, "job that will process the ranges"],
    jobset_id: Annotated[int | None, Wire("jobsetID"), AlsoText, "its job set; the job itself knows it"] = None,  # noqa: ARG001
    task_id: Annotated[int | None, Wire("taskID", read=_lenient_id), AlsoText, "its task; the job knows it"] = None,  # noqa: ARG001
    n_ranges: Annotated[int | None, Wire("nRanges", read=_lenient_count), AlsoText, "most ranges"] = DEFAULT_RANGES,
    timeout: Annotated[int | None, AlsoText, "seconds that the caller waits"] = 60,
    scattered: Annotated[bool | None, Wire(read=_flag), "from all files instead of one after the other"] = False,
    segment_id: Annotated[int | None, AlsoText, "only ranges of this dataset"] = None,
) -> Envelope:
    """Give event ranges to a job. They become `sent`; asking again gives other ranges.

    A job that is unknown, not at work or being killed gets an empty list.
    """
    wanted = DEFAULT_RANGES if n_ranges is None else max(n_ranges, 0)
    order = RangeOrder(job_id, wanted, bool(scattered), segment_id)
    found = [_described(item) for item in task_buffer_for(call, timeout).getEventRanges(order)]
    LogWrapper(_logger, f"<PandaID={job_id}>").info(f"gave {len(found)} of {wanted} event ranges")
    listed = found if call.accepts_json else json.dumps(found)
    return Envelope(
        {"StatusCode": SC_SUCCESS, "eventRanges": found},
        legacy=PilotReply(SC_SUCCESS, {"eventRanges": listed}),
    )


def _described(item: EventRange) -> dict[str, Any]:
    return {
        "eventRangeID": item.range_id,
        "startEvent": item.first,
        "lastEvent": item.last,
        "LFN": item.lfn,
        "GUID": item.guid,
        "scope": item.scope,
    }


@request(
    v1="event/update_single_event_range",
    legacy="updateEventRange",
    method="POST",
    auth=Auth.PILOT,
    answer=pilot_answer,
    refused=Text,
)
def update_single_event_range(
    call: Call,
    event_range_id: Annotated[str, Wire("eventRangeID"), "range, as it was given"],
    event_range_status: Annotated[str, Wire("eventStatus"), "running, transferring, finished, failed or fatal"],
    core_count: Annotated[int | None, Wire("coreCount"), AlsoText, Lenient, "cores that processed it"] = None,
    cpu_consumption_time: Annotated[float | None, Wire("cpuConsumptionTime"), AlsoText, Lenient, "seconds"] = None,
    object_store_id: Annotated[Any, Wire("objstoreID"), "store that has the output"] = None,
    timeout: Annotated[int | None, AlsoText, "seconds that the caller waits"] = 60,
    job_id: Annotated[Any, Wire("pandaID", only="legacy"), "said by the range itself"] = None,  # noqa: ARG001
) -> Envelope:
    """Take what a pilot says about one range."""
    said = single_report(event_range_id, event_range_status, core_count, cpu_consumption_time, object_store_id)
    taken = task_buffer_for(call, timeout).updateEventRanges([said], 0)
    commands = _commands(taken)
    form = PilotReply(SC_SUCCESS, {"Command": json.dumps(commands)})
    accepted = taken.returns[0] is not False
    message = "" if accepted else f"event range {event_range_id[:80]} is not this job's, or not in a state to change"
    # Whoever asks, the historical answer is a form.
    return Envelope(
        {"StatusCode": SC_SUCCESS if accepted else SC_FAILED, "Command": commands},
        message,
        success=accepted,
        legacy=Text(pilot_answer.result(form, False).body.decode()) if accepted else _form_failure(),
    )


def _form_failure() -> Text:
    return Text(pilot_answer.result(PilotReply(SC_FAILED), False).body.decode())


@request(
    v1="event/update_event_ranges",
    legacy="updateEventRanges",
    method="POST",
    auth=Auth.PILOT,
    answer=pilot_answer,
    refused=Text,
    body_limit=largest_body,
)
def update_event_ranges(
    call: Call,
    event_ranges: Annotated[Any, Wire("eventRanges"), "JSON list of ranges, or of archives with their ranges"],
    timeout: Annotated[int | None, AlsoText, "seconds that the caller waits"] = 120,
    version: Annotated[int | None, AlsoText, "0: ranges; 1: archives, too; 2: also ranges that nobody was given"] = 0,
    job_id: Annotated[Any, Wire("pandaID", only="legacy"), "said by the ranges themselves"] = None,  # noqa: ARG001
) -> Envelope:
    """Take what a pilot says about many ranges, and answer each in order: true, false, or null for "not yet final".

    Items beyond 100000 are answered by null and are to be sent again.
    """
    shape = version or 0
    said = reports_of(_list_in(event_ranges), shape)
    taken = task_buffer_for(call, timeout or 120).updateEventRanges(said, shape)
    refused = taken.returns.count(False)
    _logger.info(f"took {len(said) - refused} of {len(said)} event ranges jobs={len(taken.commands)}")
    commands = _commands(taken)
    return Envelope(
        {"StatusCode": SC_SUCCESS, "Returns": taken.returns, "Commands": commands},
        legacy=PilotReply(SC_SUCCESS, _legacy_fields(taken, shape, call.accepts_json)),
    )


def _legacy_fields(taken: RangesTaken, version: int, accepts_json: bool) -> dict[str, Any]:
    """Return lists as lists, or as the text that the form of that version has in their place."""
    commands = _commands(taken)
    if version == 0:
        return {"Returns": json.dumps(taken.returns), "Command": json.dumps(commands)}
    if accepts_json:
        return {"Returns": taken.returns, "Command": commands}
    return {"Returns": str(taken.returns), "Command": str(taken.commands)}


def _commands(taken: RangesTaken) -> dict[str, str | None]:
    return {str(job_id): command for job_id, command in taken.commands.items()}


def _list_in(raw: Any) -> list[Any]:
    """Return the list in JSON text, or the list itself, which some clients send."""
    if isinstance(raw, str):
        refuse_many_values(raw)
    try:
        found = json.loads(raw) if isinstance(raw, str) else raw
    except (ValueError, RecursionError) as problem:
        raise BadRequest(f"eventRanges is not JSON: {str(problem)[:200]}") from problem
    if not isinstance(found, list) or not all(is_item(item) for item in found):
        raise BadRequest("eventRanges must be a list of objects")
    return found


@request(
    v1="event/get_available_event_range_count",
    legacy="checkEventsAvailability",
    method="GET",
    auth=Auth.ANYONE,
    auth_v1=Auth.PILOT,
    answer=json_answer,
    failed=lambda message: {"StatusCode": SC_FAILED, "errorDialog": message},
)
def get_available_event_range_count(
    call: Call,
    job_id: Annotated[int, Wire("pandaID"), AlsoText, "job that would process them"],
    jobset_id: Annotated[int | None, Wire("jobsetID"), AlsoText, "its job set; the job itself knows it"],  # noqa: ARG001
    task_id: Annotated[int | None, Wire("taskID", read=_lenient_id), AlsoText, "its task; the job knows it"],  # noqa: ARG001
    timeout: Annotated[int | None, AlsoText, "seconds that the caller waits"] = 60,
) -> Envelope:
    """Tell how many ranges a job could get now.

    For anybody at the historical door, for pilots at v1.
    """
    if call.door is Door.LEGACY and not call.principal.has_pilot_role:
        _logger.warning(f"<PandaID={job_id}> ranges counted for a caller without pilot role host={call.remote_host}")
    n = task_buffer_for(call, timeout).checkEventsAvailability(job_id)
    return Envelope(n, legacy={"StatusCode": SC_SUCCESS, "nEventRanges": n})


def _question(raw: Any) -> StatusQuestion:
    """Return jobs out of JSON text or a list; the job is ``panda_id`` or ``job_id``.

    A client library sends each element as a parameter of its own, in the spelling of Python.
    """
    try:
        found: Any = [raw] if isinstance(raw, str) and raw.lstrip().startswith("{") else raw
        found = json.loads(found) if isinstance(found, str) else found
        if not isinstance(found, list):
            raise BadRequest("must be a JSON list")
        items = [json.loads(item.replace("'", '"')) if isinstance(item, str) else item for item in found]
        return [{"job": int(item["panda_id"] if "panda_id" in item else item["job_id"])} for item in items]
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as problem:
        raise BadRequest('must be a JSON list of {"task_id": ..., "panda_id": ...}') from problem


@request(
    v1="event/get_event_range_statuses",
    legacy="get_events_status",
    method="GET",
    auth=Auth.ANYONE,
    auth_v1=Auth.USER,
    answer=json_answer,
    failed=lambda _message: Text(json.dumps(None)),
)
def get_event_range_statuses(
    call: Call,
    job_task_ids: Annotated[
        list[Any], Wire("ids", read=_question, read_v1=_question), 'JSON list of {"task_id", "panda_id"}'
    ],
) -> Envelope:
    """Tell how the ranges of jobs are, job by job.

    For anybody at the historical door; where `anonymous_reads` is off, and at v1, for callers with credentials.
    """
    refuse_anonymous_readers(call)
    ids = [item["job"] for item in job_task_ids[:MOST_JOBS]]
    states = call.task_buffer.within(call.remaining()).getEventRangeStates([n for n in ids if 0 <= n < 2**63])
    found = {str(n): dict(_told(states.get(n, {}))) for n in ids}
    return Envelope(found, legacy=Text(json.dumps(found)))


def _told(states: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for key, state in states.items():
        yield key, {"status": state.status, "error": state.error, "dialog": state.dialog}
