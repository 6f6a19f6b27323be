"""Jobs at any stage of their life, put there without living it."""

from __future__ import annotations

from itertools import count
from typing import Any

from pandaserver.taskbuffer.db_proxy_mods.job_load import load_jobs
from pandaserver.taskbuffer.FileSpec import FILE_ATTRIBUTES
from pandaserver.taskbuffer.JobSpec import JOB_COLUMNS, JobSpec
from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.states import HOME, JobStatus
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from pandaserver.taskbuffer.transaction import Transaction
from tests.factories import make_job

#: Columns whose default is not NULL, which submission sets to NULL.
UNSET_TIMES = ("startTime", "endTime")

_ids = count(1_000_000)


@operation(timeout=60)
def put_job_for_test(tx: Transaction, job: JobSpec) -> int:
    """Store a job in the home of its status, whatever that is."""
    job.PandaID = next(_ids)
    now = tx.now()
    job.creationTime = job.modificationTime = job.stateChangeTime = job.prodDBUpdateTime = now
    row = {name: getattr(job, name) for name in JOB_COLUMNS if getattr(job, name) is not None or name in UNSET_TIMES}
    tx.insert(f"ATLAS_PANDA.{HOME[JobStatus(job.jobStatus or '')]}", [row])
    tx.insert("ATLAS_PANDA.jobParamsTable", [{"PandaID": job.PandaID, "jobParameters": job.jobParameters}])
    for file in job.Files:
        file.row_ID, file.PandaID, file.fsize = next(_ids), job.PandaID, file.fsize or 0
        file.status = file.status or "unknown"
        tx.insert("ATLAS_PANDA.filesTable4", [{name: getattr(file, name) for name in FILE_ATTRIBUTES}])
    assert load_jobs(tx, [job.PandaID])
    return job.PandaID


def put_job(tbuf: TaskBuffer, status: str, **attributes: Any) -> int:
    """Return the PandaID of a new job in that status."""
    job = make_job(**attributes)
    job.jobStatus = status
    result: int = tbuf.caller.call(put_job_for_test, (job,), {})
    return result
