"""Reading jobs for clients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pandaserver.taskbuffer.db_proxy_mods.job_archive import load_archived
from pandaserver.taskbuffer.db_proxy_mods.job_load import load_jobs
from pandaserver.taskbuffer.JobSpec import JobSpec
from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.transaction import Transaction

#: Most jobs that one request describes; further identifiers are ignored.
MAX_IDS: Final = 5500

#: Days of the archive that a full status looks at.
ARCHIVE_DAYS: Final = 30.0

JOBS_OF_TASK: Final = """
    SELECT PandaID FROM ATLAS_PANDA.jobsDefined4 WHERE jediTaskID = :jediTaskID
    UNION ALL
    SELECT PandaID FROM ATLAS_PANDA.jobsActive4 WHERE jediTaskID = :jediTaskID
    UNION ALL
    SELECT PandaID FROM ATLAS_PANDA.jobsArchived4 WHERE jediTaskID = :jediTaskID
    ORDER BY PandaID
"""


@operation(timeout=60, repeatable=True)
def peek_jobs(tx: Transaction, ids: Sequence[int], files: bool = True, metadata: bool = False) -> list[JobSpec | None]:
    """Return the jobs in the order of ``ids``, with None for those that are in no live table."""
    wanted = list(ids)[:MAX_IDS]
    distinct = list(dict.fromkeys(wanted))
    found = {job.PandaID: job for job in load_jobs(tx, distinct, files=files, metadata=metadata)}
    return [found.get(job_id) for job_id in wanted]


@operation(timeout=60, repeatable=True)
def get_full_job_status(
    tx: Transaction, ids: Sequence[int], archive_days: float = ARCHIVE_DAYS
) -> list[JobSpec | None]:
    """Return the jobs, with metadata, in the order of ``ids``; those not live are looked for in the archive.

    The archive comes second: a job that moves there meanwhile is seen in one of both places.
    """
    wanted = list(ids)[:MAX_IDS]
    distinct = list(dict.fromkeys(wanted))
    found = {job.PandaID: job for job in load_jobs(tx, distinct, metadata=True)}
    missing = [job_id for job_id in distinct if job_id not in found]
    if missing:
        found |= {job.PandaID: job for job in load_archived(tx, missing, archive_days)}
    return [found.get(job_id) for job_id in wanted]


@operation(timeout=60, repeatable=True)
def job_ids_of_task(tx: Transaction, jediTaskID: int) -> list[int]:
    """Return the jobs of a task that are in the live tables, in the order of their identifiers."""
    return [row[0] for row in tx.rows(JOBS_OF_TASK, jediTaskID=jediTaskID)]
