"""Where jobs are, for those who ask for nothing else: pilots in recovery and harvesters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from pandaserver.taskbuffer.db_proxy_mods.job_move import CHUNK
from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.requests import JobState
from pandaserver.taskbuffer.transaction import Transaction

#: Seconds for which a job that has ended is still told to harvesters.
RECENT: Final = 3600

STATES: Final = """
    SELECT PandaID, jobStatus, attemptNr, commandToPilot
    FROM ATLAS_PANDA.jobsActive4 WHERE PandaID IN (:ids[])
    UNION ALL
    SELECT PandaID, jobStatus, attemptNr, commandToPilot
    FROM ATLAS_PANDA.jobsArchived4 WHERE PandaID IN (:ids[])
"""

RECENT_STATES: Final = """
    SELECT PandaID, jobStatus, attemptNr, commandToPilot
    FROM ATLAS_PANDA.jobsActive4 WHERE PandaID IN (:ids[])
    UNION ALL
    SELECT PandaID, jobStatus, attemptNr, commandToPilot
    FROM ATLAS_PANDA.jobsArchived4
    WHERE PandaID IN (:ids[]) AND modificationTime > CURRENT_TIMESTAMP - :seconds * INTERVAL '1' SECOND
"""


@operation(timeout=60, repeatable=True)
def get_job_states(tx: Transaction, ids: Sequence[int]) -> list[JobState]:
    """Return the state of each job that is ready, at work or has ended, in the order of ``ids``."""
    return _states(tx, ids, STATES)


@operation(timeout=60, repeatable=True)
def check_job_states(tx: Transaction, ids: Sequence[int]) -> list[JobState]:
    """Return the state of each job that is ready, at work or has ended lately, in the order of ``ids``."""
    return _states(tx, ids, RECENT_STATES, seconds=RECENT)


def _states(tx: Transaction, ids: Sequence[int], sql: str, **binds: Any) -> list[JobState]:
    found: dict[int, JobState] = {}
    for chunk in _chunks(ids):
        found.update((row[0], JobState(*row)) for row in tx.rows(sql, ids=list(chunk), **binds))
    return [found.get(pid, JobState(pid)) for pid in ids]


def _chunks(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    unique = sorted(set(ids))
    for start in range(0, len(unique), CHUNK):
        yield unique[start : start + CHUNK]
