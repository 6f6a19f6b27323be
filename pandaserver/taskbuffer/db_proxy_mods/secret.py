"""Secrets that users and operators leave for jobs."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.transaction import Transaction

SECRETS: Final = "SELECT owner, data FROM ATLAS_PANDA.Secrets WHERE owner IN (:owners[])"


def secrets_of(tx: Transaction, owners: Collection[str]) -> dict[str, str]:
    """Return the JSON text of each owner who has any, with one statement or none."""
    if not owners:
        return {}
    return {owner: data for owner, data in tx.rows(SECRETS, owners=sorted(owners)) if data}


@operation(timeout=30, repeatable=True)
def get_secrets(tx: Transaction, owner: str) -> str | None:
    """Return the JSON text of an owner's secrets, None if there are none."""
    return secrets_of(tx, [owner]).get(owner)


@operation(timeout=30)
def set_secrets(tx: Transaction, owner: str, data: str) -> None:
    """Replace an owner's secrets, given as JSON text."""
    tx.upsert("ATLAS_PANDA.Secrets", {"owner": owner}, {"data": data, "updated_at": tx.now()})
