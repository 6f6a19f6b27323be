"""The end of a job that works on event ranges: what it did not finish goes back, and its set goes on or ends.

Whoever decides about a set holds the set, so of two consumers that end at once the second sees what the first left.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pandaserver.taskbuffer.db_proxy_mods.event_job import make_consumer, make_merge_job
from pandaserver.taskbuffer.db_proxy_mods.event_sibling import close_unused, lock_set, members_of
from pandaserver.taskbuffer.db_proxy_mods.file import fail_outputs
from pandaserver.taskbuffer.db_proxy_mods.job_move import move_jobs
from pandaserver.taskbuffer.ErrorCode import EC_EventServiceKillNG, EC_EventServiceNoEvent
from pandaserver.taskbuffer.event_rules import ENDINGS, GIVES_UP, HELD, PROCESSED, After, E, SetFacts, judge_end
from pandaserver.taskbuffer.job_flags import CO_JUMBO, EVENT_SERVICE, EVENT_SERVICE_MERGE, FINE_GRAINED, JUMBO, has_flag
from pandaserver.taskbuffer.states import JobStatus
from pandaserver.taskbuffer.transaction import Transaction

S = JobStatus

#: pilotErrorCode of a jumbo job that was told to end.
JUMBO_KILLED: Final = 1144

#: Kinds whose end is decided here.
ENDS_HERE: Final = frozenset({EVENT_SERVICE, JUMBO, FINE_GRAINED})

_COLUMNS: Final = (
    "PandaID, jobsetID, eventService, attemptNr, maxAttempt, computingSite, specialHandling, pilotErrorCode"
)

LOCK: Final = f"SELECT {_COLUMNS} FROM ATLAS_PANDA.jobsActive4 WHERE PandaID = :PandaID FOR UPDATE"
LOCK_WAITING: Final = f"SELECT {_COLUMNS} FROM ATLAS_PANDA.jobsDefined4 WHERE PandaID = :PandaID FOR UPDATE"
SET_OF: Final = "SELECT jobsetID FROM ATLAS_PANDA.panda_event_jobs WHERE PandaID = :PandaID"

EXHAUST: Final = """
    UPDATE ATLAS_PANDA.JEDI_Events SET status = 8
    WHERE PandaID = :PandaID AND status IN (1, 2, 7) AND attemptNr <= 1
"""

GIVE_BACK: Final = """
    UPDATE ATLAS_PANDA.JEDI_Events SET PandaID = jobsetID, status = 0, attemptNr = attemptNr - 1, is_jumbo = NULL
    WHERE PandaID = :PandaID AND status IN (1, 2, 7) AND attemptNr > 1
"""

QUEUE: Final = "SELECT data FROM ATLAS_PANDA.schedconfig_json WHERE panda_queue = :site"

COUNTS: Final = """
    SELECT PandaID, status, COUNT(*) FROM ATLAS_PANDA.JEDI_Events WHERE jobsetID = :jobsetID GROUP BY PandaID, status
"""

COUNTS_OF_JOB: Final = """
    SELECT PandaID, status, COUNT(*) FROM ATLAS_PANDA.JEDI_Events WHERE PandaID = :PandaID GROUP BY PandaID, status
"""

ABANDON: Final = """
    UPDATE ATLAS_PANDA.JEDI_Events SET status = 4 WHERE jobsetID = :jobsetID AND status IN (0, 1, 2, 7)
"""

DISCARD: Final = "UPDATE ATLAS_PANDA.JEDI_Events SET status = 5 WHERE jobsetID = :jobsetID AND status IN (3, 6, 9)"

STILL_MERGING: Final = """
    SELECT PandaID FROM ATLAS_PANDA.jobsActive4 WHERE PandaID IN (:ids[]) AND jobStatus = 'merging' ORDER BY PandaID
"""

WAIT_FOR_MERGE: Final = """
    UPDATE ATLAS_PANDA.filesTable4 SET status = 'merging' WHERE PandaID IN (:ids[]) AND type = 'output'
"""

#: The log of a job that ended without a report is nowhere.
LOSE_LOG: Final = """
    UPDATE ATLAS_PANDA.filesTable4 SET status = 'failed'
    WHERE PandaID IN (:ids[]) AND type = 'log' AND status = 'unknown'
