# ruff: noqa: ARG001  (what the task layer will read)
"""Changing attributes of tasks. The task layer is not installed: access and parameters hold already."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pandaserver.api.answering import json_answer, pickle_answer
from pandaserver.api.registry import AtLeast, Auth, Call, MaxLength, Wire, request
from pandaserver.srvcore.errors import BadRequest
from pandaserver.taskbuffer.client_jobs import read_ids
from pandaserver.userinterface.task_layer import (
    DATABASE_ERROR,
    ROLE_MISSING,
    SERVER_ERROR,
    as_list,
    of_role,
    said,
    text_failed,
    unless_installed,
    without_task_layer,
)

#: Attributes that may be changed.
ATTRIBUTES: Final = ("ramCount", "wallTime", "cpuTime", "coreCount")

#: Split rules that may be changed, by their tags.
SPLIT_RULES: Final = frozenset("AI TW EC ES MF NG NI NF NJ AV IL LI LC CC OT UZ IM NP".split())

#: Code of an attribute or rule that may not be changed.
NOT_CHANGEABLE: Final = 2

Task = Annotated[int, Wire("jediTaskID"), "task"]


@request(
    v1="task/change_priority",
    legacy="changeTaskPriority",
    method="POST",
    auth=Auth.PRODUCTION,
    answer=pickle_answer,
    refused=text_failed,
    failed=text_failed,
)
def change_task_priority(call: Call, task_id: Task, priority: Annotated[int, Wire("newPriority"), "priority"]) -> None:
    """Give a task and its jobs that have not ended another priority."""
    without_task_layer()


def _refused_attribute(message: str) -> tuple[Any, str]:
    return (NOT_CHANGEABLE if "disallowed" in message else False), message


@request(
    v1="task/change_attribute",
    legacy="changeTaskAttributePanda",
    method="POST",
    auth=Auth.PRODUCTION,
    answer=pickle_answer,
    refused=said(False),
    failed=_refused_attribute,
)
def change_task_attribute(
    call: Call,
    task_id: Task,
    attribute_name: Annotated[str, Wire("attrName"), MaxLength(64), "ramCount, wallTime, cpuTime or coreCount"],
    value: Annotated[int, Wire("attrValue"), "its value"],
) -> None:
    """Change an attribute of a task."""
    if attribute_name not in ATTRIBUTES:
        raise BadRequest(f"disallowed to change {attribute_name!r}; it may be {', '.join(ATTRIBUTES)}")
    without_task_layer()


@request(
    v1="task/change_split_rule",
    legacy="changeTaskSplitRulePanda",
    method="POST",
    auth=Auth.PRODUCTION,
    answer=pickle_answer,
    refused=said(False),
    failed=_refused_attribute,
)
def change_split_rule(
    call: Call,
    task_id: Task,
    attribute_name: Annotated[str, Wire("attrName"), MaxLength(64), "tag of the rule"],
    value: Annotated[str, Wire("attrValue"), MaxLength(64), "its value; empty or None: without the rule"],
) -> None:
    """Change a rule by which a task is split into jobs."""
    if attribute_name not in SPLIT_RULES:
        allowed = ", ".join(sorted(SPLIT_RULES))
        raise BadRequest(f"disallowed to change {attribute_name!r}; it may be {allowed}", data=NOT_CHANGEABLE)
    without_task_layer()


@request(
    v1="task/change_modification_time",
    legacy="changeTaskModTimePanda",
    method="POST",
    auth=Auth.PRODUCTION,
    answer=pickle_answer,
    refused=said(False),
    failed=said(False),
)
def change_task_modification_time(
    call: Call, task_id: Task, hour_offset: Annotated[int, Wire("diffValue"), "hours from now; negative: before"]
) -> None:
    """Set the time of a task's last change, which decides when it is looked at next."""
    without_task_layer()


@request(
    v1="task/reassign_global_share",
    legacy="reassignShare",
    method="POST",
    auth=Auth.PRODUCTION,
    answer=pickle_answer,
    refused=said(False),
    failed=said(DATABASE_ERROR),
)
def reassign_global_share(
    call: Call,
    task_id_list: Annotated[list[int], Wire("jedi_task_ids_pickle", read=read_ids), "tasks"],
    share: Annotated[str, MaxLength(32), "leaf of the share tree"],
    reassign_running_jobs: Annotated[bool, Wire("reassign_running"), "move running jobs, too"],
) -> None:
    """Give tasks and their jobs to another share."""
    without_task_layer(DATABASE_ERROR)


@request(
    v1="task/enable_jumbo_jobs",
    legacy="enableJumboJobs",
    method="POST",
    auth=Auth.PRODUCTION,
    answer=json_answer,
    refused=as_list(of_role(ROLE_MISSING)),
    failed=as_list(unless_installed(102, SERVER_ERROR)),
)
def enable_jumbo_jobs(
    call: Call,
    task_id: Task,
    jumbo_jobs_total: Annotated[int, Wire("nJumboJobs"), AtLeast(0), "jumbo jobs of the task"],
    jumbo_jobs_per_site: Annotated[int | None, Wire("nJumboPerSite"), AtLeast(0), "jumbo jobs at one queue"] = None,
) -> None:
    """Let a task run jumbo jobs."""
    without_task_layer()
