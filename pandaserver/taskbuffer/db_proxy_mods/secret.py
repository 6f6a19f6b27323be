"""Secrets that users and operators leave for jobs."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Final

from pandaserver.srvcore.errors import BadRequest, Conflict, DuplicateKey
from pandaserver.taskbuffer.db_proxy_mods import audit
from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.transaction import Transaction

#: Longest name of an owner that the column takes.
OWNER_LIMIT: Final = 60

#: What clients put before the key of a secret that is a file.
FILE_PREFIX: Final = "___file___:"

#: Characters that all secrets of one owner may have as JSON text: every job of the owner carries them.
TOTAL_LIMIT: Final = 8 * 2**20

SECRETS: Final = "SELECT owner, data FROM ATLAS_PANDA.Secrets WHERE owner IN (:owners[])"

LOCK_SECRETS: Final = "SELECT data FROM ATLAS_PANDA.Secrets WHERE owner = :owner FOR UPDATE"

DELETE_SECRETS: Final = "DELETE FROM ATLAS_PANDA.Secrets WHERE owner = :owner"


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


@operation(timeout=30)
def change_secret(tx: Transaction, owner: str, key: str | None, value: str | None) -> None:
    """Set one secret of an owner; without a value delete it, or the file of that name; without a key delete all.

    Changes of one owner follow each other, so none is lost. Conflict: what is stored cannot be read.
    """
    if len(owner) > OWNER_LIMIT:
        raise BadRequest(f"owners of secrets have names of at most {OWNER_LIMIT} characters, this one has {len(owner)}")
    # Names only: the audit table is no place for secrets.
    audit.record(tx, owner, "deleteSecret" if key is None or value is None else "setSecret", "secret", owner, key=key)
    if key is None:
        tx.change(DELETE_SECRETS, owner=owner)
        return
    row = tx.one(LOCK_SECRETS, owner=owner)
    if row is None and value is not None:
        try:
            with tx.savepoint():
                tx.insert("ATLAS_PANDA.Secrets", [_row(tx, owner, {key: value})])
        except DuplicateKey:
            row = tx.one(LOCK_SECRETS, owner=owner)  # the first secrets of one owner, set at the same time
    if row is None:
        return
    stored = _read(owner, row[0])
    if value is None:
        stored.pop(key, None)
        stored.pop(FILE_PREFIX + key, None)
    else:
        stored[key] = value
    changed = _row(tx, owner, stored)
    tx.upsert("ATLAS_PANDA.Secrets", {"owner": owner}, {name: changed[name] for name in ("data", "updated_at")})


def _row(tx: Transaction, owner: str, secrets: dict[str, object]) -> dict[str, object]:
    data = json.dumps(secrets)
    if len(data) > TOTAL_LIMIT:
        raise BadRequest(f"the secrets of {owner} would have {len(data)} characters, and at most {TOTAL_LIMIT} can be")
    return {"owner": owner, "data": data, "updated_at": tx.now()}


def _read(owner: str, data: str | None) -> dict[str, object]:
    try:
        stored = json.loads(data or "{}")
    except ValueError as problem:
        raise Conflict(f"the stored secrets of {owner} are no JSON; delete all of them and set them again") from problem
    if not isinstance(stored, dict):
        raise Conflict(f"the stored secrets of {owner} are no JSON object; delete all of them and set them again")
    return stored
