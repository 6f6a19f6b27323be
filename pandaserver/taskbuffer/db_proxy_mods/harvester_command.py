"""Commands to harvesters one by one: giving, fetching, acknowledging."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pandaserver.taskbuffer.db_proxy_mods.worker_command import replace_command
from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.transaction import Transaction
from pandaserver.taskbuffer.worker_reports import HarvesterCommand

#: Commands that one call takes at most, and that one statement acknowledges.
MOST: Final = 1000

OWNED: Final = """
    SELECT 1 FROM ATLAS_PANDA.Harvester_Instances WHERE harvester_ID = :harvester_ID AND owner = :owner
"""

TAKE: Final = """
    UPDATE ATLAS_PANDA.Harvester_Commands SET status = 'retrieved', status_date = CURRENT_TIMESTAMP
    WHERE command_id IN (:ids[])
"""

READ: Final = """
    SELECT command_id, command, params, ack_requested, creation_date FROM ATLAS_PANDA.Harvester_Commands
    WHERE command_id IN (:ids[]) ORDER BY command_id
"""

ACKNOWLEDGE: Final = """
    UPDATE ATLAS_PANDA.Harvester_Commands SET status = 'acknowledged', status_date = CURRENT_TIMESTAMP
    WHERE command_id IN (:ids[])
      AND (:anybody = 1 OR harvester_ID IN (
          SELECT i.harvester_ID FROM ATLAS_PANDA.Harvester_Instances i WHERE i.owner = :owner))
"""

#: A command of that text that is still too young to be given again.
TOO_YOUNG: Final = """
    SELECT command_id FROM ATLAS_PANDA.Harvester_Commands
    WHERE harvester_ID = :harvester_ID AND command = :command
      AND ((status IN ('new', 'lock', 'retrieved')
            AND status_date > CURRENT_TIMESTAMP - :lock_minutes * INTERVAL '1' MINUTE)
        OR (status IN ('retrieved', 'acknowledged')
            AND status_date > CURRENT_TIMESTAMP - :command_minutes * INTERVAL '1' MINUTE))
"""


@operation(timeout=60)
def take_harvester_commands(
    tx: Transaction, harvester_id: str, number: int, owner: str | None = None
) -> list[HarvesterCommand]:
    """Give an instance its oldest new commands; nobody gets one twice. ``owner``: only if the instance is theirs."""
    if owner is not None and tx.one(OWNED, harvester_ID=harvester_id, owner=owner) is None:
        return []
    ids = tx.claim(
        "ATLAS_PANDA.Harvester_Commands",
        key="command_id",
        limit=min(number, MOST),
        where=("harvester_ID = :harvester_ID", "status = 'new'"),
        binds={"harvester_ID": harvester_id},
        order="command_id",
    )
    if not ids:
        return []
    tx.change(TAKE, ids=ids)
    return [
        HarvesterCommand(number, command, json.loads(params) if params else None, ack or 0, created)
        for number, command, params, ack, created in tx.rows(READ, ids=ids)
    ]


@operation(timeout=60)
def acknowledge_harvester_commands(tx: Transaction, ids: Sequence[int], owner: str | None = None) -> int:
    """Record that commands were carried out; return how many. ``owner``: only those of instances that are theirs."""
    numbers = sorted(set(ids))
    chunks = [numbers[start : start + MOST] for start in range(0, len(numbers), MOST)]
    who = {"anybody": int(owner is None), "owner": owner or ""}
    return sum(tx.change(ACKNOWLEDGE, ids=chunk, **who) for chunk in chunks)


@operation(timeout=60)
def add_harvester_command(
    tx: Transaction,
    harvester_id: str,
    command: str,
    params: Mapping[str, Any] | list[int] | None = None,
    *,
    ack_requested: bool = False,
    lock_minutes: float | None = None,
    command_minutes: float | None = None,
) -> bool:
    """Give an instance a command in place of the last one of that text; return whether it was given.

    It is not, where that one is younger than ``lock_minutes`` and not acknowledged, or than ``command_minutes`` and
    fetched. Without these spans it always is.
    """
    young = {"lock_minutes": lock_minutes or 0, "command_minutes": command_minutes or 0}
    spans = lock_minutes is not None or command_minutes is not None
    if spans and tx.one(TOO_YOUNG, harvester_ID=harvester_id, command=command, **young) is not None:
        return False
    replace_command(tx, harvester_id, command, params, ack_requested=ack_requested)
    return True
