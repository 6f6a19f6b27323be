"""Asking machines for something that takes a while: the request is stored, the daemon of each machine answers."""

from __future__ import annotations

from typing import Annotated, Any

from pandaserver.api.registry import AtLeast, AtMost, Auth, Call, MaxLength, request
from pandaserver.dataservice.log_search import LONGEST_PATTERN, Pattern, check_file_name
from pandaserver.srvcore.errors import BadRequest
from pandaserver.taskbuffer.async_requests import GREP, SLEEP_ECHO, AsyncRequest

Service = Annotated[str | None, MaxLength(64), "all machines of that service, such as pandaserver"]
Machine = Annotated[str | None, MaxLength(128), "one machine"]


@request(v1="async_process/submit_grep_request", legacy=None, method="POST", auth=Auth.USER)
def submit_grep_request(
    call: Call,
    pattern: Annotated[str, MaxLength(LONGEST_PATTERN), "text that a line contains; .* stands for any text"],
    log_filename: Annotated[str, MaxLength(200), "panda-<name>.log or panda-<name>.gz"],
    service_name: Service = None,
    machine_name: Machine = None,
) -> dict[str, str]:
    """Let machines search one of their logs. For users who have the permission `l`."""
    if (service_name is None) == (machine_name is None):
        raise BadRequest("name either 'service_name' or 'machine_name'")
    Pattern(pattern)
    asked = {"pattern": pattern, "log_filename": check_file_name(log_filename)}
    return _submit(call, AsyncRequest(GREP, asked, call.principal.name, service_name, machine_name))


@request(v1="async_process/submit_sleep_echo_request", legacy=None, method="POST", auth=Auth.PRODUCTION)
def submit_sleep_echo_request(
    call: Call,
    service_name: Annotated[str, MaxLength(64), "all machines of that service, such as pandaserver"],
    message: Annotated[str, MaxLength(100), "what they answer"],
    seconds: Annotated[int, AtLeast(0), AtMost(60), "how long they wait before"] = 10,
) -> dict[str, str]:
    """Let machines wait and answer, to see that they do."""
    asked = {"message": message, "seconds": seconds}
    return _submit(call, AsyncRequest(SLEEP_ECHO, asked, call.principal.name, service_name))


def _submit(call: Call, asked: AsyncRequest) -> dict[str, str]:
    tbuf = call.task_buffer.within(call.remaining())
    return {"request_id": tbuf.submitAsyncRequest(asked, call.principal.has_production_role)}


@request(v1="async_process/get_result", legacy=None, method="GET", auth=Auth.USER)
def get_result(call: Call, request_id: Annotated[str, MaxLength(64), "as the request was answered"]) -> dict[str, Any]:
    """Return what machines answered so far. For who asked them, and the production role."""
    caller = call.principal
    tbuf = call.task_buffer.within(call.remaining())
    state = tbuf.getAsyncState(request_id, caller.name, caller.has_production_role)
    return {
        "overall_status": "complete" if state.is_complete else "pending",
        "expected_machines": list(state.expected_machines),
        "results": list(state.results),
    }
