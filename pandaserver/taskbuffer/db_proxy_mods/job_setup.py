"""Preparation of jobs: who takes which, what became of them, and what the arrival of input releases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Final

from pandaserver.taskbuffer.db_proxy_mods.job_load import load_jobs
from pandaserver.taskbuffer.db_proxy_mods.job_move import NOW, move_jobs, touch_jobs
from pandaserver.taskbuffer.JobSpec import JobSpec
from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.setup import PREPARED_COLUMNS, Prepared
from pandaserver.taskbuffer.states import DEFINED, JobStatus
from pandaserver.taskbuffer.transaction import Transaction

#: Jobs that one call takes or changes at most.
CHUNK: Final = 500

CLAIM_LOST: Final = """
    jobStatus = :status AND modificationTime < CURRENT_TIMESTAMP - :seconds * INTERVAL '1' SECOND
"""

UPDATE_FILE: Final = f"""
    UPDATE ATLAS_PANDA.filesTable4 SET {", ".join(f"{name} = :{name}" for name in PREPARED_COLUMNS)}
    WHERE row_ID = :row_ID
"""

UPDATE_PARAMETERS: Final = """
    UPDATE ATLAS_PANDA.jobParamsTable SET jobParameters = :jobParameters WHERE PandaID = :PandaID
"""

LOCK_AWAITED: Final = """
    SELECT PandaID, status FROM ATLAS_PANDA.filesTable4
    WHERE PandaID IN (:ids[]) AND type = 'input' AND dispatchDBlock IS NOT NULL
    ORDER BY row_ID
    FOR UPDATE
"""

LOCK_DATASETS: Final = """
    SELECT type, status FROM ATLAS_PANDA.Datasets WHERE name = :name ORDER BY vuid FOR UPDATE
"""

COMPLETE_DISPATCH: Final = """
    UPDATE ATLAS_PANDA.Datasets SET status = 'completed', modificationDate = CURRENT_TIMESTAMP
    WHERE name = :name AND type = 'dispatch' AND status <> 'completed'
"""

FILES_ARRIVED: Final = """
    UPDATE ATLAS_PANDA.filesTable4 SET status = 'ready'
    WHERE dispatchDBlock = :name AND type = 'input' AND (status IS NULL OR status <> 'ready')
"""

ASSIGNED_FOR: Final = """
    SELECT j.PandaID FROM ATLAS_PANDA.jobsDefined4 j
    WHERE j.jobStatus = 'assigned' AND j.PandaID IN (
        SELECT f.PandaID FROM ATLAS_PANDA.filesTable4 f WHERE f.dispatchDBlock = :name AND f.type = 'input'
    )
    ORDER BY j.PandaID
