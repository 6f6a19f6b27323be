"""Records of sandboxes against the files themselves: which are to be looked for, and what was found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.transaction import Transaction

#: ``modificationTime`` is the time of the last check.
TO_CHECK: Final = """
    SELECT hostName, fileName, creationTime FROM ATLAS_PANDAMETA.userCacheUsage
    WHERE (modificationTime IS NULL OR modificationTime < CURRENT_TIMESTAMP - :hours * INTERVAL '1' HOUR)
      AND hostName NOT IN (:silent[])
    ORDER BY creationTime, hostName, fileName FETCH FIRST :n ROWS ONLY
"""

RECENT: Final = """
    SELECT DISTINCT fileName FROM ATLAS_PANDAMETA.userCacheUsage
    WHERE hostName = :hostName AND creationTime > CURRENT_TIMESTAMP - :days * INTERVAL '1' DAY
    ORDER BY fileName
"""

_KEY: Final = "hostName = :hostName AND fileName = :fileName AND creationTime = :creationTime"

CHECKED: Final = f"""
    UPDATE ATLAS_PANDAMETA.userCacheUsage SET modificationTime = CURRENT_TIMESTAMP WHERE {_KEY}
"""

GONE: Final = f"DELETE FROM ATLAS_PANDAMETA.userCacheUsage WHERE {_KEY}"


@dataclass(frozen=True, slots=True)
class SandboxRecord:
    """One record: file ``name`` on ``host`` since ``created``. ``is_old``: nobody waits for it to come back."""

    host: str
    name: str
    created: datetime
    is_old: bool = False


@operation(timeout=60, repeatable=True)
def sandboxes_to_check(
    tx: Transaction, hours: float, old_days: float, silent: Sequence[str], limit: int
) -> list[SandboxRecord]:
    """Return records not checked for ``hours``, the oldest first, of hosts other than the ``silent`` ones."""
    now = tx.now()
    return [
        SandboxRecord(host, name, created, (now - created).total_seconds() > old_days * 86400)
        for host, name, created in tx.rows(TO_CHECK, hours=hours, silent=list(silent), n=limit)
    ]


@operation(timeout=60)
def record_sandbox_check(tx: Transaction, checked: Sequence[SandboxRecord], gone: Sequence[SandboxRecord]) -> None:
    """Note which files were looked for, and forget those that are gone."""
    tx.change_many(CHECKED, [_key(record) for record in checked])
    tx.change_many(GONE, [_key(record) for record in gone])


@operation(timeout=60, repeatable=True)
def recent_sandboxes(tx: Transaction, host: str, days: float) -> list[str]:
    """Return the names of files that users left on that host in the last days."""
    return [row[0] for row in tx.rows(RECENT, hostName=host, days=days)]


def _key(record: SandboxRecord) -> dict[str, object]:
    return {"hostName": record.host, "fileName": record.name, "creationTime": record.created}
