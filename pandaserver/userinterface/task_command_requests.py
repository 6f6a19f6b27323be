# ruff: noqa: ARG001  (what the task layer will read)
"""Submitting tasks and commanding them. The task layer is not installed: access and parameters hold already."""

from __future__ import annotations

from typing import Annotated, Any

from pandaserver.api.answering import pickle_answer
from pandaserver.api.registry import AtLeast, Auth, Call, Wire, request
from pandaserver.userinterface.task_layer import (
    NOT_SECURE,
    SUBMISSION_ERROR,
    command_failed,
    json_object,
    of_role,
    optional_json_object,
    said,
    unless_installed,
    without_task_layer,
)

Task = Annotated[int, Wire("jediTaskID"), "task"]
ProperCode = Annotated[bool, Wire("properErrorCode", only="legacy"), "answer with a code instead of a truth value"]
Broadcast = Annotated[bool, "tell the pilots through the message broker, too"]


@request(
    v1="task/submit",
    legacy="insertTaskParams",
    method="POST",
    auth=Auth.USER,
    answer=pickle_answer,
    refused=said(False),
    failed=said(False),
)
def submit_task(
    call: Call,
    task_parameters: Annotated[dict[str, Any], Wire("taskParams", read=json_object), "description of the task"],
    parent_tid: Annotated[int | None, "task whose outputs are the inputs"] = None,
    proper_error_code: ProperCode = False,
) -> None:
    """Submit a task."""
    without_task_layer(SUBMISSION_ERROR)


@request(
    v1="task/kill",
    legacy="killTask",
    method="POST",
    auth=Auth.USER,
    answer=pickle_answer,
    refused=said(False),
    failed=said(False),
)
def kill_task(call: Call, task_id: Task, proper_error_code: ProperCode = False, broadcast: Broadcast = False) -> None:
    """End a task and its jobs. For the owner and the production role."""
    without_task_layer()


@request(
    v1="task/finish",
    legacy="finishTask",
    method="POST",
    auth=Auth.USER,
    answer=pickle_answer,
    refused=said(False),
    failed=said(False),
)
def finish_task(
    call: Call,
    task_id: Task,
    proper_error_code: ProperCode = False,
    soft: Annotated[bool, "let running jobs end"] = False,
    broadcast: Broadcast = False,
) -> None:
    """End a task with what it has. For the owner and the production role."""
    without_task_layer()


@request(
    v1="task/retry",
    legacy="retryTask",
    method="POST",
    auth=Auth.USER,
    answer=pickle_answer,
    refused=said(False),
    failed=said(False),
)
def retry_task(
    call: Call,
    task_id: Task,
    proper_error_code: ProperCode = False,
    new_parameters: Annotated[
        dict[str, Any] | str | None, Wire("newParams", read=optional_json_object), "parameters that change"
    ] = None,
    no_child_retry: Annotated[bool, Wire("noChildRetry"), "leave child tasks alone"] = False,
    discard_events: Annotated[bool, Wire("discardEvents"), "process all events again"] = False,
    disable_staging_mode: Annotated[bool, "wait for no staging"] = False,
    keep_gshare_priority: Annotated[bool, Wire(only="v1"), "keep share and priority"] = False,
    ignore_hard_exhausted: Annotated[bool, Wire(only="v1"), "ignore hard limits"] = False,
) -> None:
    """Run what failed of a task again. For the owner and the production role."""
    without_task_layer()


@request(
    v1="task/reassign",
    legacy="reassignTask",
    method="POST",
    auth=Auth.USER,
    answer=pickle_answer,
    refused=said(NOT_SECURE),
    failed=command_failed,
)
def reassign_task(
    call: Call,
    task_id: Task,
    site: Annotated[str | None, "queue to run at"] = None,
    cloud: Annotated[str | None, "cloud to run in"] = None,
    nucleus: Annotated[str | None, "nucleus to write to"] = None,
    soft: Annotated[bool, Wire(only="legacy"), "move waiting jobs only"] = False,
    mode: Annotated[str | None, "soft: move waiting jobs only; nokill: leave all jobs alone"] = None,
) -> None:
    """Run a task elsewhere. For the owner and the production role."""
    without_task_layer()


