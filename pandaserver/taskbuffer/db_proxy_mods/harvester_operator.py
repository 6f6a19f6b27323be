"""What operators want of harvesters: workers killed, slots for a share."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pandaserver.taskbuffer.db_proxy_mods import audit
from pandaserver.taskbuffer.db_proxy_mods.worker_command import queue_commands
from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.transaction import Transaction
from pandaserver.taskbuffer.worker_reports import Sweep, TargetSlots

KILL_WORKERS: Final = "KILL_WORKERS"
ALL: Final = "ALL"

#: What an operator who sweeps a queue is told.
SWEPT: Final = "OK"
NO_QUEUE: Final = "Error retrieving queue configuration from DB"
NO_HARVESTER: Final = "Queue not served by any harvester ID"
NO_COMMAND: Final = "Problem generating command. Check PanDA server logs"

FORGET_DONE: Final = """
    DELETE FROM ATLAS_PANDA.Harvester_Commands
    WHERE harvester_ID = :harvester_ID AND command = :command AND status <> 'new'
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
