"""Whose turn it is to give commands that instances announced to understand."""

from __future__ import annotations

from typing import Final

from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.transaction import Transaction

TAKE_LOCKS: Final = """
    UPDATE ATLAS_PANDA.Harvester_Command_Lock SET lockedBy = :owner, lockedTime = CURRENT_TIMESTAMP
    WHERE harvester_ID = :harvester_ID AND command = :command
      AND ((lockedBy IS NULL
            AND (lockedTime IS NULL OR lockedTime < CURRENT_TIMESTAMP - :command_minutes * INTERVAL '1' MINUTE))
        OR (lockedBy IS NOT NULL AND lockedTime < CURRENT_TIMESTAMP - :lock_minutes * INTERVAL '1' MINUTE))
"""

LOCKED: Final = """
    SELECT computingSite, resourceType FROM ATLAS_PANDA.Harvester_Command_Lock
    WHERE harvester_ID = :harvester_ID AND command = :command AND lockedBy = :owner
    ORDER BY computingSite, resourceType
"""

RELEASE_LOCKS: Final = """
    UPDATE ATLAS_PANDA.Harvester_Command_Lock SET lockedBy = NULL
    WHERE harvester_ID = :harvester_ID AND command = :command AND lockedBy = :owner
"""


@operation(timeout=60)
def lock_harvester_commands(
    tx: Transaction, harvester_id: str, command: str, owner: str, *, command_minutes: float, lock_minutes: float
) -> dict[str, list[str]]:
    """Reserve the right to give a command for a round; return the resource types of each queue that is due.

    Due is what was last reserved ``command_minutes`` ago, or ``lock_minutes`` ago by somebody who never let go of it.
    """
    spans = {"command_minutes": command_minutes, "lock_minutes": lock_minutes}
    tx.change(TAKE_LOCKS, harvester_ID=harvester_id, command=command, owner=owner, **spans)
    found: dict[str, list[str]] = {}
    for site, kind in tx.rows(LOCKED, harvester_ID=harvester_id, command=command, owner=owner):
        found.setdefault(site, []).append(kind)
    return found


@operation(timeout=60)
def release_harvester_commands(tx: Transaction, harvester_id: str, command: str, owner: str) -> int:
    """End a reservation; the span until the next one counts from its beginning. Return how many locks it had."""
    return tx.change(RELEASE_LOCKS, harvester_ID=harvester_id, command=command, owner=owner)
