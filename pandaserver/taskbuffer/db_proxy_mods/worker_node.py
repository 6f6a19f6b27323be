"""Machines on which pilots run, and their GPUs, as pilots report them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pandaserver.srvcore.errors import DuplicateKey
from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.transaction import Transaction

FIND_NODE: Final = """
    SELECT 1 FROM ATLAS_PANDA.Worker_Node
    WHERE site = :site AND host_name = :host_name AND cpu_model = :cpu_model
"""

LOCK_NODE: Final = FIND_NODE + "FOR UPDATE SKIP LOCKED"

SEE_NODE: Final = """
    UPDATE ATLAS_PANDA.Worker_Node SET last_seen = CURRENT_TIMESTAMP
    WHERE site = :site AND host_name = :host_name AND cpu_model = :cpu_model
"""

FIND_NODE_QUEUE: Final = """
    SELECT 1 FROM ATLAS_PANDA.Worker_Node_Queue
    WHERE site = :site AND host_name = :host_name AND panda_queue = :panda_queue
"""

LOCK_NODE_QUEUE: Final = FIND_NODE_QUEUE + "FOR UPDATE SKIP LOCKED"

SEE_NODE_QUEUE: Final = """
    UPDATE ATLAS_PANDA.Worker_Node_Queue SET last_seen = CURRENT_TIMESTAMP
    WHERE site = :site AND host_name = :host_name AND panda_queue = :panda_queue
"""

FIND_GPU: Final = """
    SELECT 1 FROM ATLAS_PANDA.Worker_Node_GPUs
    WHERE site = :site AND host_name = :host_name AND vendor = :vendor AND model = :model
"""

LOCK_GPU: Final = FIND_GPU + "FOR UPDATE SKIP LOCKED"

SEE_GPU: Final = """
    UPDATE ATLAS_PANDA.Worker_Node_GPUs
    SET last_seen = CURRENT_TIMESTAMP, count = :number,
        framework = COALESCE(:framework, framework),
        framework_version = COALESCE(:framework_version, framework_version)
    WHERE site = :site AND host_name = :host_name AND vendor = :vendor AND model = :model
"""


@operation(timeout=30)
def see_worker_node(tx: Transaction, key: Mapping[str, str], facts: Mapping[str, Any], panda_queue: str | None) -> bool:
    """Record that a pilot began on a machine; what is known of the machine stays as it was first told.

    ``key`` are site, host_name and cpu_model. False: another pilot of the same machine is saying the same right now,
    and nobody waits for it.
    """
    done = _see(tx, "Worker_Node", FIND_NODE, LOCK_NODE, SEE_NODE, key, facts)
    if panda_queue:
        place = {"site": key["site"], "host_name": key["host_name"], "panda_queue": panda_queue}
        done = _see(tx, "Worker_Node_Queue", FIND_NODE_QUEUE, LOCK_NODE_QUEUE, SEE_NODE_QUEUE, place, {}) and done
    return done


@operation(timeout=30)
def see_worker_node_gpu(tx: Transaction, key: Mapping[str, str], number: int, facts: Mapping[str, Any]) -> bool:
    """Record the GPUs of one model in a machine: their number and framework are refreshed, the rest stays.

    ``key`` are site, host_name, vendor and model. False: another pilot of the same machine holds the row.
    """
    changes = {
        "number": number,
        "framework": facts.get("framework"),
        "framework_version": facts.get("framework_version"),
    }
    return _see(tx, "Worker_Node_GPUs", FIND_GPU, LOCK_GPU, SEE_GPU, key, {**facts, "count": number}, changes)


def _see(
    tx: Transaction,
    table: str,
    find: str,
    lock: str,
    update: str,
    key: Mapping[str, str],
    facts: Mapping[str, Any],
    changes: Mapping[str, Any] | None = None,
) -> bool:
    """Refresh the row with that key, or insert it; False if somebody else holds or has just made it."""
    if tx.one(lock, **key) is not None:
        tx.change_later(update, **key, **(changes or {}))
        return True
    if tx.one(find, **key) is not None:  # held: MariaDB would let an insert wait for it
        return False
    try:
        with tx.savepoint():
            tx.insert(f"ATLAS_PANDA.{table}", [{**key, **facts, "last_seen": tx.now()}])
    except DuplicateKey:
        return False
    return True