@request(
    v1="task/reload_input",
    legacy="reloadInput",
    method="POST",
    auth=Auth.USER,
    answer=pickle_answer,
    refused=said(NOT_SECURE),
    failed=command_failed,
)
def reload_input(
    call: Call,
    task_id: Task,
    proper_error_code: ProperCode = False,
    ignore_hard_exhausted: Annotated[bool, Wire(only="v1"), "ignore hard limits"] = False,
) -> None:
    """Look for new input of a task. For the owner and the production role."""
    without_task_layer()


@request(
    v1="task/pause",
    legacy="pauseTask",
    method="POST",
    auth=Auth.PRODUCTION,
    answer=pickle_answer,
    refused=said(False),
    failed=said(False),
)
def pause_task(call: Call, task_id: Task) -> None:
    """Suspend a task."""
    without_task_layer()


@request(
    v1="task/resume",
    legacy="resumeTask",
    method="POST",
    auth=Auth.PRODUCTION,
    answer=pickle_answer,
    refused=said(False),
    failed=said(False),
)
def resume_task(call: Call, task_id: Task) -> None:
    """Let a suspended task go on."""
    without_task_layer()


@request(
    v1="task/avalanche",
    legacy="avalancheTask",
    method="POST",
    auth=Auth.PRODUCTION,
    answer=pickle_answer,
    refused=said(False),
    failed=said(False),
)
def avalanche_task(call: Call, task_id: Task) -> None:
    """Make all jobs of a task without waiting for its scouts."""
    without_task_layer()


@request(v1="task/release", legacy=None, method="POST", auth=Auth.PRODUCTION)
def release_task(call: Call, task_id: Annotated[int, "task"]) -> None:
    """Let a task begin without waiting for staging."""
    without_task_layer()


@request(
    v1="task/reactivate",
    legacy="reactivateTask",
    method="POST",
    auth=Auth.PRODUCTION,
    answer=pickle_answer,
    refused=said(False),
    failed=said(False),
)
def reactivate_task(
    call: Call,
    task_id: Task,
    keep_attempt_nr: Annotated[bool, "keep the numbers of attempts"] = False,
    trigger_job_generation: Annotated[bool, "make jobs at once"] = False,
) -> None:
    """Process all input of a task again."""
    without_task_layer()


@request(
    v1="task/increase_attempts",
    legacy="increaseAttemptNrPanda",
    method="POST",
    auth=Auth.PRODUCTION,
    answer=pickle_answer,
    refused=of_role(3),
    failed=unless_installed(4, None),
)
def increase_attempts(
    call: Call,
    task_id: Task,
    increase: Annotated[int, Wire("increasedNr"), AtLeast(0), "attempts more"],
) -> None:
    """Give the input of a task more attempts."""
    without_task_layer(None)


@request(v1="task/enable_job_cloning", legacy=None, method="POST", auth=Auth.PRODUCTION)
def enable_job_cloning(
    call: Call,
    jedi_task_id: Annotated[int, "task"],
    mode: Annotated[str | None, "runonce or storeonce (runonce)"] = None,
    multiplicity: Annotated[int | None, AtLeast(1), "clones of a job (2)"] = None,
    num_sites: Annotated[int | None, AtLeast(1), "queues that they run at (2)"] = None,
) -> None:
    """Run each job of a task several times at the same time."""
    without_task_layer()


@request(v1="task/disable_job_cloning", legacy=None, method="POST", auth=Auth.PRODUCTION)
def disable_job_cloning(call: Call, jedi_task_id: Annotated[int, "task"]) -> None:
    """Run each job of a task once."""
    without_task_layer()
