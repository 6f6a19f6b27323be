"""Outgoing messages: who writes them is part of the transaction that they announce; here they are read and removed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pandaserver.taskbuffer.messages import PATIENCE, OutgoingMessage
from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.transaction import Transaction

#: Messages that one call takes.
CHUNK: Final = 1000

WAITING: Final = """
    SELECT id, topic, payload, attempts FROM ATLAS_PANDA.panda_messages
    WHERE topic IN (:topics[]) AND attempts < :patience
    ORDER BY id FETCH FIRST :n ROWS ONLY
"""

UNLUCKY: Final = """
    SELECT id, topic, payload, attempts FROM ATLAS_PANDA.panda_messages
    WHERE topic IN (:topics[]) AND attempts >= :patience AND attempts <= :most
    ORDER BY attempts, id FETCH FIRST :n ROWS ONLY
"""

DELETE: Final = "DELETE FROM ATLAS_PANDA.panda_messages WHERE id IN (:ids[])"

COUNT_FAILURE: Final = "UPDATE ATLAS_PANDA.panda_messages SET attempts = attempts + 1 WHERE id IN (:ids[])"

BY_TOPIC: Final = """
    SELECT topic, COUNT(*) FROM ATLAS_PANDA.panda_messages WHERE topic NOT IN (:topics[]) GROUP BY topic ORDER BY topic
"""


@operation(timeout=60, repeatable=True)
def waiting_messages(
    tx: Transaction, topics: Sequence[str], limit: int, most_failures: int = 2**31 - 1
) -> list[OutgoingMessage]:
    """Return messages of these topics, the oldest first; those that failed often come last, or not at all."""
    limit = min(limit, CHUNK)
    rows = tx.rows(WAITING, topics=list(topics), patience=PATIENCE, n=limit)
    if len(rows) < limit:
        rows += tx.rows(UNLUCKY, topics=list(topics), patience=PATIENCE, most=most_failures, n=limit - len(rows))
    return [OutgoingMessage(*row) for row in rows]


@operation(timeout=60)
def delete_messages(tx: Transaction, ids: Sequence[int]) -> int:
    """Forget messages that were sent, at most a thousand."""
    return tx.change(DELETE, ids=list(ids)) if ids else 0


@operation(timeout=60)
def count_failed_messages(tx: Transaction, ids: Sequence[int]) -> int:
    """Record that these messages could not be sent."""
    return tx.change(COUNT_FAILURE, ids=list(ids)) if ids else 0


@operation(timeout=60, repeatable=True)
def other_messages(tx: Transaction, topics: Sequence[str]) -> dict[str, int]:
    """Return how many messages wait for each topic that is none of these."""
    return {topic: int(n) for topic, n in tx.rows(BY_TOPIC, topics=list(topics))}
