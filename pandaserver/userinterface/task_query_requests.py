# ruff: noqa: ARG001  (what the task layer will read)
"""Looking at tasks. The task layer is not installed: access and parameters hold already."""

from __future__ import annotations

from typing import Annotated

from pandaserver.api.answering import json_answer, pickle_answer
from pandaserver.api.registry import (
    AtLeast,
    AtMost,
    Auth,
    Call,
    MaxLength,
    Wire,
    comma_separated,
    refuse_anonymous_readers,
    request,
)
from pandaserver.userinterface.task_layer import listed, said, without_task_layer

Task = Annotated[int, Wire("jediTaskID"), "task"]
Types = Annotated[
    list[str] | str,
    Wire("dataset_types", read=comma_separated),
    "types of datasets: a list, or words separated by commas",
]


@request(
    v1="task/get_status",
    legacy="getTaskStatus",
    method="GET",
    auth=Auth.ANYONE,
    auth_v1=Auth.USER,
    answer=pickle_answer,
    refused=said(False),
    failed=said(False),
)
def get_task_status(call: Call, task_id: Task) -> None:
    """Return the status of a task.

    For anybody; where `anonymous_reads` is off, for callers with credentials.
    """
    refuse_anonymous_readers(call)
    without_task_layer(None)


@request(
    v1="task/get_task_parameters",
    legacy="getTaskParamsMap",
    method="GET",
    auth=Auth.ANYONE,
    auth_v1=Auth.USER,
    answer=pickle_answer,
    refused=said(False),
    failed=said(False),
)
def get_task_parameters(call: Call, task_id: Task) -> None:
    """Return the parameters with which a task was submitted.

    For anybody; where `anonymous_reads` is off, for callers with credentials.
    """
    refuse_anonymous_readers(call)
    without_task_layer(None)


@request(
    v1="task/get_details",
    legacy="getJediTaskDetails",
    method="GET",
    auth=Auth.USER,
    answer=pickle_answer,
    refused=lambda _: {},
    failed=lambda _: {},
)
def get_task_details(
    call: Call,
    task_id: Task,
    include_parameters: Annotated[bool, Wire("fullFlag"), "with the command line"] = False,
    include_status: Annotated[bool, Wire("withTaskInfo"), "with the status"] = False,
) -> None:
    """Return datasets and jobs of a task."""
    without_task_layer(None)


@request(
    v1="task/get_tasks_modified_since",
    legacy="getJediTasksInTimeRange",
    method="GET",
    auth=Auth.USER,
    answer=pickle_answer,
    refused=lambda _: {},
    failed=lambda _: {},
)
def get_tasks_modified_since(
    call: Call,
    since: Annotated[str, Wire("timeRange"), "%Y-%m-%d %H:%M:%S, UTC"],
    dn: Annotated[str | None, "whose tasks; none: the caller's"] = None,
    full: Annotated[bool, Wire("fullFlag"), "with datasets and jobs"] = False,
    min_task_id: Annotated[int | None, Wire("minTaskID"), "only tasks with a larger number"] = None,
    prod_source_label: Annotated[str, Wire("task_type"), MaxLength(20), "label of the tasks"] = "user",
) -> None:
    """Return the tasks that changed since then."""
    without_task_layer(None)


@request(v1="task/get_tasks_detailed_info_since", legacy=None, method="GET", auth=Auth.USER)
def get_tasks_detailed_info_since(
    call: Call,
    since: Annotated[str | None, "%Y-%m-%d %H:%M:%S, UTC"] = None,
    filters: Annotated[str | None, "JSON object: attribute -> pattern"] = None,
    n_tasks: Annotated[int, AtLeast(1), AtMost(10_000), "most tasks to return"] = 500,
) -> None:
    """Return the caller's tasks that changed since then, with all they have."""
    without_task_layer(None)


@request(v1="task/get_detailed_info", legacy=None, method="GET", auth=Auth.USER)
def get_detailed_info(call: Call, task_id: Annotated[int, "task"]) -> None:
    """Return all that a task has."""
    without_task_layer(None)


@request(v1="task/get_parent_detailed_info", legacy=None, method="GET", auth=Auth.USER)
def get_parent_detailed_info(call: Call, task_id: Annotated[int, "task whose parent is asked for"]) -> None:
    """Return all that the parent of a task has."""
    without_task_layer(None)


@request(
    v1="task/get_datasets_and_files",
    legacy="get_files_in_datasets",
    method="GET",
    auth=Auth.USER,
    answer=json_answer,
    refused=listed(False),
    failed=listed(False),
)
def get_datasets_and_files(
    call: Call,
    task_id: Annotated[int, "task"],
    dataset_types: Types = ["input", "pseudo_input"],  # noqa: B006  never changed
    dataset_only: Annotated[bool, Wire(only="v1"), "without the files"] = False,
) -> None:
    """Return the datasets of a task with their files."""
    without_task_layer(None)


@request(
    v1="task/get_jumbo_job_datasets",
    legacy="getJumboJobDatasets",
    method="GET",
    auth=Auth.ANYONE,
    auth_v1=Auth.USER,
    answer=json_answer,
    refused=lambda _: {},
    failed=lambda _: {},
)
def get_jumbo_job_datasets(
    call: Call,
    from_offset: Annotated[int, Wire("n_days"), AtLeast(0), "days ago from which tasks count"],
    to_offset: Annotated[int, Wire("grace_period"), AtLeast(0), "days ago up to which they count"] = 0,
) -> None:
    """Return the tasks with jumbo jobs and their datasets.

    For anybody; where `anonymous_reads` is off, for callers with credentials.
    """
    refuse_anonymous_readers(call)
    without_task_layer(None)
