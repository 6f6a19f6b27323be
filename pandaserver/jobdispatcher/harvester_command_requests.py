"""Commands to harvesters: instances fetch and acknowledge them, operators give some."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final, TypeVar

from pandaserver.api.answering import Envelope, json_answer
from pandaserver.api.registry import AlsoText, Auth, Call, MaxLength, Wire, request
from pandaserver.jobdispatcher.callers import task_buffer_for
from pandaserver.jobdispatcher.harvester_replies import NO_DATABASE, json_of, pair_request, survives_database
from pandaserver.jobdispatcher.harvester_values import number_of
from pandaserver.jobdispatcher.Protocol import SC_FAILED, SC_ROLE, SC_SUCCESS
from pandaserver.srvcore.errors import BadRequest
from pandaserver.taskbuffer.db_proxy_mods.harvester_operator import ALL, SWEPT
from pandaserver.taskbuffer.worker_reports import HarvesterCommand, Sweep, TargetSlots
from pandaserver.taskbuffer.WrappedPickle import dump_for_clients

F = TypeVar("F", bound=Callable[..., Any])

#: How setNumSlotsForWP says what is wrong.
_NO_CREDENTIALS, _NO_ROLE, _NO_NUMBER = 100, 101, 102

#: Longest time for which slots are wished, in days.
_MOST_DAYS: Final = 36500

_MOST_SLOTS: Final = 2**31 - 1


def _refused(message: str) -> dict[str, Any]:
    return {"StatusCode": SC_ROLE, "errorDialog": message}


def _failed(message: str) -> dict[str, Any]:
    return {"StatusCode": SC_FAILED, "errorDialog": message}


def _command_request(*, v1: str, legacy: str, away: dict[str, Any]) -> Callable[[F], F]:
    """Declare a request about the commands of an instance; ``away`` is its answer while the database is away."""
    declared = request(
        v1=v1,
        legacy=legacy,
        method="POST",
        auth=Auth.SIGNED_IN,
        auth_v1=Auth.PRODUCTION,
        answer=json_answer,
        refused=_refused,
        failed=_failed,
    )
    survives = survives_database(away)

    def declare(handler: F) -> F:
        return declared(survives(handler))

    return declare


def _owner(call: Call) -> str | None:
    """Return whose instances a caller may speak for; None: everybody's, by role."""
    return None if call.principal.has_pilot_role else call.principal.name[:100]


@_command_request(
    v1="harvester/acquire_commands",
    legacy="getCommands",
    away={"StatusCode": SC_SUCCESS, "Returns": -1, "Commands": []},
)
def acquire_commands(
    call: Call,
    harvester_id: Annotated[str, MaxLength(50), "harvester instance"],
    n_commands: Annotated[int, AlsoText, "how many at most"],
    timeout: Annotated[int | None, AlsoText, "seconds that the caller waits"] = 30,
) -> Envelope:
    """Give an instance its oldest new commands; each is given once.

    At the historical door for callers with the pilot role, and for who sends the heartbeats of that instance.
    """
    found = task_buffer_for(call, timeout).getCommands(harvester_id, max(n_commands, 0), _owner(call))
    commands = [_command(each) for each in found]
    return Envelope(commands, legacy={"StatusCode": SC_SUCCESS, "Returns": 0, "Commands": commands})


def _command(command: HarvesterCommand) -> dict[str, Any]:
    return {
        "command_id": command.command_id,
        "command": command.command,
        "params": command.params,
        "ack_requested": command.ack_requested,
        "creation_date": command.creation_date.isoformat(timespec="seconds"),
    }


