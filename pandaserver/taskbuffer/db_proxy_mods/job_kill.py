"""Killing jobs: those that wait end here, those that run are told by their next heartbeat."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from pandaserver.taskbuffer import kill
from pandaserver.taskbuffer.db_proxy_mods import audit
from pandaserver.taskbuffer.db_proxy_mods.event_kill import archive_event_consumers, sets_after_kill
from pandaserver.taskbuffer.db_proxy_mods.event_sibling import lock_sets_of
from pandaserver.taskbuffer.db_proxy_mods.file import fail_outputs
from pandaserver.taskbuffer.db_proxy_mods.job_move import Sql, move_jobs, touch_jobs
from pandaserver.taskbuffer.kill import KillRequest, KillTarget
from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.states import ACTIVE, ARCHIVED, DEFINED, JobStatus
from pandaserver.taskbuffer.transaction import Transaction

_FACTS: Final = "PandaID, jobStatus, prodUserID, prodSourceLabel, workingGroup, commandToPilot, eventService"

#: A row that a heartbeat holds is waited for: of many jobs, somebody holds one at any moment.
LOCK: Final = {
    table: f"SELECT {_FACTS} FROM ATLAS_PANDA.{table} WHERE PandaID IN (:ids[]) ORDER BY PandaID FOR UPDATE"
    for table in (DEFINED, ACTIVE)
}

LOCK_FAILED: Final = f"""
    SELECT {_FACTS} FROM ATLAS_PANDA.jobsArchived4
    WHERE PandaID IN (:ids[]) AND jobStatus = 'failed' ORDER BY PandaID FOR UPDATE
"""

#: Jobs that a pilot has acknowledged but not begun end where they start.
NEVER_BEGUN: Final = Sql(
    "CASE WHEN jobStatus IN ('sent', 'starting') THEN COALESCE(endTime, CURRENT_TIMESTAMP) ELSE startTime END"
)

#: Jobs that one call kills at most, so that rows are not held for long.
CHUNK: Final = 500


#: Where live jobs are looked for. One that is set up again while we wait for its row goes back to the first place.
_PLACES: Final = (DEFINED, ACTIVE, DEFINED)


@operation(timeout=60)
def kill_jobs(tx: Transaction, request: KillRequest) -> list[bool]:
    """Kill up to ``CHUNK`` jobs; each answer tells whether the job was killed, or told to end.

    False stands for a job that is not there, has ended, has been told already, or is not the caller's.
    """
    wanted = sorted(set(request.ids))
    killed: set[int] = set()
    if request.code == kill.RETRIED:
        killed |= _mark_retried(tx, request, _targets(tx.rows(LOCK_FAILED, ids=wanted)))
    for table in _PLACES:
        targets = _targets(tx.rows(LOCK[table], ids=wanted)) if wanted else []
        wanted = sorted(set(wanted) - {job.PandaID for job in targets})
        allowed = [
            job
            for job in targets
            if kill.is_wanted(request, job) and kill.may_kill(request, job) and not kill.is_repeated(request, job)
        ]
        killed |= _end(tx, request, [job for job in allowed if kill.ends_at_once(request, job)])
        killed |= _tell(tx, request, [job.PandaID for job in allowed if not kill.ends_at_once(request, job)])
    if killed and not request.killer.is_system:
        _record(tx, request, sorted(killed))
    return [job_id in killed for job_id in request.ids]


def _targets(rows: Iterable[tuple[Any, ...]]) -> list[KillTarget]:
    return [KillTarget(row[0], JobStatus(row[1]), *row[2:]) for row in rows]


def _end(tx: Transaction, request: KillRequest, jobs: Sequence[KillTarget]) -> set[int]:
    if not jobs:
        return set()
    rule = request.rule
    changes: dict[str, Any] = {
        "taskBufferErrorCode": rule.error,
        "taskBufferErrorDiag": request.reason,
        "commandToPilot": None if request.code == kill.REBROKERAGE else kill.TO_BE_KILLED,
        "startTime": NEVER_BEGUN,
    }
    sub_status = request.sub_status or rule.sub_status
    if sub_status:
        changes["jobSubStatus"] = sub_status
    has_events = any(job.event_service for job in jobs)
    if has_events:
        lock_sets_of(tx, [job.PandaID for job in jobs if job.event_service])
    archived = archive_event_consumers(tx, request, jobs, **changes) if has_events else set()
    ended = move_jobs(
        tx, [job.PandaID for job in jobs if job.PandaID not in archived], rule.target, by="killJob", **changes
    )
    fail_outputs(tx, ended)
    if has_events:
        sets_after_kill(tx, request, jobs, set(ended))
    return archived | set(ended)


def _tell(tx: Transaction, request: KillRequest, ids: Sequence[int]) -> set[int]:
    if not ids:
        return set()
    touch_jobs(
        tx,
        ACTIVE,
        ids,
        commandToPilot=kill.TO_BE_KILLED,
        taskBufferErrorCode=request.rule.error,
        taskBufferErrorDiag=request.reason,
    )
    return set(ids)


def _mark_retried(tx: Transaction, request: KillRequest, targets: Sequence[KillTarget]) -> set[int]:
    """Note on failed jobs that others do their work now; their status stays."""
    ids = [job.PandaID for job in targets if kill.may_kill(request, job)]
    if ids:
        touch_jobs(tx, ARCHIVED, ids, taskBufferErrorCode=request.rule.error, taskBufferErrorDiag=request.reason)
    return set(ids)


def _record(tx: Transaction, request: KillRequest, ids: Sequence[int]) -> None:
    named = str(ids[0]) if len(ids) == 1 else f"{ids[0]}-{ids[-1]}"
    audit.record(tx, request.killer.name, "killJobs", "job", named, ids=list(ids), code=request.code)
