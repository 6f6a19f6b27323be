"""Jobs of one set of event ranges: who they are, and ending those that nobody needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from pandaserver.taskbuffer.db_proxy_mods.file import fail_outputs
from pandaserver.taskbuffer.db_proxy_mods.job_move import move_jobs
from pandaserver.taskbuffer.ErrorCode import EC_EventServiceUnused
from pandaserver.taskbuffer.states import ACTIVE, JobStatus
from pandaserver.taskbuffer.transaction import Transaction

#: Jobs of one set that one statement looks at; a set has a job for each attempt at most.
MOST: Final = 1000

LOCK_MEMBERS: Final = """
    SELECT PandaID FROM ATLAS_PANDA.panda_event_jobs WHERE jobsetID = :jobsetID ORDER BY PandaID FOR UPDATE
"""

SETS_OF: Final = "SELECT DISTINCT jobsetID FROM ATLAS_PANDA.panda_event_jobs WHERE PandaID IN (:ids[])"

LOCK_SETS: Final = """
    SELECT PandaID FROM ATLAS_PANDA.panda_event_jobs WHERE jobsetID IN (:sets[]) ORDER BY jobsetID, PandaID FOR UPDATE
"""

MEMBERS: Final = """
    SELECT m.PandaID, m.eventService, m.jediTaskID, a.jobStatus, d.jobStatus
    FROM ATLAS_PANDA.panda_event_jobs m
    LEFT JOIN ATLAS_PANDA.jobsActive4 a ON a.PandaID = m.PandaID
    LEFT JOIN ATLAS_PANDA.jobsDefined4 d ON d.PandaID = m.PandaID
    WHERE m.jobsetID = :jobsetID
    ORDER BY m.PandaID
"""

UNUSED: Final = (
    "PandaID IN (SELECT m.PandaID FROM ATLAS_PANDA.panda_event_jobs m WHERE m.jobsetID = :jobsetID)",
    "jobStatus = 'activated'",
    "eventService IN (1, 3)",
    "PandaID <> :but",
)


def close_unused(tx: Transaction, jobset: int, but: int, **changes: Any) -> list[int]:
    """Close the consumers of a set that have not begun, except ``but``; one that is being dispatched is left alone."""
    found = tx.claim(
        f"ATLAS_PANDA.{ACTIVE}",
        key="PandaID",
        limit=MOST,
        where=UNUSED,
        binds={"jobsetID": jobset, "but": but},
        order="PandaID",
    )
    if not found:
        return []
    values: dict[str, Any] = {
        "jobSubStatus": "es_inaction",
        "taskBufferErrorCode": EC_EventServiceUnused,
        "taskBufferErrorDiag": "others have all ranges",
    } | changes
    closed = move_jobs(tx, found, JobStatus.closed, by="EventService", **values)
    fail_outputs(tx, closed)
    return closed


def lock_set(tx: Transaction, jobset: int) -> None:
    """Wait until nobody else decides about a set; read what it is like only after this."""
    tx.rows(LOCK_MEMBERS, jobsetID=jobset)


def lock_sets_of(tx: Transaction, ids: Sequence[int]) -> None:
    """Do the same with the sets of several jobs, whose rows the caller holds, before it decides about the first.

    Everybody locks jobs before sets, and both in their order. Whoever took sets as they come would meet others in a
    deadlock.
    """
    sets = sorted(row[0] for row in tx.rows(SETS_OF, ids=list(ids))) if len(ids) > 1 else []
    if len(sets) > 1:
        tx.rows(LOCK_SETS, sets=sets)


def members_of(tx: Transaction, jobset: int) -> list[tuple[int, int, int, str | None]]:
    """Return identifier, kind, task and live status of each job of a set; None for one that has ended."""
    return [
        (pid, kind, task, active or defined) for pid, kind, task, active, defined in tx.rows(MEMBERS, jobsetID=jobset)
    ]
