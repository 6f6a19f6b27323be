"""What reaches a pilot with its next heartbeat: debug mode, and commands."""

from __future__ import annotations

from typing import Annotated, Any

from pandacommon.pandalogger.LogWrapper import LogWrapper
from pandacommon.pandalogger.PandaLogger import PandaLogger
from pandaserver.api.answering import Envelope, Text, json_answer, plain_answer
from pandaserver.api.registry import Auth, Call, MaxLength, Wire, request
from pandaserver.taskbuffer.debugging import SUCCEEDED
from pandaserver.taskbuffer.kill import Killer

_logger = PandaLogger().getLogger("JobDispatcher")


def _error(message: str) -> Text:
    return Text(f"ERROR: {message}")


def _pair(message: str) -> list[Any]:
    return [False, message]


@request(
    v1="job/set_debug_mode",
    legacy="setDebugMode",
    method="POST",
    auth=Auth.SIGNED_IN,
    auth_v1=Auth.PRODUCTION,
    answer=plain_answer,
    refused=_error,
    failed=_error,
)
def set_debug_mode(
    call: Call,
    job_id: Annotated[int, Wire("pandaID"), "job"],
    mode: Annotated[bool, Wire("modeOn"), "on or off"],
) -> Envelope:
    """Switch the debug mode of a job: its pilot reports every minute and sends the end of the payload's output.

    For the owner, at most 3 jobs at a time; for production roles of the job's working group, at most 10 of the group;
    and for the production role. The text `Succeeded` means success, any other one tells why not.
    """
    caller = call.principal
    asked = Killer(caller.dn, caller.name, caller.has_production_role, caller.production_groups)
    answer = call.task_buffer.within(call.remaining()).setDebugMode(job_id, mode, asked)
    LogWrapper(_logger, f"<PandaID={job_id}>").info(f"debug mode {mode=} by {caller.name!r}: {answer}")
    return Envelope(success=answer == SUCCEEDED, message=answer, legacy=Text(answer))


@request(
    v1="job/set_command",
    legacy="send_command_to_job",
    method="POST",
    auth=Auth.PRODUCTION,
    answer=json_answer,
    refused=_pair,
    failed=_pair,
)
def send_command_to_job(
    call: Call,
    job_id: Annotated[int, Wire("panda_id"), "job"],
    command: Annotated[str, Wire("com"), MaxLength(250), "what the pilot gets with its next heartbeat"],
) -> Envelope:
    """Leave a command for the pilot of a job, which waits, or is at work. A job that is being killed takes none."""
    taken, note = call.task_buffer.within(call.remaining()).send_command_to_job(job_id, command, call.principal.name)
    LogWrapper(_logger, f"<PandaID={job_id}>").info(f"{command=} by {call.principal.name!r}: {note}")
    return Envelope(success=taken, message=note, legacy=[taken, note])