"""


@dataclass(frozen=True, slots=True)
class EndedJob:
    """What deciding needs of the job."""

    PandaID: int
    jobsetID: int | None
    eventService: int | None
    attemptNr: int | None
    maxAttempt: int | None
    computingSite: str | None
    specialHandling: str | None
    pilotErrorCode: int | None


def end_consumer(
    tx: Transaction, job_id: int, status: JobStatus, *, attempt: int | None = None, **changes: Any
) -> JobStatus | None:
    """End a consumer that would become ``status``, and return what it became.

    None: it is not there any more, or in another attempt. ``changes`` are columns that change with the status; the
    reason that its set has wins over one among them.
    """
    jobset = tx.value(SET_OF, PandaID=job_id)
    if jobset is not None:
        lock_set(tx, jobset)
    row = tx.one(LOCK, PandaID=job_id) or tx.one(LOCK_WAITING, PandaID=job_id)
    if row is None or (attempt is not None and (row[3] or 0) != attempt):
        return None
    job = EndedJob(*row)
    for statement in (EXHAUST, GIVE_BACK):
        tx.change(statement, PandaID=job_id)
    if job.eventService == JUMBO:
        return _end_jumbo(tx, job, changes)
    if jobset is None:  # from before there were sets, or without ranges
        return _move(tx, job, status, changes)
    if job.eventService == FINE_GRAINED:
        return _end_fine_grained(tx, job, status, jobset, changes)
    facts = _facts(tx, job, jobset)
    after = judge_end(facts)
    ending = ENDINGS[after]
    reason: dict[str, Any] = {
        "jobSubStatus": ending.sub_status,
        "taskBufferErrorCode": ending.error,
        "taskBufferErrorDiag": ending.diag,
    }
    if facts.done_here == 0 and changes.get("jobSubStatus"):
        reason.pop("jobSubStatus")
    task = _task_of(tx, jobset, job_id)
    became = _move(tx, job, ending.status, {**changes, **reason})
    if became is None:
        return None
    if after in (After.retry, After.retry_unused):
        make_consumer(tx, job_id, task)
    elif after in (After.merge, After.merge_unused):
        close_unused(tx, jobset, job_id)
        make_merge_job(tx, job_id, task)
    elif after in GIVES_UP:
        give_up_set(tx, jobset, JobStatus.failed, EC_EventServiceKillNG, ending.diag)
    return became


def settle_files(tx: Transaction, became: Mapping[int, JobStatus]) -> None:
    """Mark the outputs of jobs that :func:`end_consumer` ended, after their reports have been written to them."""
    merging = [pid for pid, status in became.items() if status is S.merging]
    if merging:  # unless the last job of a set has taken one of them along since
        merging = [row[0] for row in tx.rows(STILL_MERGING, ids=merging)]
    if merging:
        tx.change_later(WAIT_FOR_MERGE, ids=merging)
        tx.change_later(LOSE_LOG, ids=merging)
    fail_outputs(tx, [pid for pid, status in became.items() if status in (S.failed, S.closed, S.cancelled)])


def after_kill(tx: Transaction, ids: Sequence[int], *, keep: bool = False) -> None:
    """Do what the kill of jobs means to their sets: the ranges go back, or are cancelled when nobody is left.

    For jobs that the caller has just ended. ``keep``: a set of which something is processed goes on all the same.
    """
    for job_id in sorted(ids):
        jobset = tx.value(SET_OF, PandaID=job_id)
        if jobset is not None:
            lock_set(tx, jobset)
        for statement in (EXHAUST, GIVE_BACK):
            tx.change(statement, PandaID=job_id)
        if jobset is None or any(_is_at_work(live) for _, _, _, live in members_of(tx, jobset)):
            continue
        if not (keep and _revived(tx, jobset, job_id)):
            give_up_set(tx, jobset, JobStatus.cancelled, EC_EventServiceKillNG, "the last job of its set was killed")


def _revived(tx: Transaction, jobset: int, job_id: int) -> bool:
    """Make the job that a set needs to go on after its last job was killed, unless nothing is lost without it."""
    statuses = Counter[int]()
    for _, status, n in tx.rows(COUNTS, jobsetID=jobset):
        statuses[status] += n
    kind, task = next((kind, task) for pid, kind, task, _ in members_of(tx, jobset) if pid == job_id)
    if kind != EVENT_SERVICE or not any(statuses[s] for s in PROCESSED):
        return False
    if statuses[E.ready]:
        make_consumer(tx, job_id, task)
    else:
        make_merge_job(tx, job_id, task)
    return True


def give_up_set(tx: Transaction, jobset: int, status: JobStatus, error: int, diag: str, **more: Any) -> None:
    """End what is left of a set that will not be merged: ranges, consumers that wait, and those that have not begun."""
    reason = {"taskBufferErrorCode": error, "taskBufferErrorDiag": diag}
    close_unused(tx, jobset, 0, **reason)
    for statement in (ABANDON, DISCARD):
        tx.change(statement, jobsetID=jobset)
    end_waiting(tx, jobset, status, **reason, **more)


def end_waiting(tx: Transaction, jobset: int, status: JobStatus, **changes: Any) -> list[int]:
    """Give the consumers that wait for a merge the status of what they waited for, and their files with them."""
    waiting = [pid for pid, _, _, live in members_of(tx, jobset) if live == S.merging]
    ended = move_jobs(tx, waiting, status, by="Adder", **changes)
    if ended:
        tx.change_later(FILES_OF_MERGED, ids=ended, status=str(status))
    return ended


FILES_OF_MERGED: Final = """
    UPDATE ATLAS_PANDA.filesTable4 SET status = :status
    WHERE PandaID IN (:ids[]) AND type = 'output' AND status <> 'nooutput'
