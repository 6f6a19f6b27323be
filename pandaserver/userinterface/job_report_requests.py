"""What users ask about jobs that they look into: a script, metadata, and the jobs of a task."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final

from pandaserver.api.answering import Text, json_answer, plain_answer
from pandaserver.api.registry import AtLeast, AtMost, Auth, Call, Wire, refuse_anonymous_readers, request
from pandaserver.dataservice.offline_script import offline_script
from pandaserver.taskbuffer.client_jobs import job_as_mapping
from pandaserver.taskbuffer.db_proxy_mods.job_query import ARCHIVE_DAYS
from pandaserver.taskbuffer.job_flags import has_flag
from pandaserver.taskbuffer.JobSpec import JobSpec
from pandaserver.taskbuffer.WrappedPickle import dump_for_clients

#: processingTypes of jobs that merge outputs.
_MERGING: Final = frozenset({"pmerge", "usermerge", "merge"})


def _error(message: str) -> Text:
    return Text(f"ERROR : {message}")


def _refusal(message: str) -> Text:
    """Return what the method has always said to an identifier that is no number, a pickle among replies in JSON."""
    return Text(dump_for_clients((False, message)).decode()) if "must be of type int" in message else _error(message)


@request(
    v1="job/generate_offline_execution_script",
    legacy="getScriptOfflineRunning",
    method="GET",
    auth=Auth.ANYONE,
    answer=plain_answer,
    refused=_error,
    failed=_error,
    heavy=True,
)
def generate_offline_execution_script(
    call: Call,
    job_id: Annotated[int, Wire("pandaID"), "job"],
    days: Annotated[int | None, AtLeast(1), AtMost(3650), "days of the archive to look at (30)"] = None,
) -> Text:
    """Return a shell script that runs the job by hand, or a text that begins with ERROR.

    For anybody; where `anonymous_reads` is off, for callers with credentials.
    """
    refuse_anonymous_readers(call)
    wanted = float(days or ARCHIVE_DAYS)
    job = call.task_buffer.within(call.remaining()).getFullJobStatus([job_id], wanted)[0]
    if job is None:
        return _error(f"there is no job with PandaID={job_id}, and none ended within {wanted:g} days")
    return Text(offline_script(job))


@request(
    v1="job/get_metadata_for_analysis_jobs",
    legacy="getUserJobMetadata",
    method="GET",
    auth=Auth.ANYONE,
    auth_v1=Auth.USER,
    answer=json_answer,
    failed=_refusal,
    heavy=True,
)
def get_metadata_for_analysis_jobs(call: Call, task_id: Annotated[int, Wire("jediTaskID"), "task"]) -> dict[str, str]:
    """Return the metadata that finished jobs of users left, by PandaID.

    For anybody; where `anonymous_reads` is off, for callers with credentials.
    """
    refuse_anonymous_readers(call)
    found = call.task_buffer.within(call.remaining()).getUserJobMetadata(task_id)
    return {str(job_id): metadata for job_id, metadata in found.items()}


@request(v1="task/get_job_descriptions", legacy=None, method="GET", auth=Auth.USER, heavy=True)
def get_job_descriptions(
    call: Call,
    task_id: Annotated[int, "task"],
    unsuccessful_only: Annotated[bool, "only jobs that ended without success"] = False,
) -> list[dict[str, Any]]:
    """Return the jobs of a task, also those in the archive, with duration in seconds and kind."""
    jobs = call.task_buffer.within(call.remaining()).describeJobsOfTask(task_id, unsuccessful_only)
    return [_described(job) for job in jobs]


def _described(job: JobSpec) -> dict[str, Any]:
    facts = {"jobDuration": _duration(job), "extendedProdSourceLabel": f"{job.prodSourceLabel}_{_kind(job)}"}
    return job_as_mapping(job) | facts


def _duration(job: JobSpec) -> int | None:
    start, end = job.startTime, job.endTime
    return int((end - start).total_seconds()) if isinstance(start, datetime) and isinstance(end, datetime) else None


def _kind(job: JobSpec) -> str:
    if job.prodSourceLabel == "panda" or has_flag(job.specialHandling, "build_job"):
        return "build"
    if job.processingType in _MERGING or has_flag(job.specialHandling, "pmerge"):
        return "pmerge"
    return "scout" if has_flag(job.specialHandling, "scout") else "normal"
