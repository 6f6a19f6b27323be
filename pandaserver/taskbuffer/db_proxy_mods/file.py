"""Files of jobs, where several operations do the same to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pandaserver.taskbuffer.transaction import Transaction

FAIL_OUTPUTS: Final = """
    UPDATE ATLAS_PANDA.filesTable4 SET status = 'failed' WHERE PandaID IN (:ids[]) AND type IN ('output', 'log')
"""


def fail_outputs(tx: Transaction, ids: Sequence[int]) -> None:
    """Give up all outputs of jobs that end without having made them."""
    if ids:
        tx.change_later(FAIL_OUTPUTS, ids=list(ids))