@_command_request(
    v1="harvester/acknowledge_commands", legacy="ackCommands", away={"StatusCode": SC_SUCCESS, "Returns": -1}
)
def acknowledge_commands(
    call: Call,
    command_ids: Annotated[list[Any], Wire(read=json_of(list)), "numbers of commands"],
    timeout: Annotated[int | None, AlsoText, "seconds that the caller waits"] = 30,
) -> Envelope:
    """Record that an instance has carried out commands; what is no number of a command is ignored.

    At the historical door for callers with the pilot role, and for who sends the heartbeats of that instance.
    """
    numbers = (number_of(each, 2**63 - 1) for each in command_ids)
    task_buffer_for(call, timeout).ackCommands([n for n in numbers if n is not None], _owner(call))
    return Envelope(legacy={"StatusCode": SC_SUCCESS, "Returns": 0})


def _sweep_list(raw: Any) -> Any:
    return ALL if raw == ALL else json_of((list, str))(raw)


Words = Annotated[list[str] | str, Wire(read=_sweep_list), "names, or ALL"]


@pair_request(v1="harvester/add_sweep_command", legacy="sweepPQ", auth=Auth.PRODUCTION)
def add_sweep_command(
    call: Call,
    panda_queue: Annotated[str, MaxLength(128), "PanDA queue; old clients quote it as JSON"],
    status_list: Words,
    ce_list: Words,
    submission_host_list: Words,
) -> Envelope:
    """Tell the instance that serves a queue to kill workers there, by their state, computing element and host."""
    sweep = Sweep(_unquoted(panda_queue), _names(status_list), _names(ce_list), _names(submission_host_list))
    told = call.task_buffer.within(call.remaining()).sweepPQ(sweep, call.principal.name)
    # Clients of the time unpickle the text inside the JSON.
    return Envelope(message=told, success=told == SWEPT, legacy=[True, dump_for_clients(told).decode()])


def _unquoted(text: str) -> str:
    if not text.startswith('"'):
        return text
    name: str = json_of(str)(text)
    return name


def _names(value: Sequence[str] | str) -> tuple[str, ...] | None:
    if isinstance(value, str):
        return None if value == ALL else (value,)
    return None if ALL in value else tuple(value)


def _slots_refused(message: str) -> list[Any]:
    return [_NO_ROLE if "role" in message else _NO_CREDENTIALS, message]


def _slots_failed(message: str) -> list[Any]:
    return [_NO_NUMBER, message]


@request(
    v1="harvester/add_target_slots",
    legacy="setNumSlotsForWP",
    method="POST",
    auth=Auth.PRODUCTION,
    answer=json_answer,
    refused=_slots_refused,
    failed=_slots_failed,
)
@survives_database([1, NO_DATABASE])
def add_target_slots(
    call: Call,
    panda_queue: Annotated[str, Wire("pandaQueueName"), MaxLength(128), "PanDA queue"],
    slots: Annotated[int, Wire("numSlots"), AlsoText, "slots that it shall have; -1 takes the wish back"],
    global_share: Annotated[str | None, Wire("gshare"), MaxLength(32), "only for that share"] = None,
    resource_type: Annotated[str | None, Wire("resourceType"), MaxLength(56), "only for that type"] = None,
    expiration_date: Annotated[str | None, AlsoText, Wire("validPeriod"), "days for which it holds"] = None,
) -> Envelope:
    """Say how many slots a queue shall have, in place of what was said before."""
    if not -1 <= slots <= _MOST_SLOTS:
        raise BadRequest(f"'numSlots' must be -1 or a number of slots, got {slots}")
    days = _days(expiration_date)
    wish = TargetSlots(panda_queue, slots, global_share or None, resource_type or None, days)
    call.task_buffer.within(call.remaining()).setNumSlotsForWP(wish, call.principal.name)
    told = f"set numSlots={slots} for PQ={panda_queue} gshare={global_share} resource={resource_type}"
    return Envelope(message=told, legacy=[0, told])


def _days(text: str | None) -> float | None:
    if not text:
        return None
    try:
        days = float(text)
    except ValueError:
        days = math.nan
    if not 0 <= days <= _MOST_DAYS:
        raise BadRequest(f"'expiration_date' must be a number of days, got {text[:40]!r}")
    return days
