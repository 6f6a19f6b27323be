"""Failing jobs whose pilot went silent. The judgement is the WHERE clause: a heartbeat in between saves the job."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from pandaserver.taskbuffer.db_proxy_mods.event_verdict import lose_event_jobs
from pandaserver.taskbuffer.db_proxy_mods.file import fail_outputs
from pandaserver.taskbuffer.db_proxy_mods.job_load import load_jobs
from pandaserver.taskbuffer.db_proxy_mods.job_move import Sql, move_jobs
from pandaserver.taskbuffer.ErrorCode import EC_WORKER_ALREADY_DONE
from pandaserver.taskbuffer.JobSpec import JobSpec
from pandaserver.taskbuffer.lost_jobs import LONGEST_LIST, LostRule, batched, reason_of_loss
from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.states import ACTIVE, JobStatus
from pandaserver.taskbuffer.transaction import Transaction

_SILENT: Final = "modificationTime < CURRENT_TIMESTAMP - :minutes * INTERVAL '1' MINUTE"
_SILENT_SINCE_END: Final = f"({_SILENT} OR {_SILENT.replace('modificationTime', 'endTime')})"
_STATUSES: Final = "jobStatus IN (:statuses[])"
_AT_SITES: Final = "computingSite IN (:sites[])"

#: The workers of jobs and how they are.
WORKERS = """
    SELECT r.PandaID, w.lastUpdate, w.status, w.errorCode, w.diagMessage
    FROM ATLAS_PANDA.Harvester_Rel_Jobs_Workers r, ATLAS_PANDA.Harvester_Workers w
    WHERE r.PandaID IN (:ids[]) AND w.harvesterID = r.harvesterID AND w.workerID = r.workerID
"""

_WORKER_ENDS: Final = frozenset({"finished", "failed", "cancelled", "missed"})


@operation(timeout=120)
def fail_lost_jobs(tx: Transaction, rule: LostRule, limit: int) -> list[JobSpec]:
    """Fail up to ``limit`` jobs that are lost by that rule; return them, with files, as they were before."""
    where = [_STATUSES, _SILENT_SINCE_END if rule.since_end else _SILENT, *rule.conditions]
    binds: dict[str, Any] = {"statuses": [str(s) for s in rule.statuses], "minutes": rule.minutes}
    if rule.sites is not None:
        where.append(_AT_SITES)
        binds["sites"] = list(rule.sites)
    for n, names in enumerate(batched(rule.except_sites, LONGEST_LIST)):
        where.append(f"computingSite NOT IN (:except_sites{n}[])")
        binds[f"except_sites{n}"] = list(names)
    ids = tx.claim("ATLAS_PANDA.jobsActive4", key="PandaID", limit=limit, where=where, binds=binds, order="PandaID")
    if not ids:
        return []
    jobs = load_jobs(tx, ids, tables=(ACTIVE,), parameters=False)
    workers = _ended_workers(tx, ids)
    groups: dict[tuple[int, str, str | None], list[int]] = defaultdict(list)
    of_sets: list[tuple[JobSpec, dict[str, Any]]] = []
    for job in jobs:
        if job.PandaID is not None:
            code, diag = reason_of_loss(job, rule)
            if job.eventService:
                of_sets.append((job, {"jobDispatcherErrorCode": code, "jobDispatcherErrorDiag": diag}))
                continue
            silent = not (job.exeErrorDiag or job.pilotErrorDiag or job.jobDispatcherErrorDiag)
            groups[code, diag, workers.get(job.PandaID) if silent else None].append(job.PandaID)
    if of_sets:
        lose_event_jobs(tx, of_sets)
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
    fail_outputs(tx, [job.PandaID for job in jobs if job.PandaID is not None and not job.eventService])
    return jobs


def _ended_workers(tx: Transaction, ids: Sequence[int]) -> dict[int, str]:
    """Return how the newest worker of each job ended, for those whose worker did."""
    rows = sorted(tx.rows(WORKERS, ids=list(ids)), key=lambda row: row[1] or datetime.min)
    newest = {row[0]: row[2:] for row in rows}
    return {
        pid: f"the worker {status} before the job ended; error={code} {diag or ''}".rstrip()
        for pid, (status, code, diag) in newest.items()
        if status in _WORKER_ENDS
    }
