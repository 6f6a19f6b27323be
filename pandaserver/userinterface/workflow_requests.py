# ruff: noqa: ARG001  (what the services will read)
"""Requests that other services answer: iDDS, the workflow engine, the data carousel. None of them is installed here."""

from __future__ import annotations

import json
from typing import Annotated, Any, Final, NoReturn

from pandaserver.api.answering import json_answer
from pandaserver.api.registry import Auth, Call, MaxLength, request
from pandaserver.srvcore.errors import BadRequest, Conflict
from pandaserver.userinterface.task_layer import listed

NO_IDDS: Final = "no iDDS service is connected to this server"
NO_WORKFLOWS: Final = (
    "the workflow layer is not installed at this server; put_workflow_request hands workflows to the workflow plug-in"
)
NO_CAROUSEL: Final = "the data carousel is not installed at this server"

#: Commands for workflows.
WORKFLOW_COMMANDS: Final = ("get_status", "abort", "suspend", "resume", "retry", "finish")

JsonText = Annotated[str | None, MaxLength(2**20), "JSON text"]
Name = Annotated[str, MaxLength(200), "command, or command+host"]


def _not_installed(message: str) -> NoReturn:
    raise Conflict(message)


# ---- iDDS ------------------------------------------------------------------------------------------------------------


@request(
    v1="idds/relay_idds_command",
    legacy="relay_idds_command",
    method="POST",
    auth=Auth.USER,
    answer=json_answer,
    refused=listed(False),
    failed=listed(False),
    needs_database=False,
)
def relay_idds_command(
    call: Call,
    command_name: Name,
    args: JsonText = None,
    kwargs: JsonText = None,
    manager: Annotated[bool, "ask the manager of requests"] = False,
    json_outputs: Annotated[bool, "the answer is JSON"] = False,
) -> None:
    """Hand a command to iDDS and return its answer."""
    _check_json("args", args, list)
    _check_json("kwargs", kwargs, dict)
    _not_installed(NO_IDDS)


@request(
    v1="idds/execute_idds_workflow_command",
    legacy="execute_idds_workflow_command",
    method="POST",
    auth=Auth.USER,
    answer=json_answer,
    refused=listed(False),
    failed=listed(False),
    needs_database=False,
)
def execute_idds_workflow_command(
    call: Call,
    command_name: Name,
    kwargs: JsonText = None,
    json_outputs: Annotated[bool, "the answer is JSON"] = False,
) -> None:
    """Command a workflow of the caller, named by request_id in kwargs; anybody's status may be asked for."""
    command = command_name.partition("+")[0]
    if command not in WORKFLOW_COMMANDS:
        raise BadRequest(f"'command_name' must be one of {', '.join(WORKFLOW_COMMANDS)}, got {command[:40]!r}")
    if "request_id" not in (_check_json("kwargs", kwargs, dict) or {}):
        raise BadRequest("'kwargs' must be a JSON object with request_id")
    _not_installed(NO_IDDS)


def _check_json(name: str, text: str | None, kind: type) -> Any:
    if not text:
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as problem:
        raise BadRequest(f"{name!r} is not JSON: {str(problem)[:200]}") from problem
    if not isinstance(value, kind):
        raise BadRequest(f"{name!r} must be a JSON {kind.__name__}, not {type(value).__name__}")
    return value


# ---- workflows -------------------------------------------------------------------------------------------------------


@request(v1="workflow/submit_workflow_raw_request", legacy=None, method="POST", auth=Auth.USER, needs_database=False)
def submit_workflow_raw_request(
    call: Call, params: Annotated[dict[str, Any] | str, "what a client made of a workflow's description"]
) -> None:
    """Submit a workflow as clients describe it."""
    if isinstance(params, str):
        _check_json("params", params, dict)
    _not_installed(NO_WORKFLOWS)


@request(v1="workflow/submit_workflow", legacy=None, method="POST", auth=Auth.USER, needs_database=False)
def submit_workflow(call: Call, workflow_definition: Annotated[dict[str, Any], "definition of the workflow"]) -> None:
    """Submit a workflow."""
    _not_installed(NO_WORKFLOWS)


@request(v1="workflow/get_workflow_details", legacy=None, method="GET", auth=Auth.USER, needs_database=False)
def get_workflow_details(call: Call, workflow_id: Annotated[int, "workflow"]) -> None:
    """Return a workflow with its steps."""
    _not_installed(NO_WORKFLOWS)


# ---- data carousel ---------------------------------------------------------------------------------------------------

RequestId = Annotated[int | None, "request of the data carousel; or name its dataset"]
Dataset = Annotated[str | None, MaxLength(255), "dataset; or name its request"]


def _without_carousel(request_id: int | None, dataset: str | None) -> NoReturn:
    if (request_id is None) == (dataset is None):
        raise BadRequest("name either 'request_id' or 'dataset'")
    _not_installed(NO_CAROUSEL)


@request(
    v1="data_carousel/change_staging_destination",
    legacy=None,
    method="POST",
    auth=Auth.PRODUCTION,
    needs_database=False,
)
def change_staging_destination(call: Call, request_id: RequestId = None, dataset: Dataset = None) -> None:
    """Let a dataset be staged to another place."""
    _without_carousel(request_id, dataset)


@request(
    v1="data_carousel/change_staging_source",
    legacy=None,
    method="POST",
    auth=Auth.PRODUCTION,
    needs_database=False,
)
def change_staging_source(
    call: Call,
    request_id: RequestId = None,
    dataset: Dataset = None,
    cancel_fts: Annotated[bool, "end transfers that run"] = False,
    change_src_expr: Annotated[bool, "change the expression of sources instead of excluding one"] = False,
    source_rse: Annotated[str | None, MaxLength(200), "storage to stage from"] = None,
) -> None:
    """Let a dataset be staged from another place."""
    _without_carousel(request_id, dataset)


@request(v1="data_carousel/force_to_staging", legacy=None, method="POST", auth=Auth.PRODUCTION, needs_database=False)
def force_to_staging(call: Call, request_id: RequestId = None, dataset: Dataset = None) -> None:
    """Stage a dataset at once."""
    _without_carousel(request_id, dataset)


@request(v1="data_carousel/retire_unused", legacy=None, method="POST", auth=Auth.PRODUCTION, needs_database=False)
def retire_unused(call: Call, request_id: RequestId = None, dataset: Dataset = None) -> None:
    """Give up a staged dataset that nobody uses."""
    _without_carousel(request_id, dataset)
