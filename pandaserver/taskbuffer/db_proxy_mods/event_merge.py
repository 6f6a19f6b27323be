"""The end of a merge job: the consumers whose outputs it merged end with it, or another job tries again."""

from __future__ import annotations

from typing import Final

from pandaserver.taskbuffer.db_proxy_mods.event_end import SET_OF, end_waiting, give_up_set
from pandaserver.taskbuffer.db_proxy_mods.event_job import make_consumer, make_merge_job
from pandaserver.taskbuffer.db_proxy_mods.event_sibling import lock_set, members_of
from pandaserver.taskbuffer.ErrorCode import EC_MergeFailed
from pandaserver.taskbuffer.job_flags import EVENT_SERVICE
from pandaserver.taskbuffer.states import JobStatus
from pandaserver.taskbuffer.transaction import Transaction

S = JobStatus

MERGED: Final = "UPDATE ATLAS_PANDA.JEDI_Events SET status = 6 WHERE jobsetID = :jobsetID AND status = 3"

ATTEMPTS: Final = """
    SELECT attemptNr, maxAttempt FROM ATLAS_PANDA.jobsArchived4 WHERE PandaID = :PandaID
"""

#: Names of archives that the pilot of a merge job found to be unreadable are in its report.
ARCHIVES_OF_SET: Final = """
    SELECT z.row_ID, z.lfn FROM ATLAS_PANDA.filesTable4 z, ATLAS_PANDA.panda_event_jobs m
    WHERE m.jobsetID = :jobsetID AND z.PandaID = m.PandaID AND z.type = 'zipoutput'
"""

UNREADABLE: Final = """
    SELECT lfn FROM ATLAS_PANDA.filesTable4 WHERE PandaID = :PandaID AND type = 'zipinput' AND status = 'corrupted'
"""

PROCESS_AGAIN: Final = """
    UPDATE ATLAS_PANDA.JEDI_Events
    SET PandaID = jobsetID, status = 0, attemptNr = attemptNr - 1, zipRow_ID = NULL, objStore_ID = NULL,
        file_not_deleted = NULL
    WHERE jobsetID = :jobsetID AND zipRow_ID IN (:rows[]) AND status = 3 AND attemptNr > 1
"""

SPOIL: Final = """
    UPDATE ATLAS_PANDA.JEDI_Events SET status = 10
    WHERE jobsetID = :jobsetID AND zipRow_ID IN (:rows[]) AND status = 3
"""


def merge_ended(tx: Transaction, job_id: int, status: JobStatus, *, again: bool = False) -> None:
    """Do what the end of a merge job means to its set. ``again``: it was ended from outside, to be made once more."""
    jobset = tx.value(SET_OF, PandaID=job_id)
    if jobset is None:
        return
    lock_set(tx, jobset)
    if status is S.finished:
        tx.change(MERGED, jobsetID=jobset)
        end_waiting(tx, jobset, S.finished)
        return
    members = members_of(tx, jobset)
    task = next(task for pid, _, task, _ in members if pid == job_id)
    if status is S.failed and _process_again(tx, job_id, jobset):
        make_consumer(tx, max(pid for pid, kind, _, _ in members if kind == EVENT_SERVICE), task)
        return
    attempt, most = tx.one(ATTEMPTS, PandaID=job_id) or (0, 0)
    if (again or status is S.failed) and (most or 0) > (attempt or 0):
        make_merge_job(tx, job_id, task)
        return
    target = S.cancelled if status is S.closed else status
    give_up_set(tx, jobset, target, EC_MergeFailed, f"the merge job was {status}", jobSubStatus=f"merge_{status}")


def _process_again(tx: Transaction, job_id: int, jobset: int) -> bool:
    """Give ranges back whose archive the merge job could not read; tell whether there is something to do again."""
    names = {row[0].removeprefix("zip://") for row in tx.rows(UNREADABLE, PandaID=job_id)}
    if not names:
        return False
    rows = [row_id for row_id, lfn in tx.rows(ARCHIVES_OF_SET, jobsetID=jobset) if lfn in names]
    if not rows:
        return False
    again = tx.change(PROCESS_AGAIN, jobsetID=jobset, rows=rows)
    tx.change(SPOIL, jobsetID=jobset, rows=rows)
    return again > 0
