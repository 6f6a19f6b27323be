"""What an operation may do with the database: one open transaction and the statements on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from time import monotonic
from typing import Any, Final, TypeVar

from pandaserver.srvcore.errors import DatabaseError, LockLost, OutcomeUnknown, PandaError, Unavailable
from pandaserver.taskbuffer.connection_settings import OperationSettings
from pandaserver.taskbuffer.process_lock import record_start
from pandaserver.taskbuffer.WrappedCursor import Row, WrappedCursor

T = TypeVar("T")

#: What a statement leaves of a call's time, so that its failure still reaches the caller.
MARGIN_SECONDS: Final = 0.5


class Transaction:
    """One open transaction. All SQL is canonical; binds are keyword arguments, lists are ``IN (:ids[])``.

    A statement that fails ends the transaction, as it does in PostgreSQL, unless it stood in a :meth:`savepoint`.
    """

    def __init__(
        self,
        cursor: WrappedCursor,
        settings: OperationSettings,
        deadline: float,
        memory: dict[str, Any] | None = None,
    ) -> None:
        self.cursor = cursor
        self.settings = settings
        self.deadline = deadline
        self.memory = {} if memory is None else memory  # what operations keep from one call to the next
        self._failure: Exception | None = None
        self._now: datetime | None = None
        self._savepoints = 0
        self.changes = 0  # rows that were changed, at least
        self._statements_before = cursor.statements

    @property
    def statements(self) -> int:
        """Number of statements so far."""
        return self.cursor.statements - self._statements_before

    @property
    def failure(self) -> Exception | None:
        """What ended the transaction, although the operation may have caught it."""
        return self._failure

    def remaining(self) -> float:
        """Seconds to the deadline of the call."""
        return self.deadline - monotonic()

    # -- reading --------------------------------------------------------------------------------------------------

    def rows(self, sql: str, /, **binds: Any) -> list[Row]:
        """Return all rows."""

        def read() -> list[Row]:
            self.cursor.execute(sql, binds)
            return self.cursor.fetchall()

        return self.run(read)

    def dicts(self, sql: str, /, **binds: Any) -> list[dict[str, Any]]:
        """Return all rows as dictionaries; keys are spelled as in the statement."""
        rows = self.rows(sql, **binds)
        return [dict(zip(self.cursor.columns, row, strict=True)) for row in rows]

    def one(self, sql: str, /, **binds: Any) -> Row | None:
        """Return the first row, None when there is none."""
        rows = self.rows(sql, **binds)
        return rows[0] if rows else None

    def value(self, sql: str, /, **binds: Any) -> Any:
        """Return the first column of the first row, None when there is no row."""
        row = self.one(sql, **binds)
        return row[0] if row else None

    def now(self) -> datetime:
        """Return the database's clock, naive UTC; the same for the whole transaction."""
        if self._now is None:
            self._now = self.run(lambda: self.cursor.dialect.read_now(self))
        return self._now

    # -- writing --------------------------------------------------------------------------------------------------

    def change(self, sql: str, /, **binds: Any) -> int:
        """Execute an INSERT, UPDATE or DELETE and return how many rows it affected."""

        def write() -> int:
            self.cursor.execute(sql, binds)
            return self.cursor.rowcount

        return self._counted(self.run(write))

    def change_later(self, sql: str, /, **binds: Any) -> None:
        """Execute a change whose count nobody needs; its error may come with the next statement or with the commit."""
        self.run(lambda: self.cursor.execute_later(sql, binds))
        self.changes += 1

    def change_many(self, sql: str, rows: Sequence[Mapping[str, Any]]) -> int:
        """Execute one statement without lists once for each set of binds."""
        return self._counted(self.run(lambda: self.cursor.execute_many(sql, rows))) if rows else 0

    def insert(self, table: str, rows: Sequence[Mapping[str, Any]]) -> int:
        """Insert rows that name the same columns, many a statement, and return how many."""
        if not rows:
            return 0
        columns = tuple(rows[0])
        for row in rows:
            if row.keys() != rows[0].keys():
                raise TypeError(f"rows for {table} name different columns: {sorted(row.keys() ^ rows[0].keys())}")
        values = [[row[column] for column in columns] for row in rows]
        return self._counted(self.run(lambda: self.cursor.dialect.insert(self, table, columns, values)))

    def upsert(self, table: str, key: Mapping[str, Any], values: Mapping[str, Any]) -> None:
        """Insert the row ``key | values``, or change ``values`` where the key (a unique one) exists."""
        self.run(lambda: self.cursor.dialect.upsert(self, table, key, values))
        self.changes += 1

    def upsert_many(self, table: str, key: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert or change rows that name the same columns, many a statement; no two may have the same key."""
        if not rows:
            return
        names, values = tuple(key), tuple(name for name in rows[0] if name not in key)
        ordered = [[row[name] for name in (*names, *values)] for row in rows]
        self.run(lambda: self.cursor.dialect.upsert_rows(self, table, names, values, ordered))
        self.changes += len(rows)

    def next_ids(self, sequence: str, n: int) -> list[int]:
        """Draw ``n`` rising identifiers, such as ``next_ids("ATLAS_PANDA.JOBSDEFINED4_PANDAID_SEQ", 3)``."""
        return self.run(lambda: self.cursor.dialect.next_ids(self, sequence, n)) if n > 0 else []

    def _counted(self, rows: int) -> int:
        self.changes += abs(rows)  # a driver that does not know says -1
        return rows

    # -- locks ----------------------------------------------------------------------------------------------------

    def claim(
        self,
        table: str,
        *,
        key: str,
        limit: int,
        where: Sequence[str],
        binds: Mapping[str, Any],
        order: str,
    ) -> list[int]:
        """Lock the first ``limit`` rows in ``order`` that nobody else holds, and return their keys."""
        if limit <= 0:
            return []
        return self.run(lambda: self.cursor.dialect.claim(self, table, key, limit, where, binds, order))

    def claim_row(
        self,
        table: str,
        *,
        key: str,
        where: Sequence[str],
        binds: Mapping[str, Any],
        order: str,
        read: str,
        beside: str,
        walks: bool = False,
    ) -> tuple[Row, list[Row]] | None:
        """Lock the first row that nobody else holds; return what ``read`` and ``beside`` say of it, None without one.

        Both are queries with ``IN (:ids[])`` for the key. ``beside`` gives numbers and texts only: no times.
        ``walks`` tells that an index has those rows in that order, so that no values make another way better.
        """
        return self.run(
            lambda: self.cursor.dialect.claim_row(self, table, key, where, binds, order, read, beside, walks)
        )

    def lock_process(self, component: str, owner: str, *, period: float) -> bool:
        """Record a start of ``component`` by ``owner``, unless anybody started it less than ``period`` seconds ago."""
        return record_start(self, component, owner, period)

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Undo what was done inside when it raises, and raise on; the transaction goes on for whoever catches it.

        Nothing survives a lost lock or a lost connection: those end the transaction.
        """
        session = self.cursor.session
        self._savepoints += 1
        name = f"s{self._savepoints}"
        self.run(lambda: session.savepoint(name))
        try:
            yield
        except (LockLost, Unavailable, OutcomeUnknown):
            raise
        except BaseException:
            self._failure = None
            self.run(lambda: session.undo(name))
            raise
        self.run(lambda: session.release(name))

    # -- the one way to the database ------------------------------------------------------------------------------

    def run(self, action: Callable[[], T]) -> T:
        """Run something that talks to the database; what it raises has ended the transaction."""
        if self._failure is not None:
            raise DatabaseError(f"the transaction has failed already: {self._failure}") from self._failure
        if self.remaining() <= 0:
            self._failure = Unavailable("the deadline of the call has passed; nothing was kept")
            raise self._failure
        try:
            self.cursor.session.limit(statement_seconds(self.deadline))
            return action()
        except PandaError as error:
            self._failure = error
            raise
        except Exception as raised:
            meaning = self.cursor.session.error(raised)
            self._failure = meaning or raised
            if meaning is None:
                raise
            raise meaning from raised


def statement_seconds(deadline: float) -> float:
    """Return the seconds that one statement of a call may take."""
    remaining = deadline - monotonic()
    return max(0.001, remaining - min(MARGIN_SECONDS, remaining / 10))
