"""SQLite: all schemas in one file, times as text of one fixed width, writers one after another.

``synchronous`` is FULL: a submission that was acknowledged survives a power failure, as on the other backends.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, Final

from pandaserver.srvcore.errors import (
    BadRequest,
    Busy,
    DatabaseError,
    DuplicateKey,
    LockLost,
    PandaError,
    Unavailable,
)
from pandaserver.taskbuffer.dialects.base import Dialect, Promise, Session, claim_query
from pandaserver.taskbuffer.dialects.outgoing import Converter
from pandaserver.taskbuffer.dialects.sqlite_queue import WriterQueue
from pandaserver.taskbuffer.dialects.sqlite_times import text_of_time, time_of_text
from pandaserver.taskbuffer.dialects.statement import Statement

if TYPE_CHECKING:
    import sqlite3

    from pandaserver.taskbuffer.transaction import Transaction

MEMORY: Final = ":memory:"

#: Virtual machine steps between two looks at the clock.
STEPS: Final = 10_000

_SPANS: Final = {"SECOND": "seconds", "MINUTE": "minutes", "HOUR": "hours", "DAY": "days"}
_PARTS: Final = {"YEAR": "%Y", "MONTH": "%m", "DAY": "%d", "HOUR": "%H", "MINUTE": "%M"}

DRAW = """
    UPDATE ATLAS_PANDA.panda_sequences SET value = value + :n WHERE name = :name
"""

DRAWN = """
    SELECT value FROM ATLAS_PANDA.panda_sequences WHERE name = :name
