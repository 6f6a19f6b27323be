"""Verdicts of the Adder on jobs whose end is decided together with that of others: consumers, clones, merge jobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pandaserver.taskbuffer.db_proxy_mods.event_clone import end_clone
from pandaserver.taskbuffer.db_proxy_mods.event_end import ENDS_HERE, end_consumer, settle_files
from pandaserver.taskbuffer.db_proxy_mods.event_merge import merge_ended
from pandaserver.taskbuffer.db_proxy_mods.event_sibling import lock_sets_of
from pandaserver.taskbuffer.db_proxy_mods.file import fail_outputs
from pandaserver.taskbuffer.db_proxy_mods.job_move import move_jobs
from pandaserver.taskbuffer.job_flags import EVENT_SERVICE_MERGE, JOB_CLONING
from pandaserver.taskbuffer.JobSpec import JobSpec
from pandaserver.taskbuffer.reports import Verdict
from pandaserver.taskbuffer.states import FINAL, JobStatus
from pandaserver.taskbuffer.transaction import Transaction

#: A pilot may have begun another attempt since the report was read.
_SAME_ATTEMPT: Final = "COALESCE(attemptNr, 0) = :attemptNr"


def settle_event_jobs(tx: Transaction, verdicts: Sequence[Verdict]) -> dict[int, JobStatus]:
    """Carry out verdicts and return what each job became; one that does not fit its verdict any more is left out."""
    became: dict[int, JobStatus] = {}
    lock_sets_of(tx, [v.PandaID for v in verdicts])
    for verdict in sorted(verdicts, key=lambda v: v.PandaID):
        status = _settle(tx, verdict)
        if status is not None:
            became[verdict.PandaID] = status
    return became


def _settle(tx: Transaction, verdict: Verdict) -> JobStatus | None:
    target, job_id, changes = verdict.target, verdict.PandaID, dict(verdict.changes)
    if target is None:
        return None
    if verdict.event_service in ENDS_HERE and target in FINAL:
        return end_consumer(tx, job_id, target, attempt=verdict.attemptNr, **changes)
    if verdict.event_service == JOB_CLONING and target in FINAL:
        target, changes = end_clone(tx, job_id, target, **changes)
    binds = {"attemptNr": verdict.attemptNr}
    if not move_jobs(tx, [job_id], target, by=verdict.by, where=(_SAME_ATTEMPT,), binds=binds, **changes):
        return None
    if verdict.event_service == EVENT_SERVICE_MERGE and target in FINAL:
        merge_ended(tx, job_id, target)
    return target


def lose_event_jobs(tx: Transaction, lost: Sequence[tuple[JobSpec, Mapping[str, Any]]]) -> None:
    """End jobs whose heartbeat stopped, each with its changes; the caller holds their rows."""
    lock_sets_of(tx, [job.PandaID or 0 for job, _ in lost])
    for job, changes in lost:
        _lose(tx, job, **changes)


def _lose(tx: Transaction, job: JobSpec, **changes: Any) -> None:
    """End one of them; its ranges go back to its set."""
    job_id, target = job.PandaID or 0, JobStatus.failed
    changes["endTime"] = job.endTime or job.modificationTime
    if job.eventService in ENDS_HERE:
        became = end_consumer(tx, job_id, target, **changes, jobSubStatus="es_heartbeat")
        settle_files(tx, {job_id: became} if became else {})
        return
    if job.eventService == JOB_CLONING:
        target, changes = end_clone(tx, job_id, target, **changes)
    fail_outputs(tx, move_jobs(tx, [job_id], target, by="Watcher", **changes))
    if job.eventService == EVENT_SERVICE_MERGE:
        merge_ended(tx, job_id, target)
