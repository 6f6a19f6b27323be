"""What is forgotten after a while: history of jobs, workers, uploads, answers to repeated requests."""

from __future__ import annotations

from typing import Final

from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.transaction import Transaction

#: Rows that one call takes.
CHUNK: Final = 1000

#: The numbers of history rows rise with time, so the oldest rows are the first of the primary key.
OLDEST_HISTORY: Final = """
    SELECT statusLogID FROM (
        SELECT statusLogID, modificationTime FROM ATLAS_PANDA.jobs_StatusLog
        ORDER BY statusLogID FETCH FIRST :n ROWS ONLY
    ) oldest
    WHERE oldest.modificationTime < CURRENT_TIMESTAMP - :days * INTERVAL '1' DAY
"""

FORGET_HISTORY: Final = "DELETE FROM ATLAS_PANDA.jobs_StatusLog WHERE statusLogID IN (:ids[])"

OLD_WORKERS: Final = """
    SELECT harvesterID, workerID FROM ATLAS_PANDA.Harvester_Workers
    WHERE lastUpdate < CURRENT_TIMESTAMP - :days * INTERVAL '1' DAY
    ORDER BY harvesterID, workerID FETCH FIRST :n ROWS ONLY
"""

FORGET_WORKERS: Final = tuple(
    f"DELETE FROM ATLAS_PANDA.{table} WHERE harvesterID = :harvesterID AND workerID = :workerID"
    for table in ("Harvester_Rel_Jobs_Workers", "Harvester_Workers")
)

FORGET_SANDBOXES: Final = """
    DELETE FROM ATLAS_PANDAMETA.userCacheUsage
    WHERE creationTime < CURRENT_TIMESTAMP - :days * INTERVAL '1' DAY
      AND (modificationTime IS NULL OR modificationTime < CURRENT_TIMESTAMP - :days * INTERVAL '1' DAY)
"""

FORGET_NODES: Final = tuple(
    f"DELETE FROM ATLAS_PANDA.{table} WHERE last_seen < CURRENT_TIMESTAMP - :days * INTERVAL '1' DAY"
    for table in ("Worker_Node", "Worker_Node_Queue", "Worker_Node_GPUs")
)

OLD_ANSWERS: Final = """
    SELECT owner, key, operation, step FROM ATLAS_PANDA.panda_idempotency
    WHERE creationTime < CURRENT_TIMESTAMP - :days * INTERVAL '1' DAY
    ORDER BY creationTime FETCH FIRST :n ROWS ONLY
"""

FORGET_ANSWER: Final = """
    DELETE FROM ATLAS_PANDA.panda_idempotency
    WHERE owner = :owner AND key = :key AND operation = :operation AND step = :step
"""

FORGET_SERVICE_WORDS: Final = tuple(
    f"DELETE FROM ATLAS_PANDA.{table} WHERE {time} < CURRENT_TIMESTAMP - :days * INTERVAL '1' DAY"
    for table, time in (("Harvester_Dialogs", "creationTime"), ("Harvester_Metrics", "creation_time"))
)


@operation(timeout=60)
def forget_history(tx: Transaction, days: float, limit: int = CHUNK) -> int:
    """Delete some of the oldest history rows that are older than so many days; return how many."""
    ids = [row[0] for row in tx.rows(OLDEST_HISTORY, days=days, n=min(limit, CHUNK))]
    return tx.change(FORGET_HISTORY, ids=ids) if ids else 0


@operation(timeout=60)
def forget_workers(tx: Transaction, days: float, limit: int = CHUNK) -> int:
    """Delete some workers that nobody heard of for so many days, and which jobs they ran; return how many."""
    rows = tx.rows(OLD_WORKERS, days=days, n=min(limit, CHUNK))
    keys = [{"harvesterID": harvester, "workerID": worker} for harvester, worker in rows]
    for text in FORGET_WORKERS:
        tx.change_many(text, keys)
    return len(keys)


@operation(timeout=60)
def forget_sandboxes(tx: Transaction, days: float) -> int:
    """Delete the records of uploads that were not used for so many days; return how many."""
    return tx.change(FORGET_SANDBOXES, days=days)


@operation(timeout=60)
def forget_worker_nodes(tx: Transaction, days: float) -> int:
    """Delete machines and GPUs of which no pilot told for so many days; return how many rows."""
    return sum(tx.change(text, days=days) for text in FORGET_NODES)


@operation(timeout=60)
def forget_answers(tx: Transaction, days: float, limit: int = CHUNK) -> int:
    """Delete some of what requests with an idempotency key did so many days ago; return how many rows."""
    rows = tx.dicts(OLD_ANSWERS, days=days, n=min(limit, CHUNK))
    tx.change_many(FORGET_ANSWER, rows)
    return len(rows)


@operation(timeout=60)
def forget_service_words(tx: Transaction, days: float) -> int:
    """Delete complaints and measurements of harvesters that are older than so many days; return how many."""
    return sum(tx.change(text, days=days) for text in FORGET_SERVICE_WORDS)
