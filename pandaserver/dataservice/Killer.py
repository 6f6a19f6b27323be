"""Killing jobs for somebody, with what their end means to others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from pandacommon.pandalogger.PandaLogger import PandaLogger
from pandaserver.dataservice.Closer import after_end
from pandaserver.srvcore.errors import PandaError
from pandaserver.taskbuffer.JobSpec import JobSpec
from pandaserver.taskbuffer.kill import KillRequest
from pandaserver.taskbuffer.states import is_final

if TYPE_CHECKING:
    from pandaserver.taskbuffer.TaskBuffer import TaskBuffer

_log = PandaLogger().getLogger("Killer")

#: Label of jobs that build a library for others.
_BUILD: Final = "panda"

#: processingType of jobs that merge outputs of others, and the kill code after which their task makes new ones.
_MERGE: Final = "pmerge"
_BY_TASK: Final = 51


def kill(task_buffer: TaskBuffer, request: KillRequest) -> list[bool]:
    """Kill up to as many jobs as one call takes; answers are those of ``killJobs``.

    The jobs are killed even if their datasets cannot be closed now: datasetManager closes those, too.
    """
    killed = task_buffer.killJobs(request)
    ids = [pid for pid, done in zip(request.ids, killed, strict=True) if done]
    if ids:
        try:
            jobs = [job for job in task_buffer.peekJobs(ids) if job is not None and is_final(job.jobStatus or "")]
            tell_merges(jobs, request.code, request.keep_unmerged)
            after_end(task_buffer, list(_representatives(jobs)))
        except PandaError as error:
            _log.warning(f"datasets of killed jobs are closed later n={len(ids)} first={ids[0]} error={error}")
    return killed


def tell_merges(jobs: Iterable[JobSpec], code: int | None, keep_unmerged: bool) -> None:
    """Tell that nobody forbids further attempts of killed merge jobs: their inputs are counted by the task layer."""
    if keep_unmerged or code == _BY_TASK:
        return
    merges = [job.PandaID for job in jobs if job.processingType == _MERGE]
    if merges:
        _log.warning(
            f"killed merge jobs n={len(merges)} first={merges[0]}: further attempts are not forbidden, "
            "this server has no task layer"
        )


def _representatives(jobs: Iterable[JobSpec]) -> Iterable[JobSpec]:
    """Return one job of each submission, since its jobs share datasets, and all that build libraries."""
    seen: set[Any] = set()
    for job in jobs:
        submission = (job.prodUserName, job.jobDefinitionID, job.jobsetID)
        if job.prodSourceLabel == _BUILD or submission not in seen:
            yield job
        seen.add(submission)
