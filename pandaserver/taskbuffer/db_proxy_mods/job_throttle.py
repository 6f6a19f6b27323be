"""Holding waiting jobs back from dispatch, and releasing them: by user, or by queue so that shares come first.

Who decides is the task layer, which calls these in small steps; a job that a pilot takes meanwhile is spared. What is
held back too long is given up by the rules of copyArchive.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pandaserver.taskbuffer.db_proxy_mods.job_move import move_jobs
from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.states import ACTIVE, JobStatus
from pandaserver.taskbuffer.transaction import Transaction

TABLE: Final = f"ATLAS_PANDA.{ACTIVE}"

#: relocationFlag of jobs whose queue the user's request fixed, and of those of them that are held back.
FIXED, HELD_BACK = 1, 3
#: Jobs of a user that expect to run longer than this are held back, in seconds; short ones are soon over.
LONG: Final = 6 * 3600

OF_USER: Final = "prodUserName = :user_name"
OF_GROUP: Final = {True: "workingGroup = :working_group", False: "workingGroup IS NULL"}
AT_SITE: Final = "computingSite = :site"
OF_TASKS: Final = "lockedby = 'jedi'"
BY_PRIORITY: Final = "currentPriority DESC, PandaID"

QUEUES_OF_WORK: Final = """
    SELECT DISTINCT workQueue_ID FROM ATLAS_PANDA.jobsActive4
    WHERE jobStatus = 'throttled' AND computingSite = :site AND lockedby = 'jedi'
"""


@operation(timeout=60)
def throttle_user_jobs(tx: Transaction, user_name: str, working_group: str | None, limit: int) -> list[int]:
    """Hold back up to ``limit`` long waiting jobs of a user, in that group or in none; return them."""
    where = [OF_USER, OF_GROUP[working_group is not None], "relocationFlag = :flag", "maxCpuCount > :long"]
    binds = {"user_name": user_name, "working_group": working_group, "flag": FIXED, "long": LONG}
    return _hold_back(tx, where, binds, limit, relocationFlag=HELD_BACK)


@operation(timeout=60)
def release_user_jobs(tx: Transaction, user_name: str, working_group: str | None, limit: int) -> list[int]:
    """Release up to ``limit`` jobs that were held back for their user; return them."""
    where = [OF_USER, OF_GROUP[working_group is not None], "relocationFlag = :flag"]
    binds = {"user_name": user_name, "working_group": working_group, "flag": HELD_BACK}
    return _release(tx, where, binds, limit, relocationFlag=FIXED)


@operation(timeout=60)
def throttle_queue(tx: Transaction, site: str, limit: int) -> list[int]:
    """Hold back up to ``limit`` jobs of tasks that wait at a queue; return them."""
    return _hold_back(tx, [AT_SITE, OF_TASKS], {"site": site}, limit)


@operation(timeout=60)
def release_queue(tx: Transaction, site: str, per_work_queue: int) -> list[int]:
    """Release the most deserving jobs held back at a queue, up to so many of each work queue; return them.

    Jobs that are held back for their user stay so.
    """
    released: list[int] = []
    for (work_queue,) in tx.rows(QUEUES_OF_WORK, site=site):
        of_work = "workQueue_ID IS NULL" if work_queue is None else "workQueue_ID = :work_queue"
        where = [AT_SITE, OF_TASKS, of_work, "(relocationFlag IS NULL OR relocationFlag <> :held)"]
        binds = {"site": site, "work_queue": work_queue, "held": HELD_BACK}
        released += _release(tx, where, binds, per_work_queue)
    return released


def _hold_back(
    tx: Transaction, where: Sequence[str], binds: Mapping[str, Any], limit: int, **changes: Any
) -> list[int]:
    # The least deserving first: the others may leave meanwhile.
    found = _claim(tx, JobStatus.activated, where, binds, limit, "currentPriority, PandaID DESC")
    return move_jobs(tx, found, JobStatus.throttled, by="throttleJobs", locked=True, **changes)


def _release(tx: Transaction, where: Sequence[str], binds: Mapping[str, Any], limit: int, **changes: Any) -> list[int]:
    found = _claim(tx, JobStatus.throttled, where, binds, limit, BY_PRIORITY)
    return move_jobs(tx, found, JobStatus.activated, by="unThrottleJobs", locked=True, **changes)


def _claim(
    tx: Transaction, status: JobStatus, where: Sequence[str], binds: Mapping[str, Any], limit: int, order: str
) -> list[int]:
    conditions = ["jobStatus = :status", *where]
    return tx.claim(TABLE, key="PandaID", limit=limit, where=conditions, binds={**binds, "status": status}, order=order)
