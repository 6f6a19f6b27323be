"""Build jobs and the jobs that wait for their library."""

from __future__ import annotations

from typing import Final

from pandaserver.taskbuffer.db_proxy_mods.job_move import move_jobs
from pandaserver.taskbuffer.ErrorCode import EC_Kill
from pandaserver.taskbuffer.FileSpec import FileSpec
from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.states import JobStatus
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

FAIL_OUTPUTS = """
    UPDATE ATLAS_PANDA.filesTable4 SET status = 'failed'
    WHERE PandaID IN (:ids[]) AND type IN ('output', 'log')
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
def cancel_downstream_jobs(tx: Transaction, dataset: str) -> int:
    """Cancel up to 20 jobs that wait for a library which will never exist; return how many."""
    ids = [row[0] for row in tx.rows(WAITING_FOR, dispatchDBlock=dataset, n=CHUNK)]
    moved = move_jobs(
        tx,
        ids,
        JobStatus.cancelled,
        by="killJob",
        taskBufferErrorCode=EC_Kill,
        taskBufferErrorDiag="the job that builds the library failed",
    )
    if moved:
        tx.change(FAIL_OUTPUTS, ids=moved)
    return len(moved)
