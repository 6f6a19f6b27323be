"""Workers as their harvesters see them: their rows, which jobs they run, and what their end means for those jobs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Final, NamedTuple

from pandaserver.taskbuffer.db_proxy_mods.job_move import CHUNK
from pandaserver.taskbuffer.ErrorCode import EC_WorkerDone
from pandaserver.taskbuffer.JobSpec import JOB_TEXT_LIMITS
from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.states import LIVE_TABLES
from pandaserver.taskbuffer.transaction import Transaction
from pandaserver.taskbuffer.worker_reports import ENDED, PILOT_REPORTS, STICKY_HOURS, WORKER_COLUMNS, WorkerUpdate

#: What a worker is that nobody has described yet.
UNKNOWN_STATUS: Final = "pending"

LINKS: Final = """
    SELECT workerID, PandaID FROM ATLAS_PANDA.Harvester_Rel_Jobs_Workers
    WHERE harvesterID = :harvesterID AND workerID IN (:ids[])
"""

LOCK_WORKERS: Final = f"""
    SELECT workerID, lastUpdate, {", ".join(WORKER_COLUMNS)} FROM ATLAS_PANDA.Harvester_Workers
    WHERE harvesterID = :harvesterID AND workerID IN (:ids[])
    ORDER BY workerID
    FOR UPDATE
"""

UNLINK_ONE: Final = """
    DELETE FROM ATLAS_PANDA.Harvester_Rel_Jobs_Workers
    WHERE harvesterID = :harvesterID AND workerID = :workerID AND PandaID = :PandaID
"""

LOCK_JOBS: Final = """
    SELECT PandaID, jobStatus, COALESCE(attemptNr, 0), prodSourceLabel, prodUserName FROM ATLAS_PANDA.jobsActive4
    WHERE PandaID IN (:ids[])
    ORDER BY PandaID
    FOR UPDATE
"""

#: Who else works on these jobs: a job that was given to somebody else survives its first worker.
OTHER_WORKERS: Final = """
    SELECT r.PandaID, r.harvesterID, r.workerID
    FROM ATLAS_PANDA.Harvester_Rel_Jobs_Workers r
    JOIN ATLAS_PANDA.Harvester_Workers w ON w.harvesterID = r.harvesterID AND w.workerID = r.workerID
    WHERE r.PandaID IN (:ids[]) AND w.status NOT IN ('finished', 'failed', 'cancelled', 'missed')
"""

MARK_ENDED: Final = """
    UPDATE ATLAS_PANDA.jobsActive4
    SET taskBufferErrorCode = :code, taskBufferErrorDiag = :diag,
        startTime = CASE WHEN jobStatus = 'starting' THEN NULL ELSE startTime END
    WHERE PandaID = :PandaID
"""

REPORTED: Final = """
    SELECT PandaID, attemptNr FROM ATLAS_PANDA.Job_Output_Report WHERE PandaID IN (:ids[])
"""

MARK_ERROR: Final = {
    table: f"""
    UPDATE ATLAS_PANDA.{table} SET supErrorCode = :code, supErrorDiag = :diag
    WHERE PandaID = :PandaID AND jobStatus <> 'finished' AND (:anybody = 1 OR prodUserName = :owner)
