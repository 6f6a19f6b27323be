"""Commands to harvesters from their side: fetching, acknowledging, and who may give one next."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pandaserver.taskbuffer.db_proxy_mods import audit
from pandaserver.taskbuffer.db_proxy_mods.worker_command import FORGET_COMMAND, queue_commands
from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.transaction import Transaction
from pandaserver.taskbuffer.worker_reports import HarvesterCommand, Sweep, TargetSlots

#: Commands that one call takes at most.
MOST: Final = 1000

KILL_WORKERS: Final = "KILL_WORKERS"
ALL: Final = "ALL"

#: What an operator who sweeps a queue is told.
SWEPT: Final = "OK"
NO_QUEUE: Final = "Error retrieving queue configuration from DB"
NO_HARVESTER: Final = "Queue not served by any harvester ID"
NO_COMMAND: Final = "Problem generating command. Check PanDA server logs"

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

FORGET_DONE: Final = """
    DELETE FROM ATLAS_PANDA.Harvester_Commands
    WHERE harvester_ID = :harvester_ID AND command = :command AND status <> 'new'
"""

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

QUEUE: Final = "SELECT data FROM ATLAS_PANDA.schedconfig_json WHERE panda_queue = :panda_queue"

FORGET_SLOTS: Final = """
    DELETE FROM ATLAS_PANDA.Harvester_Slots
    WHERE pandaQueueName = :queue AND COALESCE(gshare, '-') = :share AND COALESCE(resourceType, '-') = :resource_type
"""

SET_SLOTS: Final = """
    INSERT INTO ATLAS_PANDA.Harvester_Slots
        (pandaQueueName, gshare, resourceType, numSlots, modificationTime, expirationTime)
    VALUES (:queue, :share, :resource_type, :slots, CURRENT_TIMESTAMP, NULL)
"""

SET_SLOTS_FOR: Final = SET_SLOTS.replace("NULL)", "CURRENT_TIMESTAMP + :days * INTERVAL '1' DAY)")


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
    if not ids:
        return 0
    return tx.change(ACKNOWLEDGE, ids=sorted(set(ids))[:MOST], anybody=int(owner is None), owner=owner or "")


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
    tx.change(FORGET_COMMAND, harvester_ID=harvester_id, command=command)
    queue_commands(tx, harvester_id, command, [params], ack_requested=ack_requested)
    return True


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


@operation(timeout=60)
def sweep_queue(tx: Transaction, sweep: Sweep, actor: str) -> str:
    """Tell the instance that serves a queue to kill workers there; return what the operator is told.

    Sweeps of several queues wait side by side, although they have the same text.
    """
    queue = _queue_data(tx, sweep.queue)
    if queue is None:
        return NO_QUEUE
    instance = queue.get("harvester")
    if not instance or not isinstance(instance, str):
        return NO_HARVESTER
    elements = None if sweep.elements is None else _known_elements(queue, sweep.elements)
    if () in (sweep.statuses, elements, sweep.hosts):
        return NO_COMMAND  # a harvester takes no empty list
    params = {
        "status": _or_all(sweep.statuses),
        "computingSite": [sweep.queue],
        "computingElement": _or_all(elements),
        "submissionHost": _or_all(sweep.hosts),
    }
    tx.change(FORGET_DONE, harvester_ID=instance, command=KILL_WORKERS)
    queue_commands(tx, instance, KILL_WORKERS, [params])
    audit.record(tx, actor, "sweepPQ", "queue", sweep.queue, **params)
    return SWEPT


def _or_all(names: tuple[str, ...] | None) -> list[str] | str:
    return ALL if names is None else list(names)


def _queue_data(tx: Transaction, name: str) -> dict[str, Any] | None:
    try:
        data = json.loads(tx.value(QUEUE, panda_queue=name) or "null")
    except ValueError:
        return None
    return data if isinstance(data, dict) else None


def _known_elements(queue: Mapping[str, Any], names: Sequence[str]) -> tuple[str, ...]:
    """Return those computing elements that the queue has; its own names may have a port."""
    listed = queue.get("queues")
    ends = [q.get("ce_endpoint") for q in listed if isinstance(q, dict)] if isinstance(listed, list) else []
    texts = [end for end in ends if isinstance(end, str)]
    known = {*texts, *(end.partition(":")[0] for end in texts)}
    return tuple(name for name in names if name in known)


@operation(timeout=60)
def set_target_slots(tx: Transaction, wish: TargetSlots, actor: str) -> None:
    """Say how many slots a queue shall have for a share and a resource type, in place of what was said before."""
    share, kind = wish.share or "-", wish.resource_type or "-"
    tx.change(FORGET_SLOTS, queue=wish.queue, share=share, resource_type=kind)
    if wish.slots >= 0:
        values = {"queue": wish.queue, "share": wish.share, "resource_type": wish.resource_type, "slots": wish.slots}
        if wish.days is None:
            tx.change(SET_SLOTS, **values)
        else:
            tx.change(SET_SLOTS_FOR, days=wish.days, **values)
    details = {"slots": wish.slots, "gshare": wish.share, "resourceType": wish.resource_type, "days": wish.days}
    audit.record(tx, actor, "setNumSlots", "queue", wish.queue, **details)
