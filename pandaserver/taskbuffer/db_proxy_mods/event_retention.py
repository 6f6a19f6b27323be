"""Forgetting event ranges a while after all jobs of their set have ended."""

from __future__ import annotations

from typing import Final

from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.transaction import Transaction

#: Sets whose jobs are all in the archive, the youngest for so many days.
OLD_SETS: Final = """
    SELECT m.jobsetID FROM ATLAS_PANDA.panda_event_jobs m
    LEFT JOIN ATLAS_PANDAARCH.jobsArchived a
        ON a.PandaID = m.PandaID AND a.modificationTime < CURRENT_TIMESTAMP - :days * INTERVAL '1' DAY
    GROUP BY m.jobsetID
    HAVING COUNT(a.PandaID) = COUNT(*)
    ORDER BY m.jobsetID FETCH FIRST :n ROWS ONLY
"""

FORGET: Final = tuple(
    f"DELETE FROM ATLAS_PANDA.{table} WHERE jobsetID IN (:ids[])" for table in ("JEDI_Events", "panda_event_jobs")
)


@operation(timeout=300)
def forget_events(tx: Transaction, days: float, limit: int) -> int:
    """Delete the ranges of up to ``limit`` sets that ended so many days ago; return how many sets."""
    ids = [row[0] for row in tx.rows(OLD_SETS, days=days, n=limit)]
    for statement in FORGET if ids else ():
        tx.change(statement, ids=ids)
    return len(ids)