"""

#: States of a file that is where the job runs.
ARRIVED: Final = frozenset({"ready", "cached"})

#: States of a dispatch dataset whose arrival has been dealt with.
DONE_DATASET: Final = frozenset({"completed", "deleting", "deleted"})


@operation(timeout=60)
def take_jobs_to_set_up(tx: Transaction, ids: Sequence[int]) -> list[JobSpec]:
    """Return those of the named jobs that are still ``defined``, and keep the search for lost ones away from them."""
    taken = tx.claim(
        "ATLAS_PANDA.jobsDefined4",
        key="PandaID",
        limit=len(ids),
        where=("jobStatus = :status", "PandaID IN (:ids[])"),
        binds={"status": str(JobStatus.defined), "ids": list(ids)},
        order="PandaID",
    )
    return _taken(tx, taken)


@operation(timeout=60)
def take_lost_jobs(tx: Transaction, status: JobStatus, seconds: float, limit: int) -> list[JobSpec]:
    """Return jobs of that status that nobody has touched for so long, oldest identifiers first.

    Jobs that wait for the task layer (a queue of their own, or no brokerage reason) are not lost.
    """
    conditions = [CLAIM_LOST]
    if status is JobStatus.waiting:
        conditions += ["computingSite IS NULL", "brokerageErrorCode <> 0"]
    taken = tx.claim(
        "ATLAS_PANDA.jobsDefined4",
        key="PandaID",
        limit=min(limit, CHUNK),
        where=conditions,
        binds={"status": str(status), "seconds": seconds},
        order="PandaID",
    )
    return _taken(tx, taken)


def _taken(tx: Transaction, ids: list[int]) -> list[JobSpec]:
    if not ids:
        return []
    touch_jobs(tx, DEFINED, ids, modificationTime=NOW)
    return load_jobs(tx, ids, tables=(DEFINED,))


@operation(timeout=60)
def apply_setup(tx: Transaction, prepared: Sequence[Prepared]) -> list[int]:
    """Give jobs the status and the values that the Setupper decided, and return those that moved.

    A job that somebody else moved meanwhile keeps what it has. A waiting job that was given a queue is released first.
    """
    released = [p.PandaID for p in prepared if p.was_waiting]
    if released:
        move_jobs(tx, released, JobStatus.defined, by="reassignJobs", where=(IS_WAITING,))
    moved: list[int] = []
    for (target, _), group in groupby(sorted(prepared, key=_decision), key=_decision):
        members = list(group)
        ids = [p.PandaID for p in members]
        moved += move_jobs(tx, ids, target, by="Setupper", where=(NOT_KILLED,), **members[0].changes)
    settled = set(moved)
    _update_files(tx, [p for p in prepared if p.PandaID in settled])
    assigned = [p.PandaID for p in prepared if p.target is JobStatus.assigned and p.PandaID in settled]
    if assigned:
        activate_jobs(tx, assigned)
    return sorted(moved)


#: A kill that waits to be noticed is not overtaken.
NOT_KILLED: Final = "commandToPilot IS NULL"

#: Only jobs that wait for a queue are released by one being found.
IS_WAITING: Final = "jobStatus = 'waiting'"


def _decision(prepared: Prepared) -> tuple[JobStatus, str]:
    return prepared.target, repr(sorted(prepared.changes.items()))


def _update_files(tx: Transaction, prepared: Sequence[Prepared]) -> None:
    files = [asdict(file) for p in prepared for file in p.files]
    if files:
        tx.change_many(UPDATE_FILE, files)
    texts = [{"PandaID": p.PandaID, "jobParameters": p.jobParameters} for p in prepared if p.jobParameters is not None]
    if texts:
        tx.change_many(UPDATE_PARAMETERS, texts)


@operation(timeout=60)
def keep_waiting(tx: Transaction, reasons: Sequence[tuple[int, str]]) -> None:
    """Write why waiting jobs still have no queue."""
    for reason, group in groupby(sorted(reasons, key=lambda r: r[1]), key=lambda r: r[1]):
        ids = [pid for pid, _ in group]
        touch_jobs(tx, DEFINED, ids, where=(IS_WAITING,), brokerageErrorDiag=reason, modificationTime=NOW)


@operation(timeout=60)
def activate_jobs(tx: Transaction, ids: Sequence[int]) -> list[int]:
    """Activate those assigned jobs whose input is all there, and return them.

    The files are locked before they are judged. So either this sees an arrival that happens meanwhile, or
    ``dispatch_arrived`` sees these jobs as assigned.
    """
    missing: set[int] = set()
    for start in range(0, len(ids), CHUNK):
        for job_id, status in tx.rows(LOCK_AWAITED, ids=list(ids[start : start + CHUNK])):
            if status not in ARRIVED:
                missing.add(job_id)
    ready = [job_id for job_id in ids if job_id not in missing]
    return move_jobs(tx, ready, JobStatus.activated, by="Activator", where=(NOT_KILLED,)) if ready else []


@operation(timeout=60)
def dispatch_arrived(tx: Transaction, name: str, enforce: bool = False) -> list[int]:
    """Take note that a dataset which jobs wait for is at their queue, and return the jobs that this activates.

    A dispatch dataset that has been dealt with is skipped unless ``enforce`` is given. The library of a build job is
    a dataset that nobody may have registered: its name is enough.
    """
    found = tx.rows(LOCK_DATASETS, name=name)
    if not enforce and any(kind == "dispatch" and status in DONE_DATASET for kind, status in found):
        return []
    tx.change(FILES_ARRIVED, name=name)
    ids = [row[0] for row in tx.rows(ASSIGNED_FOR, name=name)]
    if any(kind == "dispatch" for kind, _ in found):
        tx.change(COMPLETE_DISPATCH, name=name)
    return activate_jobs(tx, ids)