"""


def _facts(tx: Transaction, job: EndedJob, jobset: int) -> SetFacts:
    counts: Counter[tuple[int, int]] = Counter()
    for owner, status, n in tx.rows(COUNTS, jobsetID=jobset):
        counts[owner, status] += n
    ready = counts[jobset, E.ready]
    held = sum(n for (_, status), n in counts.items() if status in HELD)
    members = members_of(tx, jobset)
    idle = () if ready or held else (S.activated,)  # they will be closed: nothing is left that they could begin
    return SetFacts(
        done_here=sum(counts[job.PandaID, s] for s in PROCESSED),
        ready=ready,
        held=held,
        done=sum(n for (_, status), n in counts.items() if status in PROCESSED),
        fatal=sum(n for (_, status), n in counts.items() if status == E.fatal),
        others=sum(
            _is_at_work(live) and live not in idle and kind == EVENT_SERVICE and pid != job.PandaID
            for pid, kind, _, live in members
        ),
        may_retry=(job.maxAttempt or 0) > (job.attemptNr or 0) and job.eventService != CO_JUMBO,
        queue_open=_is_open(tx, job.computingSite),
        has_merge=any(kind == EVENT_SERVICE_MERGE and live is not None for _, kind, _, live in members)
        or any(status == E.done for _, status in counts),
        accepts_partial=has_flag(job.specialHandling, "accept_partial"),
    )


def _is_open(tx: Transaction, site: str | None) -> bool:
    """Tell whether a queue takes new jobs; one that nobody describes does."""
    data = tx.value(QUEUE, site=site)
    found = json.loads(data) if data else {}
    return not (isinstance(found, dict) and found.get("status") == "offline")


def _is_at_work(status: str | None) -> bool:
    return status is not None and status != S.merging


def _task_of(tx: Transaction, jobset: int, job_id: int) -> int:
    return next((task for pid, _, task, _ in members_of(tx, jobset) if pid == job_id), 0)


def _move(tx: Transaction, job: EndedJob, status: JobStatus, changes: Mapping[str, Any]) -> JobStatus | None:
    by = "EventService" if status in (S.merging, S.finished, S.failed, S.closed) else "Adder"
    if not move_jobs(tx, [job.PandaID], status, by=by, **changes):
        return None
    return status


def _end_jumbo(tx: Transaction, job: EndedJob, changes: Mapping[str, Any]) -> JobStatus | None:
    """A jumbo job is finished by any range that it finished; sets that it completed are looked at by a script."""
    done = sum(n for _, status, n in tx.rows(COUNTS_OF_JOB, PandaID=job.PandaID) if status in PROCESSED)
    if done:
        return _move(tx, job, S.finished, changes)
    if job.pilotErrorCode == JUMBO_KILLED:
        return _move(tx, job, S.cancelled, changes)
    return _move(tx, job, S.failed, {**changes, "taskBufferErrorCode": EC_EventServiceNoEvent})


def _end_fine_grained(
    tx: Transaction, job: EndedJob, status: JobStatus, jobset: int, changes: Mapping[str, Any]
) -> JobStatus | None:
    """A fine-grained job is what its ranges are: all done, some, or none."""
    counts = [(state, n) for _, state, n in tx.rows(COUNTS, jobsetID=jobset)]
    done = sum(n for state, n in counts if state in PROCESSED)
    whole = done == sum(n for _, n in counts)
    word = "fg_done" if whole else "fg_partial" if done else "fg_stumble"
    tx.change(ABANDON, jobsetID=jobset)
    target = status if status is S.cancelled else S.finished if done else S.failed
    return _move(tx, job, target, {**changes, "jobSubStatus": word})
