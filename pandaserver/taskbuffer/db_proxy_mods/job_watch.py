"""Failing jobs whose pilot went silent. The judgement is the WHERE clause: a heartbeat in between saves the job."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final

from pandaserver.taskbuffer.db_proxy_mods.job_load import load_jobs
from pandaserver.taskbuffer.db_proxy_mods.job_move import Sql, move_jobs
from pandaserver.taskbuffer.ErrorCode import EC_WORKER_ALREADY_DONE
from pandaserver.taskbuffer.JobSpec import JobSpec
from pandaserver.taskbuffer.lost_jobs import LostRule, reason_of_loss
from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.states import ACTIVE, JobStatus
from pandaserver.taskbuffer.transaction import Transaction

_SILENT: Final = "modificationTime < CURRENT_TIMESTAMP - :minutes * INTERVAL '1' MINUTE"
_STATUSES: Final = "jobStatus IN (:statuses[])"
_AT_SITES: Final = "computingSite IN (:sites[])"
_NOT_AT_SITES: Final = "computingSite NOT IN (:except_sites[])"

FAIL_OUTPUTS = """
    UPDATE ATLAS_PANDA.filesTable4 SET status = 'failed'
    WHERE PandaID IN (:ids[]) AND type IN ('output', 'log')
"""

#: The worker that was linked to the job last, if it ended before the job did.
ENDED_WORKERS = """
    SELECT r.PandaID, w.status, w.errorCode, w.diagMessage
    FROM ATLAS_PANDA.Harvester_Rel_Jobs_Workers r, ATLAS_PANDA.Harvester_Workers w
    WHERE r.PandaID IN (:ids[]) AND w.harvesterID = r.harvesterID AND w.workerID = r.workerID
    ORDER BY r.PandaID, w.lastUpdate
"""

_WORKER_ENDS: Final = frozenset({"finished", "failed", "cancelled", "missed"})


@operation(timeout=120)
def fail_lost_jobs(tx: Transaction, rule: LostRule, limit: int) -> list[JobSpec]:
    """Fail up to ``limit`` jobs that are lost by that rule; return them, with files, as they were before."""
    where = [_STATUSES, _SILENT, *rule.conditions]
    binds: dict[str, Any] = {"statuses": [str(s) for s in rule.statuses], "minutes": rule.minutes}
    if rule.sites is not None:
        where.append(_AT_SITES)
        binds["sites"] = list(rule.sites)
    if rule.except_sites:
        where.append(_NOT_AT_SITES)
        binds["except_sites"] = list(rule.except_sites)
    ids = tx.claim("ATLAS_PANDA.jobsActive4", key="PandaID", limit=limit, where=where, binds=binds, order="PandaID")
    if not ids:
        return []
    jobs = load_jobs(tx, ids, tables=(ACTIVE,), parameters=False)
    workers = _ended_workers(tx, ids)
    groups: dict[tuple[int, str, str | None], list[int]] = defaultdict(list)
    for job in jobs:
        if job.PandaID is not None:
            code, diag = reason_of_loss(job, rule)
            silent = not (job.exeErrorDiag or job.pilotErrorDiag or job.jobDispatcherErrorDiag)
            groups[code, diag, workers.get(job.PandaID) if silent else None].append(job.PandaID)
    for (code, diag, worker), members in groups.items():
        changes: dict[str, Any] = {"jobDispatcherErrorCode": code, "jobDispatcherErrorDiag": diag}
        if worker is not None:
            changes |= {"supErrorCode": EC_WORKER_ALREADY_DONE, "supErrorDiag": worker}
        move_jobs(
            tx,
            members,
            JobStatus.failed,
            by="Watcher",
            locked=True,
            endTime=Sql("COALESCE(endTime, modificationTime)"),
            **changes,
        )
    tx.change(FAIL_OUTPUTS, ids=ids)
    return jobs


def _ended_workers(tx: Transaction, ids: Sequence[int]) -> dict[int, str]:
    """Return how the newest worker of each job ended, for those whose worker did."""
    newest = {row[0]: row[1:] for row in tx.rows(ENDED_WORKERS, ids=list(ids))}
    return {
        pid: f"the worker {status} before the job ended; error={code} {diag or ''}".rstrip()
        for pid, (status, code, diag) in newest.items()
        if status in _WORKER_ENDS
    }
