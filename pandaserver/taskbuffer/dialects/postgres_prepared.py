"""Statements that a connection of PostgreSQL has read and planned before.

Reading and planning a statement with the 126 columns of a job takes longer than finding the job: getJob spent half of
the database's time so. Only statements that find their rows by one key each are kept, because any plan for them is as
good as another; what searches a queue is planned for its values every time.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from pandacommon.pandalogger.PandaLogger import PandaLogger

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor

_logger = PandaLogger().getLogger("DBProxy")

#: Executions after which a statement is worth keeping.
USES: Final = 5
#: Statements that one connection keeps; each takes memory of the server.
MOST: Final = 100
#: Longest wait for a table whose definition somebody changes.
PATIENCE_MS: Final = 100

_BIND: Final = re.compile(r"%\((\w+)\)s")

#: How the server takes values of each type where they stand in the text; anything else it infers from the place.
_TYPES: Final[dict[type, str]] = {int: "bigint", float: "numeric", datetime: "timestamp"}

#: A text and the types of its values.
Shape = tuple[str, tuple[type, ...]]


class ByKey(str):
    """Text of a statement that finds its rows by one key each."""

    __slots__ = ()


class Prepared:
    """What one connection keeps. Statements are prepared between transactions, so that a failure costs no call."""

    def __init__(self, cursor: Cursor) -> None:
        self._cursor = cursor
        self._known: dict[Shape, str | None] = {}  # None: cannot be prepared
        self._uses: Counter[Shape] = Counter()
        self._due: dict[Shape, tuple[str, ...]] = {}  # with the names of the values
        self._names = 0

    def __len__(self) -> int:
        return len(self._known)

    def execution(self, text: ByKey, values: Mapping[str, Any]) -> str:
        """Return the text that executes what is prepared, or the same text."""
        shape = text, tuple([type(value) for value in values.values()])
        known = self._known.get(shape)
        if known is not None:
            return known
        self._uses[shape] += 1
        if self._uses[shape] == USES and len(self._known) + len(self._due) < MOST:
            self._due[shape] = tuple(values)
        return text

    def prepare_due(self) -> None:
        """Prepare what has been executed often enough. Call it between transactions."""
        if not self._due:
            return
        due, self._due = self._due, {}
        for shape, names in due.items():
            self._known[shape] = self._prepared(shape[0], dict(zip(names, shape[1], strict=True)))

    def forget(self) -> bool:
        """Forget all statements, because their tables have changed; False when there are none."""
        some = any(self._known.values())
        self._known.clear()
        self._uses.clear()
        return some

    def _prepared(self, text: str, types: Mapping[str, type]) -> str | None:
        import psycopg2

        self._names += 1
        name = f"s{self._names}"
        binds = list(dict.fromkeys(_BIND.findall(text)))
        body = _BIND.sub(lambda found: f"${binds.index(found[1]) + 1}", text).replace("%%", "%")
        declared = _in_brackets(_TYPES.get(types[bind], "unknown") for bind in binds)
        try:
            self._cursor.execute(
                f"BEGIN; SET LOCAL lock_timeout = {PATIENCE_MS}; PREPARE {name}{declared} AS {body}; COMMIT"
            )
        except psycopg2.Error as error:
            _logger.warning(f"not prepared: {error.diag.message_primary or type(error).__name__}: {text[:200]}")
            with suppress(psycopg2.Error):  # a connection that has died is found dead by the next call
                self._cursor.execute("ROLLBACK")
            return None
        return f"EXECUTE {name}{_in_brackets(f'%({bind})s' for bind in binds)}"


def _in_brackets(members: Iterable[str]) -> str:
    """Return a list as PREPARE and EXECUTE take it; they take no empty one."""
    text = ", ".join(members)
    return f" ({text})" if text else ""
