"""Who may start a process of which only one shall start in a period, on however many machines.

A row of ``JEDI_Process_Lock`` is the record of the last start, in the form that other users of that table know. It is
never released, so the period counts across machines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pandaserver.srvcore.errors import DuplicateKey

if TYPE_CHECKING:
    from pandaserver.taskbuffer.transaction import Transaction

_ROW: Final = """vo = 'default' AND prodSourceLabel = 'default' AND cloud = 'default' AND workqueue_id = 0
      AND resource_type = 'default' AND component = :component"""

RECORD_START: Final = f"""
    UPDATE ATLAS_PANDA.JEDI_Process_Lock SET lockedBy = :owner, lockedTime = CURRENT_TIMESTAMP
    WHERE {_ROW}
      AND (lockedTime IS NULL OR lockedTime <= CURRENT_TIMESTAMP - :period * INTERVAL '1' SECOND)
"""

LAST_START: Final = f"""
    SELECT lockedBy FROM ATLAS_PANDA.JEDI_Process_Lock
    WHERE {_ROW}
"""

FIRST_START: Final = """
    INSERT INTO ATLAS_PANDA.JEDI_Process_Lock
        (vo, prodSourceLabel, cloud, workqueue_id, resource_type, component, lockedBy, lockedTime)
    VALUES ('default', 'default', 'default', 0, 'default', :component, :owner, CURRENT_TIMESTAMP)
"""


def record_start(tx: Transaction, component: str, owner: str, period: float) -> bool:
    """Record that ``owner`` starts ``component`` now, unless it was started less than ``period`` seconds ago."""
    if tx.change(RECORD_START, component=component, owner=owner, period=period):
        return True
    if tx.one(LAST_START, component=component) is not None:
        return False
    try:
        with tx.savepoint():
            tx.change(FIRST_START, component=component, owner=owner)
    except DuplicateKey:  # somebody else was faster
        return False
    return True
