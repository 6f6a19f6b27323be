"""Who did what to which object: written by the transaction that does it."""

from __future__ import annotations

import json
from typing import Any

from pandacommon.pandalogger.context import request_id
from pandaserver.taskbuffer.transaction import Transaction


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
            }
        ],
    )
