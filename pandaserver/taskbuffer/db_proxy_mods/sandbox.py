"""Sandboxes of users: which server keeps which file, so that the same one need not be uploaded twice."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pandaserver.srvcore.errors import Conflict
from pandaserver.taskbuffer.db_proxy_mods import audit
from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.transaction import Transaction

#: How old a sandbox may be to be used again; the files live longer, see the cleaning script.
REUSE_DAYS: Final = 3

#: How long a file lies in a cache. What copyArchive found there since then counts, too.
KEPT_DAYS: Final = 7

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


#: Two uploads of one user at once shall not both find room for one.
LOCK_USER: Final = "SELECT name FROM ATLAS_PANDAMETA.users WHERE name = :userName FOR UPDATE"

USED: Final = """
    SELECT COALESCE(SUM(fileSize), 0) FROM ATLAS_PANDAMETA.userCacheUsage
    WHERE userName = :userName AND hostName = :hostName AND fileName <> :fileName
      AND modificationTime > CURRENT_TIMESTAMP - :days * INTERVAL '1' DAY
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
def register_sandbox(
    tx: Transaction, sandbox: Sandbox, *, replace: bool = False, actor: str | None = None, quota: int = 0
) -> bool:
    """Record a file and return True, or return False if the host has one of that name already.

    With ``replace`` the record of that name takes the new size and checksum instead. ``actor`` records it in the name
    of somebody else, which the audit table keeps. More than ``quota`` bytes of the user raise Conflict; 0: any.
    """
    if quota:
        tx.rows(LOCK_USER, userName=sandbox.user)
        _refuse_excess(tx, sandbox, quota)
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
def check_quota(tx: Transaction, sandbox: Sandbox, quota: int) -> None:
    """Raise Conflict if the user's files on that host and this one would have more than ``quota`` bytes."""
    _refuse_excess(tx, sandbox, quota)


@operation(timeout=30, repeatable=True)
def find_sandbox(tx: Transaction, user: str, size: int, checksum: str) -> tuple[str, str] | None:
    """Return host and name of the user's youngest file with that size and checksum, if it can be used again."""
    found = tx.one(
        FIND_BY_CONTENT, userName=user, fileSize=size, checkSum=checksum, unreachable=UNREACHABLE, days=REUSE_DAYS
    )
    return (found[0], found[1]) if found else None


def _refuse_excess(tx: Transaction, sandbox: Sandbox, quota: int) -> None:
    used = int(tx.value(USED, userName=sandbox.user, hostName=sandbox.host, fileName=sandbox.name, days=KEPT_DAYS))
    if used + sandbox.size > quota:
        raise Conflict(
            f"quota exceeded: {sandbox.user} may keep {_mb(quota)} on {sandbox.host} and uses {_mb(used)}, so "
            f"{sandbox.name} with {_mb(sandbox.size)} does not fit. Files are removed {KEPT_DAYS} days after their "
            "last use"
        )


def _mb(size: int) -> str:
    return f"{size / 2**20:.1f} MB" if size >= 2**20 // 10 else f"{size} bytes"


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
