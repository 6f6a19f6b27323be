"""Looking at jobs and ending them, at both doors."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any, Final

from pandaserver.api.answering import Response, Text, json_answer, pickle_answer
from pandaserver.api.registry import Auth, Call, Door, Wire, comma_separated, refuse_anonymous_readers, request
from pandaserver.dataservice.Killer import kill
from pandaserver.srvcore.errors import PandaError
from pandaserver.taskbuffer.client_jobs import job_as_mapping, job_as_state, read_ids
from pandaserver.taskbuffer.db_proxy_mods.job_kill import CHUNK
from pandaserver.taskbuffer.db_proxy_mods.job_reassign import ReassignRequest
from pandaserver.taskbuffer.JobSpec import JobSpec
from pandaserver.taskbuffer.kill import Killer, KillRequest

_SUB_STATUS: Final = "jobSubStatus="
_KEEP_UNMERGED: Final = "keepUnmerged"

Ids = Annotated[list[int], Wire("ids", read=read_ids), "PandaIDs"]


class _AsAsked:
    """JSON for callers that accept it, a pickle for the others."""

    family = "pickle"

    def result(self, value: Any, accepts_json: bool, /) -> Response:
        return (json_answer if accepts_json else pickle_answer).result(value, accepts_json)

    def error(self, error: PandaError, accepts_json: bool, /) -> Response:
        return pickle_answer.error(error, accepts_json)


@request(
    v1="job/get_description",
    legacy="getJobStatus",
    method="ANY",
    auth=Auth.ANYONE,
    auth_v1=Auth.USER,
    answer=_AsAsked(),
)
def describe_jobs(
    call: Call,
    job_ids: Ids,
    no_pickle: Annotated[str | None, Wire("no_pickle", only="legacy"), "answer with states in JSON"] = None,
) -> Sequence[Any]:
    """Return jobs that are at work or have ended lately, in the order asked for; null for the others.

    For anybody; where `anonymous_reads` is off, for callers with credentials.
    """
    refuse_anonymous_readers(call)
    jobs = call.task_buffer.within(call.remaining()).peekJobs(job_ids)
    if call.door is Door.V1:
        return jobs
    if no_pickle not in (None, "False"):
        return Text(json.dumps([job and job_as_state(job) for job in jobs]))
    return [job and _without_files(job) for job in jobs] if call.accepts_json else jobs


def _without_files(job: JobSpec) -> dict[str, Any]:
    mapping = job_as_mapping(job)
    del mapping["Files"]
    return mapping


@request(
    v1="job/get_description_incl_archive",
    legacy="getFullJobStatus",
    method="ANY",
    auth=Auth.USER,
    answer=pickle_answer,
    heavy=True,
)
def describe_archived_jobs(call: Call, job_ids: Ids) -> list[JobSpec | None]:
    """Return jobs with their metadata, in the order asked for; null for those that nobody remembers.

    Jobs that left the live tables are found in the archive for 30 days after their end.
    """
    return call.task_buffer.within(call.remaining()).getFullJobStatus(job_ids)


@request(v1="job/kill", legacy="killJobs", method="POST", auth=Auth.USER, answer=pickle_answer)
def kill_jobs(
    call: Call,
    job_ids: Ids,
    code: Annotated[int | None, "why: decides how the jobs end"] = None,
    use_email_as_id: Annotated[bool, Wire("useMailAsID"), "accepted and not used"] = False,  # noqa: ARG001
    kill_options: Annotated[
        list[str] | None, Wire("killOpts", read=comma_separated), "keepUnmerged, jobSubStatus=<text>"
    ] = None,
) -> list[bool]:
    """End jobs, or tell running ones to end; True for each that was ended or told.

    For the owners of jobs, working groups with the production role, and the production role.
    """
    return _kill(call, job_ids, code, kill_options or [])


def _kill(call: Call, job_ids: Sequence[int], code: int | None, options: Sequence[str]) -> list[bool]:
    sub_status = next((o.removeprefix(_SUB_STATUS) for o in options if o.startswith(_SUB_STATUS)), None)
    killed: list[bool] = []
    for start in range(0, len(job_ids), CHUNK):
        wanted = KillRequest(
            tuple(job_ids[start : start + CHUNK]),
            _killer(call),
            code,
            sub_status=sub_status,
            keep_unmerged=_KEEP_UNMERGED in options,
        )
        killed += kill(call.task_buffer.within(call.remaining()), wanted)
    return killed


def _killer(call: Call) -> Killer:
    caller = call.principal
    return Killer(caller.dn, caller.name, caller.has_production_role, caller.production_groups)


@request(
    v1="task/kill_unfinished_jobs", legacy="killUnfinishedJobs", method="POST", auth=Auth.USER, answer=pickle_answer
)
def kill_jobs_of_task(
    call: Call,
    task_id: Annotated[int, Wire("jediTaskID"), "task"],
    code: Annotated[int | None, "why: decides how the jobs end"] = None,
    use_email_as_id: Annotated[bool, Wire("useMailAsID"), "accepted and not used"] = False,  # noqa: ARG001
) -> list[bool]:
    """End the jobs of a task that are at work or have ended lately; True for each that was ended or told.

    For the same callers as killing the jobs by their numbers, job by job.
    """
    return _kill(call, call.task_buffer.within(call.remaining()).getPandaIDsWithTaskID(task_id), code, ())


@request(v1="job/reassign", legacy="reassignJobs", method="POST", auth=Auth.USER, answer=pickle_answer)
def reassign_jobs(
    call: Call,
    job_ids: Ids,
    for_pending: Annotated[
        bool, Wire("forPending", only="legacy"), "release jobs that wait for the task layer, as they are"
    ] = False,
    first_submission: Annotated[  # noqa: ARG001
        str | None, Wire("firstSubmission", only="legacy"), "accepted and not used"
    ] = None,
) -> bool:
    """Set up jobs again that wait for something, at another queue if one fits; jobs of tasks go back to their task.

    For the owners of jobs, working groups with the production role, and the production role; other jobs, and those
    that a pilot has, stay as they are.
    """
    for start in range(0, len(job_ids), CHUNK):
        wanted = ReassignRequest(tuple(job_ids[start : start + CHUNK]), _killer(call), for_pending=for_pending)
        done = call.task_buffer.within(call.remaining()).reassignJobs(wanted)
        call.services.nudge_setupper(done.defined)
    return True


@request(
    v1="task/get_job_ids",
    legacy="getPandaIDsWithTaskID",
    method="GET",
    auth=Auth.ANYONE,
    auth_v1=Auth.USER,
    answer=pickle_answer,
    failed=lambda message: (False, message),
)
def jobs_of_task(call: Call, task_id: Annotated[int, Wire("jediTaskID"), "task"]) -> list[int]:
    """Return the PandaIDs of a task's jobs that are at work or have ended lately.

    For anybody; where `anonymous_reads` is off, for callers with credentials.
    """
    refuse_anonymous_readers(call)
    return call.task_buffer.within(call.remaining()).getPandaIDsWithTaskID(task_id)
