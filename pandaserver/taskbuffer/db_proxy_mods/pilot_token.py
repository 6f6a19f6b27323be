"""Tokens that old pilots ask for once and show with each request for jobs."""

from __future__ import annotations

import hashlib
import secrets
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from pandaserver.taskbuffer.db_proxy_mods import audit
from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.transaction import Transaction

#: How long a token is valid.
LIFETIME: Final = timedelta(days=4)

#: Longest texts that the columns take.
OWNER_LIMIT: Final = 250
SCHEDULER_LIMIT: Final = 250
HOST_LIMIT: Final = 128

VALID: Final = """
    SELECT 1 FROM ATLAS_PANDA.panda_pilot_tokens WHERE token = :token AND expirationTime > CURRENT_TIMESTAMP
"""

FORGET_EXPIRED: Final = "DELETE FROM ATLAS_PANDA.panda_pilot_tokens WHERE expirationTime < CURRENT_TIMESTAMP"


@dataclass(frozen=True, slots=True)
class PilotToken:
    """One token and its times in UTC."""

    token: str
    created: datetime
    expires: datetime


@operation(timeout=30)
def make_pilot_token(tx: Transaction, owner: str, scheduler_id: str, host: str | None) -> PilotToken:
    """Return a new token for the pilots of a scheduler. Only its digest is kept; expired ones go."""
    now = tx.now().replace(microsecond=0)
    made = PilotToken(str(uuid.UUID(bytes=secrets.token_bytes(16), version=4)), now, now + LIFETIME)
    tx.change_later(FORGET_EXPIRED)
    row = {
        "token": _digest(made.token),
        "owner": owner[:OWNER_LIMIT],
        "schedulerID": scheduler_id[:SCHEDULER_LIMIT],
        "hostName": host[:HOST_LIMIT] if host else None,
        "creationTime": made.created,
        "expirationTime": made.expires,
    }
    tx.insert("ATLAS_PANDA.panda_pilot_tokens", [row])
    audit.record(tx, owner, "genPilotToken", "pilot token", scheduler_id, host=host, expires=str(made.expires))
    return made


@operation(timeout=30, repeatable=True)
def is_pilot_token(tx: Transaction, token: str) -> bool:
    """Tell whether that token was given out and is still valid."""
    return tx.one(VALID, token=_digest(token)) is not None


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
