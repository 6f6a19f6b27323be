"""The server's registry of datasets: registering, finding and closing them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.reports import BlockOfJob
from pandaserver.taskbuffer.transaction import Transaction

#: Names that one statement takes.
CHUNK: Final = 1000

#: Output datasets in these states are past closing.
_PAST_CLOSING: Final = frozenset({"cleanup", "tobeclosed", "completed", "deleted", "closed", "locked"})

LOCK_BLOCKS = """
    SELECT name, status FROM ATLAS_PANDA.Datasets
    WHERE type = 'output' AND name IN (:names[])
    ORDER BY name
    FOR UPDATE
"""

#: A file that is still on its way keeps its dataset open, as does one that nobody has made yet.
OPEN_BLOCKS = """
    SELECT d.name FROM ATLAS_PANDA.Datasets d
    WHERE d.type = 'output' AND d.name IN (:names[]) AND EXISTS (
        SELECT 1 FROM ATLAS_PANDA.filesTable4 f
        WHERE f.destinationDBlock = d.name AND f.status IN ('unknown', 'pending', 'transferring')
    )
"""

TOUCH_BLOCKS = """
    UPDATE ATLAS_PANDA.Datasets SET modificationDate = CURRENT_TIMESTAMP
    WHERE type = 'output' AND name IN (:names[])
"""

SET_BLOCK = """
    UPDATE ATLAS_PANDA.Datasets SET status = :status, modificationDate = CURRENT_TIMESTAMP
    WHERE type = 'output' AND name = :name AND status <> :status AND status <> 'locked'
"""


@operation(timeout=60)
def close_datasets(tx: Transaction, blocks: list[BlockOfJob]) -> tuple[str, ...]:
    """Close those output datasets that have no unfinished file and return their names."""
    return close_blocks(tx, blocks)


def close_blocks(tx: Transaction, blocks: Sequence[BlockOfJob]) -> tuple[str, ...]:
    """Do the same within a transaction that has just settled files of those datasets.

    The rows are locked before the files are counted: of two transactions that settle the last two files, the second
    waits here and then sees both.
    """
    ordered = sorted(blocks, key=lambda block: block.name)
    return tuple(
        name
        for start in range(0, len(ordered), CHUNK)
        for name in _close_some(tx, {block.name: block for block in ordered[start : start + CHUNK]})
    )


def _close_some(tx: Transaction, blocks: Mapping[str, BlockOfJob]) -> list[str]:
    closable = {row[0] for row in tx.rows(LOCK_BLOCKS, names=list(blocks)) if row[1] not in _PAST_CLOSING}
    if not closable:
        return []
    still_open = {row[0] for row in tx.rows(OPEN_BLOCKS, names=sorted(closable))}
    if still_open:
        tx.change(TOUCH_BLOCKS, names=sorted(still_open))
    return [
        name
        for name in sorted(closable - still_open)
        if tx.change(SET_BLOCK, name=name, status=blocks[name].final_status)
    ]
