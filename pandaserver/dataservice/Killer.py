"""Killing jobs for somebody, with what their end means to others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

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
_BUILD = "panda"


def kill(task_buffer: TaskBuffer, request: KillRequest) -> list[bool]:
    """Kill up to as many jobs as one call takes; answers are those of ``killJobs``.

    The jobs are killed even if their datasets cannot be closed now: datasetManager closes those, too.
    """
    killed = task_buffer.killJobs(request)
    ids = [pid for pid, done in zip(request.ids, killed, strict=True) if done]
    if ids:
        try:
            after_end(task_buffer, list(_representatives(task_buffer.peekJobs(ids))))
        except PandaError as error:
            _log.warning(f"datasets of killed jobs are closed later n={len(ids)} first={ids[0]} error={error}")
    return killed


def _representatives(jobs: Iterable[JobSpec | None]) -> Iterable[JobSpec]:
    """Return one job that has ended of each submission, since its jobs share datasets, and all that build libraries."""
    seen: set[Any] = set()
    for job in jobs:
        if job is None or not is_final(job.jobStatus or ""):
            continue
        submission = (job.prodUserName, job.jobDefinitionID, job.jobsetID)
        if job.prodSourceLabel == _BUILD or submission not in seen:
            yield job
        seen.add(submission)