"""


class SQLite(Dialect):
    """Canonical SQL to SQLite."""

    backend = "sqlite"
    promises = (Promise("synchronous", "PRAGMA synchronous", ("2", "3")),)
    clock_is_ours = True

    def bind(self, name: str) -> str:
        return f":{name}"

    def place(self, number: int) -> str:
        return "?"

    def table(self, schema: str, name: str) -> str:
        return name

    def shifted_now(self, sign: str, amount: str, unit: str) -> str:
        raise NotImplementedError("moments are bound")

    def extract(self, part: str, operand: str) -> str:
        return f"CAST(strftime('{_PARTS[part]}', {operand}) AS INTEGER)"

    def row_lock(self, mode: str) -> str:
        return ""  # the whole file is locked by whoever may write

    def bound(self, statement: Statement, binds: Mapping[str, Any], outgoing: Converter) -> tuple[str, dict[str, Any]]:
        text, values = super().bound(statement, binds, outgoing)
        if statement.instants:
            now = datetime.now(UTC).replace(tzinfo=None)
            for instant in statement.instants:
                amount = values.get(instant.amount, instant.amount)
                span = None if amount is None else timedelta(**{_SPANS[instant.unit]: float(amount)})
                values[instant.bind] = None if span is None else text_of_time(now + instant.sign * span)
        return text, values

    def connect(self, seconds: float) -> Session:
        import sqlite3

        name = self.settings.name
        if name != MEMORY and not os.path.exists(name):  # SQLite would make an empty one
            raise Unavailable(f"there is no database {name}; panda-admin schema upgrade makes it")
        try:
            connection = sqlite3.connect(
                name,
                timeout=seconds,
                isolation_level=None,
                detect_types=sqlite3.PARSE_DECLTYPES,
                check_same_thread=False,
                cached_statements=500,
            )
            for kind in ("TIMESTAMP", "DATETIME"):
                sqlite3.register_converter(kind, time_of_text)
            _write_ahead(connection, seconds)
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA case_sensitive_like = ON")
            queue = None if name == MEMORY else WriterQueue(os.path.realpath(name))
        except (sqlite3.Error, OSError) as error:
            raise Unavailable(f"cannot open {name}: {error}") from error
        return SQLiteSession(connection, queue)

    def claim(
        self,
        tx: Transaction,
        table: str,
        key: str,
        limit: int,
        where: Sequence[str],
        binds: Mapping[str, Any],
        order: str,
    ) -> list[int]:
        sql = claim_query(key, table, where, order, limit=True)
        return [row[0] for row in tx.rows(sql, **binds, claim_limit=limit)]

    def next_ids(self, tx: Transaction, sequence: str, n: int) -> list[int]:
        name = sequence.partition(".")[2].lower()
        if tx.change(DRAW, n=n, name=name) != 1:
            raise DatabaseError(f"there is no counter {name}")
        last = tx.value(DRAWN, name=name)
        return list(range(last - n + 1, last + 1))

    def upsert_suffix(self, key: Sequence[str], values: Sequence[str]) -> str:
        columns = [self.column(name) for name in values]
        action = f"UPDATE SET {', '.join(f'{c} = excluded.{c}' for c in columns)}" if columns else "NOTHING"
        return f" ON CONFLICT ({', '.join(self.column(k) for k in key)}) DO {action}"

    def read_now(self, tx: Transaction) -> datetime:
        return datetime.now(UTC).replace(tzinfo=None)


def _write_ahead(connection: sqlite3.Connection, seconds: float) -> None:
    """Switch the journal of a database on; SQLite does not wait by itself for others who do that at the same moment."""
    import sqlite3

    deadline = monotonic() + seconds
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or monotonic() >= deadline:
                raise
            sleep(0.01)


class SQLiteSession(Session):
    """One connection to one file."""

    def __init__(self, connection: sqlite3.Connection, queue: WriterQueue | None) -> None:
        self._connection = connection
        self._queue = queue
        self._until = float("inf")
        self._read_only = False
        connection.set_progress_handler(lambda: monotonic() > self._until, STEPS)

    def begin(self, *, read_only: bool, seconds: float) -> None:
        if read_only != self._read_only:
            self._connection.execute(f"PRAGMA query_only = {int(read_only)}")
            self._read_only = read_only
        if read_only:
            self._connection.execute("BEGIN")
        else:
            if self._queue is not None and not self._queue.acquire(seconds):
                raise Busy(f"no turn to write within {seconds:.1f} s")
            self._connection.execute("BEGIN IMMEDIATE")
        self._until = monotonic() + seconds

    def limit(self, seconds: float) -> None:
        """Nothing to do: the limit is an instant."""

    def execute(self, text: str, values: Mapping[str, Any] | Sequence[Any]) -> sqlite3.Cursor:
        return self._connection.execute(text, values)

    def execute_many(self, text: str, rows: Sequence[Sequence[Any]]) -> int:
        return self._connection.executemany(text, rows).rowcount

    def commit(self) -> None:
        self._until = float("inf")
        self._connection.execute("COMMIT")
        self._give_turn()

    def rollback(self) -> None:
        self._until = float("inf")
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        self._give_turn()

    def _give_turn(self) -> None:
        if self._queue is not None:
            self._queue.release()

    def savepoint(self, name: str) -> None:
        self._connection.execute(f"SAVEPOINT {name}")

    def undo(self, name: str) -> None:
        self._connection.execute(f"ROLLBACK TO {name}")
        self._connection.execute(f"RELEASE {name}")

    def release(self, name: str) -> None:
        self._connection.execute(f"RELEASE {name}")

    def close(self) -> None:
        self._connection.close()
        if self._queue is not None:
            self._queue.close()

    @property
    def lost(self) -> bool:
        return False

    def error(self, raised: Exception, *, nowait: bool = False) -> PandaError | None:
        import sqlite3

        if isinstance(raised, OverflowError | UnicodeEncodeError):
            return BadRequest(f"a value does not fit the database: {raised}")
        if not isinstance(raised, sqlite3.Error):
            return None
        name = getattr(raised, "sqlite_errorname", "")
        for prefix, kind in _ERRORS.items():
            if name.startswith(prefix):
                return kind(f"{raised} ({name})")
        return DatabaseError(f"{raised} ({name})")


#: Begin of SQLite's error name -> what it means.
_ERRORS: Final[dict[str, type[PandaError]]] = {
    "SQLITE_CONSTRAINT_UNIQUE": DuplicateKey,
    "SQLITE_CONSTRAINT_PRIMARYKEY": DuplicateKey,
    "SQLITE_BUSY": LockLost,
    "SQLITE_LOCKED": LockLost,
    "SQLITE_INTERRUPT": Unavailable,
    "SQLITE_CANTOPEN": Unavailable,
    "SQLITE_IOERR": Unavailable,
    "SQLITE_FULL": Unavailable,
    "SQLITE_NOTADB": Unavailable,
    "SQLITE_CORRUPT": Unavailable,
    "SQLITE_READONLY": Unavailable,
    "SQLITE_TOOBIG": BadRequest,
    "SQLITE_MISMATCH": BadRequest,
}
