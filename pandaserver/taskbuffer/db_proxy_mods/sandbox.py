"""Sandboxes of users: which server keeps which file, so that the same one need not be uploaded twice."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pandaserver.taskbuffer.db_proxy_mods import audit
from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.transaction import Transaction

#: How old a sandbox may be to be used again; the files live longer, see the cleaning script.
REUSE_DAYS: Final = 3

#: Name of machines that nobody can reach under it.
UNREACHABLE: Final = "localhost.localdomain"

FIND_BY_NAME: Final = """
    SELECT creationTime FROM ATLAS_PANDAMETA.userCacheUsage
    WHERE hostName = :hostName AND fileName = :fileName
"""

REPLACE: Final = """
    UPDATE ATLAS_PANDAMETA.userCacheUsage
    SET userName = :userName, fileSize = :fileSize, checkSum = :checkSum, modificationTime = :now
    WHERE hostName = :hostName AND fileName = :fileName
"""

FIND_BY_CONTENT: Final = """
    SELECT hostName, fileName FROM ATLAS_PANDAMETA.userCacheUsage
    WHERE userName = :userName AND fileSize = :fileSize AND checkSum = :checkSum AND hostName <> :unreachable
      AND creationTime > CURRENT_TIMESTAMP - :days * INTERVAL '1' DAY
    ORDER BY creationTime DESC FETCH FIRST 1 ROWS ONLY
"""


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A file that a user left on a server."""

    user: str  # clean name
    host: str
    name: str
    size: int
    checksum: str | None


@operation(timeout=30)
def register_sandbox(tx: Transaction, sandbox: Sandbox, *, replace: bool = False, actor: str | None = None) -> bool:
    """Record a file and return True, or return False if the host has one of that name already.

    With ``replace`` the record of that name takes the new size and checksum instead. ``actor`` records it in the name
    of somebody else, which the audit table keeps.
    """
    if actor is not None:
        audit.record(tx, actor, "insertSandboxFileInfo", "sandbox", sandbox.name, user=sandbox.user, host=sandbox.host)
    if tx.one(FIND_BY_NAME, hostName=sandbox.host, fileName=sandbox.name) is None:
        tx.insert("ATLAS_PANDAMETA.userCacheUsage", [_row(sandbox, tx.now())])
        return True
    if replace:
        tx.change(
            REPLACE,
            userName=sandbox.user,
            fileSize=sandbox.size,
            checkSum=sandbox.checksum,
            now=tx.now(),
            hostName=sandbox.host,
            fileName=sandbox.name,
        )
    return replace


@operation(timeout=30, repeatable=True)
def find_sandbox(tx: Transaction, user: str, size: int, checksum: str) -> tuple[str, str] | None:
    """Return host and name of the user's youngest file with that size and checksum, if it can be used again."""
    found = tx.one(
        FIND_BY_CONTENT, userName=user, fileSize=size, checkSum=checksum, unreachable=UNREACHABLE, days=REUSE_DAYS
    )
    return (found[0], found[1]) if found else None


def _row(sandbox: Sandbox, now: datetime) -> dict[str, object]:
    return {
        "userName": sandbox.user,
        "hostName": sandbox.host,
        "fileName": sandbox.name,
        "fileSize": sandbox.size,
        "checkSum": sandbox.checksum,
        "creationTime": now,
        "modificationTime": now,
    }
