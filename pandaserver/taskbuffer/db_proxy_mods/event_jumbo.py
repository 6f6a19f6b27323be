"""Jumbo jobs, which take ranges of a whole task, and the co-jumbo jobs whose ranges they take."""

from __future__ import annotations

from typing import Any, Final

from pandaserver.taskbuffer.db_proxy_mods.event_end import end_consumer, give_up_set, settle_files
from pandaserver.taskbuffer.db_proxy_mods.event_sibling import lock_set, lock_sets_of
from pandaserver.taskbuffer.db_proxy_mods.file import fail_outputs
from pandaserver.taskbuffer.db_proxy_mods.job_kill import kill_jobs
from pandaserver.taskbuffer.db_proxy_mods.job_move import move_jobs
from pandaserver.taskbuffer.ErrorCode import EC_EventServiceKillNG, EC_EventServiceUnprocessed
from pandaserver.taskbuffer.kill import Killer, KillRequest
from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.states import ACTIVE, DEFINED, JobStatus
from pandaserver.taskbuffer.transaction import Transaction

#: Kill code of jobs whose task has nothing left for them.
TASK_DONE: Final = 55

_SYSTEM: Final = Killer(is_system=True)

_WAITING: Final = (
    "eventService = 5",
    "jobStatus = 'waiting'",
    "modificationTime < CURRENT_TIMESTAMP - :minutes * INTERVAL '1' MINUTE",
)

#: Sets of which nothing is ready or in somebody's hands.
_SETTLED: Final = (
    "jobsetID IS NOT NULL",
    "NOT EXISTS (SELECT 1 FROM ATLAS_PANDA.JEDI_Events e "
    "WHERE e.jobsetID = jobsDefined4.jobsetID AND e.status IN (0, 1, 2, 7))",
)

#: Tasks without any jumbo job.
_ALONE: Final = tuple(
    f"jediTaskID NOT IN (SELECT j.jediTaskID FROM ATLAS_PANDA.{table} j "
    "WHERE j.eventService = 4 AND j.jediTaskID IS NOT NULL)"
    for table in (DEFINED, ACTIVE)
)

#: Jumbo jobs of tasks that have nothing left for them. Young ones may be ahead of the others, and one that has reported
#: its end is the Adder's.
_USELESS: Final = {
    table: (
        "eventService = 4",
        "creationTime < CURRENT_TIMESTAMP - INTERVAL '1' HOUR",
        "jobStatus NOT IN ('holding', 'transferring')",
        "jediTaskID IS NOT NULL",
        "NOT EXISTS (SELECT 1 FROM ATLAS_PANDA.panda_event_jobs m, ATLAS_PANDA.JEDI_Events e "
        f"WHERE m.jediTaskID = {table}.jediTaskID AND m.eventService = 5 "
        "AND e.jobsetID = m.jobsetID AND e.status IN (0, 1, 2))",
    )
    for table in (DEFINED, ACTIVE)
}

SETS: Final = "SELECT PandaID, jobsetID FROM ATLAS_PANDA.jobsDefined4 WHERE PandaID IN (:ids[])"


@operation(timeout=120)
def finish_co_jumbo_jobs(tx: Transaction, minutes: float, limit: int) -> int:
    """End up to ``limit`` co-jumbo jobs that nobody touched for so long, and return how many.

    One whose ranges are settled gets its merge job, or fails with them. One with ranges left, in a task that has no
    jumbo job any more, is closed, so that the task layer makes other jobs.
    """
    ended: dict[int, JobStatus] = {}
    settled = _claim(tx, DEFINED, (*_WAITING, *_SETTLED), limit, minutes=minutes)
    lock_sets_of(tx, settled)
    for job_id in settled:
        became = end_consumer(tx, job_id, JobStatus.finished)
        if became:
            ended[job_id] = became
    settle_files(tx, ended)
    wrong = _claim(tx, DEFINED, (*_WAITING, *_ALONE), limit - len(ended), minutes=minutes)
    return len(ended) + len(_close(tx, wrong))


def _close(tx: Transaction, ids: list[int]) -> list[int]:
    if not ids:
        return []
    sets: dict[int, int | None] = dict(tx.rows(SETS, ids=ids))
    closed = move_jobs(
        tx,
        ids,
        JobStatus.closed,
        by="EventService",
        jobSubStatus="cojumbo_wrong",
        taskBufferErrorCode=EC_EventServiceUnprocessed,
        taskBufferErrorDiag="its task has no jumbo job",
    )
    fail_outputs(tx, closed)
    for jobset in sorted(found for pid in closed if (found := sets[pid])):
        lock_set(tx, jobset)
        give_up_set(tx, jobset, JobStatus.cancelled, EC_EventServiceKillNG, "its task has no jumbo job")
    return closed


@operation(timeout=120)
def cleanup_jumbo_jobs(tx: Transaction, limit: int) -> int:
    """Close up to ``limit`` jumbo jobs whose task has no range left for them, and return how many."""
    found = [pid for table, where in _USELESS.items() for pid in _claim(tx, table, where, limit)]
    return sum(kill_jobs(tx, KillRequest(tuple(found), _SYSTEM, TASK_DONE))) if found else 0


def _claim(tx: Transaction, table: str, where: tuple[str, ...], limit: int, **binds: Any) -> list[int]:
    return tx.claim(f"ATLAS_PANDA.{table}", key="PandaID", limit=limit, where=where, binds=binds, order="PandaID")
