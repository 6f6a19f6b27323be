"""Memory of processes that live long and serve many short requests."""

from __future__ import annotations

import gc
from typing import Final

#: New objects that make a collection worth while. A request makes thousands, which reference counts free by themselves.
_THRESHOLD: Final = 20_000


def settle_memory() -> None:
    """Take what is there now out of garbage collection: it lives as long as the process, so looking at it is waste."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_THRESHOLD, 10, 10)
