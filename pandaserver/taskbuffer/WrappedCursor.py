"""A cursor that speaks canonical SQL and plain Python values, whatever the backend."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pandaserver.taskbuffer.dialects.base import Dialect, Session
from pandaserver.taskbuffer.dialects.outgoing import Outgoing
from pandaserver.taskbuffer.dialects.sqlite_times import text_of_time, time_if_text_of_one
from pandaserver.taskbuffer.sql_dump import dump

Binds = Mapping[str, Any]
Row = tuple[Any, ...]


class WrappedCursor:
    """Executes one statement at a time on a session and converts what goes in and what comes out.

    An empty text goes in as NULL. Driver errors come out as :class:`PandaError`.
    """

    def __init__(self, session: Session, dialect: Dialect, *, dump_sql: bool = False) -> None:
        self.session = session
        self.dialect = dialect
        self.statements = 0
        self.rows = 0
        self.columns: tuple[str, ...] = ()
        self.rowcount = -1
        self._dump_sql = dump_sql
        self._cursor: Any = None
        self._expressions: frozenset[int] = frozenset()
        self._outgoing = Outgoing(time=text_of_time if dialect.clock_is_ours else None)

    def execute(self, sql: str, binds: Binds, suffix: str = "") -> None:
        """Compile and execute a canonical statement; ``suffix`` is native text put after it."""
        statement = self.dialect.statement(sql)
        text, values = self.dialect.bound(statement, binds, self._outgoing)
        self._run(text + suffix if suffix else text, values, nowait=statement.nowait)
        self.columns = statement.columns
        self._expressions = statement.expressions

    def execute_later(self, sql: str, binds: Binds, finished: Callable[[str], str] | None = None) -> None:
        """Compile a canonical statement and execute it now, or in one trip with the next one.

        ``finished`` makes what is executed of the native text.
        """
        statement = self.dialect.statement(sql)
        text, values = self.dialect.bound(statement, binds, self._outgoing)
        self._run(finished(text) if finished else text, values, later=True)

    def execute_native(self, text: str, values: Sequence[Any] = ()) -> None:
        """Execute text of the backend with positional values."""
        self._run(text, [self._outgoing(value) for value in values])
        self.columns, self._expressions = (), frozenset()

    def execute_many(self, sql: str, rows: Sequence[Binds]) -> int:
        """Execute a canonical statement without lists once a row and return how many rows changed."""
        statement = self.dialect.statement(sql)
        if statement.lists:
            raise TypeError(f"a statement with a list is executed one at a time: {sql}")
        bound = [self.dialect.bound(statement, row, self._outgoing) for row in rows]
        self._run(bound[0][0], [values for _, values in bound], many=True)
        return self.rowcount

    def native_many(self, text: str, rows: Sequence[Sequence[Any]]) -> None:
        """Execute text of the backend once a row of positional values."""
        self._run(text, [[self._outgoing(value) for value in row] for row in rows], many=True)

    def fetchone(self) -> Row | None:
        """Return the next row, None after the last one."""
        row = self._cursor.fetchone()
        if row is None:
            return None
        self.rows += 1
        return self._incoming([row])[0]

    def fetchall(self) -> list[Row]:
        """Return the remaining rows."""
        rows = self._cursor.fetchall()
        self.rows += len(rows)
        return self._incoming(rows)

    def fetchmany(self, size: int) -> list[Row]:
        """Return the next ``size`` rows, fewer at the end."""
        rows = self._cursor.fetchmany(size)
        self.rows += len(rows)
        return self._incoming(rows)

    def _incoming(self, rows: Sequence[Row]) -> list[Row]:
        """Finish what drivers cannot: SQLite does not tell the type of an expression."""
        if not (self._expressions and self.dialect.clock_is_ours):
            return list(rows)
        return [
            tuple(time_if_text_of_one(v) if n in self._expressions else v for n, v in enumerate(row)) for row in rows
        ]

    def _run(self, text: str, values: Any, *, nowait: bool = False, many: bool = False, later: bool = False) -> None:
        self.statements += 1
        if self._dump_sql:
            dump(text, values)
        try:
            if many:
                self.rowcount = self.session.execute_many(text, values)
                return
            if later:
                self.session.later(text, values)
                return
            self._cursor = self.session.execute(text, values)
        except Exception as raised:
            meaning = self.session.error(raised, nowait=nowait)
            if meaning is None:
                raise
            meaning.details.setdefault("statement", " ".join(text.split())[:300])
            raise meaning from raised
        self.rowcount = self._cursor.rowcount