"""
    for table in LIVE_TABLES
}


class _Job(NamedTuple):
    """What the end of a worker needs to know of a job."""

    PandaID: int
    status: str
    attempt: int
    label: str | None
    user: str | None


@operation(timeout=120)
def update_workers(
    tx: Transaction, harvester_id: str, updates: Sequence[WorkerUpdate], owner: str | None = None
) -> list[int]:
    """Take what an instance says about at most a thousand workers, all or nothing; return the jobs that end by it.

    A worker that ended less than three hours ago stays as it ended. A list of jobs replaces the one before; an empty
    one changes nothing. Jobs suffer only from callers who may run pilots (``owner`` None) or who own them.
    """
    latest = {update.worker_id: update for update in updates}  # the last word about a worker counts
    ids = sorted(latest)
    links = _links(tx, harvester_id, ids)
    wanted = {pid: set(latest[pid].job_ids) or links.get(pid, set()) for pid in ids}
    # Everybody locks jobs before workers, and workers before what binds them.
    jobs = _lock_jobs(tx, [pid for worker in ids if _touches_jobs(latest[worker]) for pid in wanted[worker]])
    _store_workers(tx, harvester_id, [latest[worker] for worker in ids])
    _store_links(tx, harvester_id, links, {w: wanted[w] for w in ids if latest[w].job_ids})
    ended = _end_jobs(tx, harvester_id, latest, wanted, jobs, owner)
    _mark_errors(tx, latest.values(), wanted, owner)
    return ended


def _links(tx: Transaction, harvester_id: str, ids: Sequence[int]) -> dict[int, set[int]]:
    found: dict[int, set[int]] = {}
    for worker, panda_id in tx.rows(LINKS, harvesterID=harvester_id, ids=list(ids)):
        found.setdefault(worker, set()).add(panda_id)
    return found


def _touches_jobs(update: WorkerUpdate) -> bool:
    return _ends_jobs(update) or update.error_code != 0


def _ends_jobs(update: WorkerUpdate) -> bool:
    return update.has_ended and update.sync_level == PILOT_REPORTS


def _lock_jobs(tx: Transaction, ids: Iterable[int]) -> dict[int, _Job]:
    ordered = sorted(set(ids))
    chunks = [ordered[start : start + CHUNK] for start in range(0, len(ordered), CHUNK)]
    return {row[0]: _Job(*row) for chunk in chunks for row in tx.rows(LOCK_JOBS, ids=chunk)}


def _store_workers(tx: Transaction, harvester_id: str, updates: Sequence[WorkerUpdate]) -> None:
    now = tx.now()
    ids = [update.worker_id for update in updates]
    known = {row["workerID"]: row for row in tx.dicts(LOCK_WORKERS, harvesterID=harvester_id, ids=ids)}
    rows = []
    for update in updates:
        row = dict.fromkeys(WORKER_COLUMNS) | known.get(update.worker_id, {}) | dict(update.columns)
        old = known.get(update.worker_id)
        if old is not None and old["status"] in ENDED and old["lastUpdate"] > now - timedelta(hours=STICKY_HOURS):
            row["status"] = old["status"]
        row |= {"harvesterID": harvester_id, "workerID": update.worker_id, "lastUpdate": now}
        rows.append(row | {"status": row["status"] or UNKNOWN_STATUS})
    tx.upsert_many("ATLAS_PANDA.Harvester_Workers", ("harvesterID", "workerID"), rows)


def _store_links(
    tx: Transaction, harvester_id: str, links: Mapping[int, set[int]], wanted: Mapping[int, set[int]]
) -> None:
    now = tx.now()
    gone = [(worker, pid) for worker, jobs in wanted.items() for pid in sorted(links.get(worker, set()) - jobs)]
    tx.change_many(UNLINK_ONE, [{"harvesterID": harvester_id, "workerID": w, "PandaID": pid} for w, pid in gone])
    tx.upsert_many(
        "ATLAS_PANDA.Harvester_Rel_Jobs_Workers",
        ("harvesterID", "workerID", "PandaID"),
        [
            {"harvesterID": harvester_id, "workerID": worker, "PandaID": pid, "lastUpdate": now}
            for worker, jobs in sorted(wanted.items())
            for pid in sorted(jobs)
        ],
    )


def _end_jobs(
    tx: Transaction,
    harvester_id: str,
    latest: Mapping[int, WorkerUpdate],
    wanted: Mapping[int, set[int]],
    jobs: Mapping[int, _Job],
    owner: str | None,
) -> list[int]:
    """Fail the jobs whose only worker has ended before them: an empty report makes the Adder do it."""
    dying: dict[int, WorkerUpdate] = {}
    for worker, update in latest.items():
        for job in (jobs[pid] for pid in wanted[worker] if pid in jobs) if _ends_jobs(update) else ():
            if job.status in ("running", "starting") and owner in (None, job.user):
                dying[job.PandaID] = update
    for pid in _with_other_workers(tx, harvester_id, latest, sorted(dying)):
        del dying[pid]
    if not dying:
        return []
    tx.change_many(
        MARK_ENDED,
        [
            {"PandaID": pid, "code": EC_WorkerDone, "diag": _diag(update, jobs[pid])}
            for pid, update in sorted(dying.items())
        ],
    )
    _leave_reports(tx, [jobs[pid] for pid in sorted(dying)])
    return sorted(dying)


def _with_other_workers(
    tx: Transaction, harvester_id: str, latest: Mapping[int, WorkerUpdate], ids: Sequence[int]
) -> set[int]:
    ended = {(harvester_id, worker) for worker, update in latest.items() if update.has_ended}
    chunks = [ids[start : start + CHUNK] for start in range(0, len(ids), CHUNK)]
    rows = [row for chunk in chunks for row in tx.rows(OTHER_WORKERS, ids=list(chunk))]
    return {pid for pid, harvester, worker in rows if (harvester, worker) not in ended}


def _diag(update: WorkerUpdate, job: _Job) -> str:
    reason = update.columns.get("diagMessage") or ""
    diag = f"the worker was {update.status} while the job was {job.status} : {reason}"
    return diag[: JOB_TEXT_LIMITS["taskBufferErrorDiag"]]


def _leave_reports(tx: Transaction, jobs: Sequence[_Job]) -> None:
    """Leave a failed report of each job, unless its attempt has one; the rows of the jobs are locked."""
    chunks = [jobs[start : start + CHUNK] for start in range(0, len(jobs), CHUNK)]
    there = {row for chunk in chunks for row in tx.rows(REPORTED, ids=[job.PandaID for job in chunk])}
    tx.insert(
        "ATLAS_PANDA.Job_Output_Report",
        [
            {
                "PandaID": job.PandaID,
                "prodSourceLabel": job.label,
                "jobStatus": "failed",
                "attemptNr": job.attempt,
                "data": "",
                "timeStamp": tx.now(),
            }
            for job in jobs
            if (job.PandaID, job.attempt) not in there
        ],
    )


def _mark_errors(
    tx: Transaction, updates: Iterable[WorkerUpdate], wanted: Mapping[int, set[int]], owner: str | None
) -> None:
    """Tell the jobs of workers with an error about it, wherever they are by now."""
    rows = [
        {
            "PandaID": pid,
            "code": update.error_code,
            "diag": f"Diag from worker : {update.columns.get('diagMessage') or ''}"[: JOB_TEXT_LIMITS["supErrorDiag"]],
            "anybody": int(owner is None),
            "owner": owner or "",
        }
        for update in updates
        if update.error_code
        for pid in sorted(wanted[update.worker_id])
    ]
    for text in MARK_ERROR.values() if rows else ():
        tx.change_many(text, rows)
