"""Who did what to which object: written by the transaction that does it."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, Final

from pandacommon.pandalogger.context import remote_address, request_id
from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.transaction import Transaction

ROWS: Final = """
    SELECT creationTime, actor, remoteAddress, action, objectType, objectID, details, requestID
    FROM ATLAS_PANDA.panda_audit
    WHERE creationTime >= :since
    ORDER BY id DESC FETCH FIRST :n ROWS ONLY
"""

ROWS_OF_ACTOR: Final = """
    SELECT creationTime, actor, remoteAddress, action, objectType, objectID, details, requestID
    FROM ATLAS_PANDA.panda_audit
    WHERE creationTime >= :since AND actor = :actor
    ORDER BY id DESC FETCH FIRST :n ROWS ONLY
"""


def record(tx: Transaction, actor: str, action: str, object_type: str, object_id: str, **details: Any) -> None:
    """Leave one row about an action of a user or operator."""
    tx.insert(
        "ATLAS_PANDA.panda_audit",
        [
            {
                "creationTime": tx.now(),
                "actor": actor[:250] or "anonymous",
                "action": action,
                "objectType": object_type,
                "objectID": object_id[:255],
                "details": json.dumps(details, sort_keys=True) if details else None,
                "requestID": request_id.get()[:64] or None,
                "remoteAddress": remote_address.get()[:64] or None,
            }
        ],
    )


@operation(timeout=60, repeatable=True)
def audit_rows(tx: Transaction, since: datetime, actor: str | None = None, limit: int = 1000) -> list[dict[str, Any]]:
    """Return who did what since then, the youngest first; with ``actor`` only what that one did."""
    if actor is None:
        return tx.dicts(ROWS, since=since, n=limit)
    return tx.dicts(ROWS_OF_ACTOR, since=since, actor=actor[:250], n=limit)
