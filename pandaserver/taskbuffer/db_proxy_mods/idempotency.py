"""Answers to requests with an idempotency key, so that a repeated request is answered and not executed again."""

from __future__ import annotations

import json
from typing import Any, Final

from pandaserver.srvcore.errors import Conflict, DuplicateKey, LockLost
from pandaserver.taskbuffer.transaction import Transaction

RECALL: Final = """
    SELECT requestHash, result FROM ATLAS_PANDA.panda_idempotency WHERE owner = :owner AND key = :key
"""


def recall(tx: Transaction, owner: str, key: str, request_hash: str) -> Any:
    """Return what the first request with that key of that owner was answered, None if there was none.

    Raises Conflict if that was another request: the key does not say what this one wants.
    """
    row = tx.one(RECALL, owner=owner[:250], key=key)
    if row is None:
        return None
    if row[0] != request_hash:
        raise Conflict(f"idempotency key {key} was used for another request")
    return json.loads(row[1])


def remember(tx: Transaction, owner: str, key: str, request_hash: str, result: Any) -> None:
    """Keep the answer with the transaction that it is about.

    Of two requests at the same moment the second one is undone here, and started again it recalls the first one's.
    """
    row = {
        "owner": owner[:250],
        "key": key,
        "requestHash": request_hash,
        "result": json.dumps(result),
        "creationTime": tx.now(),
    }
    try:
        tx.insert("ATLAS_PANDA.panda_idempotency", [row])
    except DuplicateKey as error:
        raise LockLost(f"another request with idempotency key {key} was faster") from error
