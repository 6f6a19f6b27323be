"""Build jobs and the jobs that wait for their library."""

from __future__ import annotations

from typing import Final

from pandaserver.taskbuffer.db_proxy_mods.file import fail_outputs
from pandaserver.taskbuffer.db_proxy_mods.job_load import load_jobs
from pandaserver.taskbuffer.db_proxy_mods.job_move import move_jobs
from pandaserver.taskbuffer.ErrorCode import EC_Kill
from pandaserver.taskbuffer.FileSpec import FileSpec
from pandaserver.taskbuffer.JobSpec import JobSpec
from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.reports import AwaitedLibrary
from pandaserver.taskbuffer.states import ARCHIVED, JobStatus
from pandaserver.taskbuffer.transaction import Transaction

#: Waiting jobs that one call cancels at most.
CHUNK: Final = 20

SET_LIBRARY = """
    UPDATE ATLAS_PANDA.filesTable4
    SET GUID = :GUID, fsize = :fsize, md5sum = :md5sum, checksum = :checksum
    WHERE dispatchDBlock = :dispatchDBlock AND lfn = :lfn AND type = 'input'
"""

WAITING_FOR = """
    SELECT j.PandaID FROM ATLAS_PANDA.jobsDefined4 j
    WHERE EXISTS (
        SELECT 1 FROM ATLAS_PANDA.filesTable4 f
        WHERE f.PandaID = j.PandaID AND f.dispatchDBlock = :dispatchDBlock AND f.type = 'input'
    )
    ORDER BY j.PandaID FETCH FIRST :n ROWS ONLY
"""

ENDED_BUILDS = """
    SELECT i.dispatchDBlock, b.jobStatus
    FROM ATLAS_PANDA.filesTable4 i, ATLAS_PANDA.filesTable4 o, ATLAS_PANDA.jobsArchived4 b
    WHERE i.PandaID IN (:ids[]) AND i.type = 'input' AND i.status NOT IN ('ready', 'cached')
      AND o.destinationDBlock = i.dispatchDBlock AND o.lfn = i.lfn AND o.type = 'output'
      AND b.PandaID = o.PandaID AND b.prodSourceLabel = 'panda'
"""


@operation(timeout=60)
def set_library_file(tx: Transaction, library: FileSpec) -> int:
    """Give the attributes of a library that has been built to the jobs that read it."""
    return tx.change(
        SET_LIBRARY,
        GUID=library.GUID,
        fsize=library.fsize or 0,
        md5sum=library.md5sum,
        checksum=library.checksum,
        dispatchDBlock=library.destinationDBlock,
        lfn=library.lfn,
    )


@operation(timeout=60)
def cancel_downstream_jobs(tx: Transaction, dataset: str) -> list[JobSpec]:
    """Cancel up to 20 jobs that wait for a library which will never exist; return them, with files."""
    ids = [row[0] for row in tx.rows(WAITING_FOR, dispatchDBlock=dataset, n=CHUNK)]
    moved = move_jobs(
        tx,
        ids,
        JobStatus.cancelled,
        by="killJob",
        taskBufferErrorCode=EC_Kill,
        taskBufferErrorDiag="the job that builds the library failed",
    )
    if not moved:
        return []
    fail_outputs(tx, moved)
    return load_jobs(tx, moved, tables=(ARCHIVED,), parameters=False)


@operation(timeout=60)
def awaited_libraries(tx: Transaction, ids: list[int]) -> list[AwaitedLibrary]:
    """Return the libraries that jobs still wait for although the job that builds them has ended."""
    return [
        AwaitedLibrary(name, status == JobStatus.finished)
        for name, status in sorted(set(tx.rows(ENDED_BUILDS, ids=ids)))
    ]
