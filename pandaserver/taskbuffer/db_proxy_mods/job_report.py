"""What users and monitors ask about the jobs of a task: their numbers, descriptions and metadata."""

from __future__ import annotations

from typing import Final

from pandaserver.srvcore.errors import Conflict
from pandaserver.taskbuffer.db_proxy_mods.job_archive import load_archived
from pandaserver.taskbuffer.db_proxy_mods.job_load import load_jobs
from pandaserver.taskbuffer.db_proxy_mods.job_query import ARCHIVE_DAYS, JOBS_OF_TASK, MAX_IDS
from pandaserver.taskbuffer.JobSpec import JobSpec
from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.transaction import Transaction

#: Metadata of users' jobs that finished; those of the archive come second, so that a job that moves is not missed.
METADATA: Final = (
    """
    SELECT j.PandaID, m.metadata FROM ATLAS_PANDA.jobsArchived4 j
    JOIN ATLAS_PANDA.metaTable m ON m.PandaID = j.PandaID
    WHERE j.jediTaskID = :jediTaskID AND j.jobStatus = 'finished' AND j.prodSourceLabel = 'user'
    ORDER BY j.PandaID FETCH FIRST :n ROWS ONLY
    """,
    """
    SELECT j.PandaID, m.metadata FROM ATLAS_PANDAARCH.jobsArchived j
    JOIN ATLAS_PANDAARCH.metaTable_ARCH m ON m.PandaID = j.PandaID
    WHERE j.jediTaskID = :jediTaskID AND j.jobStatus = 'finished' AND j.prodSourceLabel = 'user'
    ORDER BY j.PandaID FETCH FIRST :n ROWS ONLY
    """,
)

#: How much that would be.
METADATA_SIZE: Final = (
    """
    SELECT COALESCE(SUM(LENGTH(m.metadata)), 0) FROM ATLAS_PANDA.jobsArchived4 j
    JOIN ATLAS_PANDA.metaTable m ON m.PandaID = j.PandaID
    WHERE j.jediTaskID = :jediTaskID AND j.jobStatus = 'finished' AND j.prodSourceLabel = 'user'
    """,
    """
    SELECT COALESCE(SUM(LENGTH(m.metadata)), 0) FROM ATLAS_PANDAARCH.jobsArchived j
    JOIN ATLAS_PANDAARCH.metaTable_ARCH m ON m.PandaID = j.PandaID
    WHERE j.jediTaskID = :jediTaskID AND j.jobStatus = 'finished' AND j.prodSourceLabel = 'user'
    """,
)

#: Characters of metadata that one reply carries at most.
MOST_METADATA: Final = 64 * 2**20

ARCHIVED_OF_TASK: Final = """
    SELECT PandaID FROM ATLAS_PANDAARCH.jobsArchived
    WHERE jediTaskID = :jediTaskID
    ORDER BY PandaID FETCH FIRST :n ROWS ONLY
"""


#: States in which a job ends without success.
UNSUCCESSFUL: Final = frozenset({"failed", "cancelled", "closed"})


@operation(timeout=60, repeatable=True)
def metadata_of_task(tx: Transaction, jediTaskID: int) -> dict[int, str]:
    """Return the metadata that finished user jobs of a task left, by PandaID; at most ``MAX_IDS`` jobs.

    A task with more metadata than a reply can carry is refused (Conflict): its jobs can be asked one by one.
    """
    size = sum(int(tx.value(text, jediTaskID=jediTaskID)) for text in METADATA_SIZE)
    if size > MOST_METADATA:
        raise Conflict(
            f"the jobs of task {jediTaskID} left {size} characters of metadata, more than {MOST_METADATA}; "
            "ask for fewer jobs, with getFullJobStatus"
        )
    found: dict[int, str] = {}
    for text in METADATA:
        found |= {job: data for job, data in tx.rows(text, jediTaskID=jediTaskID, n=MAX_IDS) if data}
    return found


@operation(timeout=60, repeatable=True)
def describe_jobs_of_task(
    tx: Transaction, jediTaskID: int, unsuccessful_only: bool = False, archive_days: float = ARCHIVE_DAYS
) -> list[JobSpec]:
    """Return the jobs of a task, also archived ones, in the order of their numbers, without metadata.

    At most ``MAX_IDS`` live and as many archived ones.
    With ``unsuccessful_only`` only those that ended without success.
    """
    live = [row[0] for row in tx.rows(JOBS_OF_TASK, jediTaskID=jediTaskID)][:MAX_IDS]
    found = {job.PandaID or 0: job for job in load_jobs(tx, live)}
    archived = [row[0] for row in tx.rows(ARCHIVED_OF_TASK, jediTaskID=jediTaskID, n=MAX_IDS) if row[0] not in found]
    found |= {job.PandaID or 0: job for job in load_archived(tx, archived, archive_days)}
    jobs = [found[job_id] for job_id in sorted(found)]
    for job in jobs:
        job.metadata = None
    return [job for job in jobs if job.jobStatus in UNSUCCESSFUL] if unsuccessful_only else jobs
