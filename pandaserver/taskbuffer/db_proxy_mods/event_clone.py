"""Clones of a job: whoever gets the one range of their set does the work, the others end.

With ``runonce`` the race is won by beginning to run, with ``storeonce`` by having outputs.
"""

from __future__ import annotations

from typing import Any, Final

from pandaserver.taskbuffer.db_proxy_mods.event_end import EXHAUST, GIVE_BACK, SET_OF
from pandaserver.taskbuffer.db_proxy_mods.event_sibling import close_unused
from pandaserver.taskbuffer.db_proxy_mods.file import fail_outputs
from pandaserver.taskbuffer.db_proxy_mods.job_move import move_jobs
from pandaserver.taskbuffer.ErrorCode import EC_Adder, EC_JobCloningUnlock
from pandaserver.taskbuffer.job_flags import flag_value
from pandaserver.taskbuffer.states import JobStatus
from pandaserver.taskbuffer.transaction import Transaction

S = JobStatus

#: Values of the flag ``sc:`` that mean storeonce.
STORE_ONCE: Final = frozenset({"2", "storeonce"})

LOST: Final[dict[str, Any]] = {
    "jobSubStatus": "jc_unlock",
    "taskBufferErrorCode": EC_JobCloningUnlock,
    "taskBufferErrorDiag": "another clone does the work",
}

OWNED: Final = "SELECT COUNT(*) FROM ATLAS_PANDA.JEDI_Events WHERE PandaID = :PandaID AND status IN (1, 2, 3)"

TAKE: Final = """
    UPDATE ATLAS_PANDA.JEDI_Events SET PandaID = :PandaID, status = :status WHERE rangeID IN (:ids[]) AND status = 0
"""

FINISH: Final = "UPDATE ATLAS_PANDA.JEDI_Events SET status = 3 WHERE PandaID = :PandaID AND status IN (1, 2)"


def begins(tx: Transaction, job_id: int, special_handling: str | None) -> bool:
    """Tell whether a clone that reports ``running`` may go on; one that may not is closed here."""
    if flag_value(special_handling, "clone_mode") in STORE_ONCE or _wins(tx, job_id, status=1):
        return True
    closed = move_jobs(tx, [job_id], S.closed, by="EventService", **LOST)
    fail_outputs(tx, closed)
    return False


def end_clone(tx: Transaction, job_id: int, status: JobStatus, **changes: Any) -> tuple[JobStatus, dict[str, Any]]:
    """Return what becomes of a clone that would become ``status``, and the columns that change with it."""
    if status is not S.finished:
        for statement in (EXHAUST, GIVE_BACK):
            tx.change(statement, PandaID=job_id)
        return status, changes
    if not _wins(tx, job_id, status=3):
        diag = {"ddmErrorCode": EC_Adder, "ddmErrorDiag": "another clone has stored its outputs"}
        return S.failed, {**changes, **LOST, **diag}
    tx.change(FINISH, PandaID=job_id)
    return status, changes


def _wins(tx: Transaction, job_id: int, status: int) -> bool:
    """Take the range, unless the clone has it; close the clones that have not begun."""
    if tx.value(OWNED, PandaID=job_id):
        return True
    jobset = tx.value(SET_OF, PandaID=job_id)
    if jobset is None:  # nobody to race with
        return True
    found = tx.claim(
        "ATLAS_PANDA.JEDI_Events",
        key="rangeID",
        limit=1,
        where=("PandaID = :jobset", "status = 0", "attemptNr > 0"),
        binds={"jobset": jobset},
        order="rangeID",
    )
    if not found or not tx.change(TAKE, ids=found, PandaID=job_id, status=status):
        return False
    close_unused(tx, jobset, job_id, **LOST)
    return True
