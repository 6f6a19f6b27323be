"""The list of banned users: from the database, or from another server where a front node has none."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Final

from pandaserver.srvcore.errors import ExternalError
from pandaserver.srvcore.json_source import read_json
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer

#: Seconds that a request waits at most for the list, and bytes that it may have.
PATIENCE: Final = 5.0
MOST_BYTES: Final = 4 * 2**20


def source_of_bans(task_buffer: TaskBuffer, url: str, patience: float) -> Callable[[], Collection[str]]:
    """Return what reads the list: from that address, or without one from the database."""
    if url:
        return lambda: ask_for_bans(url, patience)
    return lambda: task_buffer.within(patience).getBannedUsers()


def ask_for_bans(url: str, patience: float = PATIENCE) -> frozenset[str]:
    """Return the list of another server's ``get_ban_users``. Raises ExternalError if there is none to use."""
    return _names(read_json(url, seconds=patience, most=MOST_BYTES), url)


def _names(answer: Any, url: str) -> frozenset[str]:
    match answer:
        case [True, dict() as names] | {"success": True, "data": dict() as names}:
            return frozenset(names)
        case _:
            raise ExternalError(f"{url} does not answer like get_ban_users: {str(answer)[:200]}")
