"""What a backend is to the rest: how it spells canonical SQL, how it connects, and its strategies."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Final

from pandaserver.srvcore.errors import PandaError
from pandaserver.taskbuffer.connection_settings import ConnectionSettings
from pandaserver.taskbuffer.dialects.compiler import compile_statement
from pandaserver.taskbuffer.dialects.outgoing import Converter
from pandaserver.taskbuffer.dialects.statement import Gap, Statement, padded
from pandaserver.taskbuffer.dialects.subset import LONGEST_LIST, RESERVED_COLUMNS

if TYPE_CHECKING:
    from pandaserver.taskbuffer.transaction import Transaction

#: Statements that one process keeps compiled for one backend.
CACHE_SIZE: Final = 2000

#: Longest wait for a row lock: a lost race is run again, so it need not use up the call.
LOCK_SECONDS: Final = 10.0
#: The server ends a transaction whose client is silent for this long.
SILENCE_SECONDS: Final = 120

#: Rows of one INSERT, and values of one INSERT; PostgreSQL and MariaDB take more, but gain nothing.
ROWS_PER_INSERT: Final = 500
VALUES_PER_INSERT: Final = 20_000


@dataclass(frozen=True, slots=True)
class Promise:
    """A setting of the server or of our session on which it depends whether a commit survives a power failure."""

    name: str
    query: str  # native; the value is the last column of its row
    safe: tuple[str, ...]  # values with which it does


class Session(ABC):
    """One open connection of one backend: transactions, and native text with values that the driver takes.

    A session raises what the driver raises; :meth:`error` says what that means. Nothing is open before ``begin``.
    """

    @abstractmethod
    def begin(self, *, read_only: bool, seconds: float) -> None:
        """Open a transaction whose statements may take ``seconds`` each; may wait until the first statement."""

    @abstractmethod
    def limit(self, seconds: float) -> None:
        """Let the next statements take at most ``seconds`` each, if that is much less than they may now."""

    @abstractmethod
    def execute(self, text: str, values: Mapping[str, Any] | Sequence[Any]) -> Any:
        """Execute native text and return the driver's cursor."""

    def later(self, text: str, values: Mapping[str, Any] | Sequence[Any]) -> None:
        """Execute text whose outcome nobody asks for: now, or in one trip with what follows."""
        self.execute(text, values)

    @abstractmethod
    def execute_many(self, text: str, rows: Sequence[Sequence[Any]]) -> int:
        """Execute native text with positional placeholders once a row and return how many rows it affected."""

    @abstractmethod
    def commit(self) -> None:
        """Make the transaction last."""

    @abstractmethod
    def rollback(self) -> None:
        """Undo the transaction; harmless without one."""

    @abstractmethod
    def savepoint(self, name: str) -> None:
        """Mark the place to which :meth:`undo` returns."""

    @abstractmethod
    def undo(self, name: str) -> None:
        """Undo what came after the savepoint, and forget it."""

    @abstractmethod
    def release(self, name: str) -> None:
        """Forget the savepoint and keep what came after it."""

    @abstractmethod
    def close(self) -> None:
        """Close the connection; harmless when it is lost."""

    @property
    @abstractmethod
    def lost(self) -> bool:
        """Whether the connection is known to be dead."""

    @abstractmethod
    def error(self, raised: Exception, *, nowait: bool = False) -> PandaError | None:
        """Return what a driver's exception means to us, None when it is not the driver's."""


class Dialect(ABC):
    """Canonical SQL to one backend. Making one loads no driver and connects to nothing."""

    backend: ClassVar[str]
    now: ClassVar[str] = ""
    #: Moments are computed by us and bound, because the database is a file of this machine.
    clock_is_ours: ClassVar[bool] = False
    FUNCTIONS: ClassVar[Mapping[str, str]] = {}
    #: Text after LIKE without ESCAPE, where a backslash would otherwise escape.
    no_escape: ClassVar[str] = ""
    #: What to look at before trusting a commit.
    promises: ClassVar[tuple[Promise, ...]] = ()

    def __init__(self, settings: ConnectionSettings) -> None:
        self.settings = settings
        self.statement = lru_cache(CACHE_SIZE)(self._compile)
        self.insert_text = lru_cache(CACHE_SIZE)(self._insert_text)

    def _compile(self, sql: str) -> Statement:
        return compile_statement(sql, self)

    # -- spelling -------------------------------------------------------------------------------------------------

    @abstractmethod
    def bind(self, name: str) -> str:
        """Placeholder of a named value."""

    @abstractmethod
    def place(self, number: int) -> str:
        """Placeholder of the value at a position, counted from 0."""

    @abstractmethod
    def table(self, schema: str, name: str) -> str:
        """Full name of a table; ``schema`` is the canonical prefix."""

    @abstractmethod
    def shifted_now(self, sign: str, amount: str, unit: str) -> str:
        """Now plus or minus ``amount`` units."""

    @abstractmethod
    def extract(self, part: str, operand: str) -> str:
        """Part of a date as a number."""

    def table_name(self, name: str) -> str:
        """A table used as the qualifier of a column."""
        return name

    def quote(self, name: str) -> str:
        """A column whose name is reserved."""
        return f'"{name.lower()}"'

    def column(self, name: str) -> str:
        """A column, quoted when its name is reserved somewhere."""
        return self.quote(name) if name.upper() in RESERVED_COLUMNS else name

    def limit(self, amount: str) -> str:
        """The first rows only."""
        return f"LIMIT {amount}"

    def row_lock(self, mode: str) -> str:
        """A lock on the rows of a query; ``mode`` is empty, NOWAIT or SKIP LOCKED."""
        return f"FOR UPDATE {mode}".rstrip()

    def whole_list(self, _name: str, _negated: bool) -> str | None:
        """``IN`` with a list that the driver takes as one value; None when the text names each member."""
        return None

    def verbatim(self, text: str) -> str:
        """Text that the backend shall see as it is."""
        return text

    # -- binding --------------------------------------------------------------------------------------------------

    def bound(self, statement: Statement, binds: Mapping[str, Any], outgoing: Converter) -> tuple[str, dict[str, Any]]:
        """Return the text and the driver's values of a statement; ``outgoing`` converts one value."""
        try:
            values = {name: outgoing(binds[name]) for name in statement.binds}
            lists = [(name, binds[name]) for name in statement.lists]
        except KeyError as missing:
            raise TypeError(f"bind {missing.args[0]!r} is missing: {statement.parts[0]}") from None
        for name, members in lists:
            if len(members) > LONGEST_LIST:
                raise ValueError(f"{name} has {len(members)} members, a statement takes {LONGEST_LIST}: go in chunks")
        return self._with_lists(statement, values, [(name, [outgoing(m) for m in members]) for name, members in lists])

    def _with_lists(
        self, statement: Statement, values: dict[str, Any], lists: list[tuple[str, list[Any]]]
    ) -> tuple[str, dict[str, Any]]:
        """Name every member of the lists in the text, padded so that few different texts exist."""
        if not lists:
            return statement.text, self.driver_names(values)
        sizes = tuple([padded(len(members)) for _, members in lists])
        for (name, members), size in zip(lists, sizes, strict=True):
            for n in range(size):
                values[f"{name}__{n}"] = members[min(n, len(members) - 1)]
        text = statement.texts.get(sizes)
        if text is None:
            text = statement.texts[sizes] = self._text(statement, dict(zip(statement.lists, sizes, strict=True)))
        return text, self.driver_names(values)

    def driver_names(self, values: dict[str, Any]) -> dict[str, Any]:
        """Values under the names that :meth:`bind` put into the text."""
        return values

    def _text(self, statement: Statement, sizes: Mapping[str, int]) -> str:
        return "".join(
            part if isinstance(part, str) else self.members(part, sizes[part.bind]) for part in statement.parts
        )

    def members(self, gap: Gap, size: int) -> str:
        """Placeholders of a list with ``size`` members."""
        return f"({', '.join(self.bind(f'{gap.bind}__{n}') for n in range(size))})"

    # -- connecting -----------------------------------------------------------------------------------------------

    @abstractmethod
    def connect(self, seconds: float) -> Session:
        """Open a connection within ``seconds``; raises :class:`Unavailable`."""

    # -- strategies -----------------------------------------------------------------------------------------------

    @abstractmethod
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
        """Lock the first ``limit`` rows that nobody has locked and return their keys."""

    def claim_row(
        self,
        tx: Transaction,
        table: str,
        key: str,
        where: Sequence[str],
        binds: Mapping[str, Any],
        order: str,
        read: str,
        beside: str,
        walks: bool,
    ) -> tuple[tuple[Any, ...], list[tuple[Any, ...]]] | None:
        """Lock the first row that nobody has locked, and return what two queries by its key say."""
        del walks  # whether the search may be planned once and for all
        ids = self.claim(tx, table, key, 1, where, binds, order)
        return (tx.rows(read, ids=ids)[0], tx.rows(beside, ids=ids)) if ids else None

    @abstractmethod
    def next_ids(self, tx: Transaction, sequence: str, n: int) -> list[int]:
        """Draw ``n`` identifiers, rising."""

    @abstractmethod
    def upsert_suffix(self, key: Sequence[str], values: Sequence[str]) -> str:
        """What turns an INSERT into an insert-or-update."""

    @abstractmethod
    def read_now(self, tx: Transaction) -> Any:
        """The database's clock."""

    def upsert(self, tx: Transaction, table: str, key: Mapping[str, Any], values: Mapping[str, Any]) -> None:
        """Insert a row, or change the one with that key."""
        row = {**key, **values}
        text = self.insert_text(table, tuple(row), 1) + self.upsert_suffix(tuple(key), tuple(values))
        tx.cursor.execute_native(text, list(row.values()))

    def upsert_rows(
        self,
        tx: Transaction,
        table: str,
        key: tuple[str, ...],
        values: tuple[str, ...],
        rows: Sequence[Sequence[Any]],
    ) -> None:
        """Insert rows (key, then values), or change those with their keys, many a statement."""
        columns, suffix = key + values, self.upsert_suffix(key, values)
        chunk = max(1, min(ROWS_PER_INSERT, VALUES_PER_INSERT // len(columns)))
        for start in range(0, len(rows), chunk):
            part = rows[start : start + chunk]
            text = self.insert_text(table, columns, len(part)) + suffix
            tx.cursor.execute_native(text, [v for row in part for v in row])

    def insert(self, tx: Transaction, table: str, columns: tuple[str, ...], rows: Sequence[Sequence[Any]]) -> int:
        """Insert rows, many a statement."""
        chunk = max(1, min(ROWS_PER_INSERT, VALUES_PER_INSERT // len(columns)))
        for start in range(0, len(rows), chunk):
            part = rows[start : start + chunk]
            tx.cursor.execute_native(self.insert_text(table, columns, len(part)), [v for row in part for v in row])
        return len(rows)

    def _insert_text(self, table: str, columns: tuple[str, ...], rows: int) -> str:
        schema, _, name = table.partition(".")
        names = ", ".join(self.column(column) for column in columns)
        width = len(columns)
        groups = (f"({', '.join(self.place(row * width + n) for n in range(width))})" for row in range(rows))
        return f"INSERT INTO {self.table(schema.upper(), name)} ({names}) VALUES {', '.join(groups)}"


def claim_query(key: str, table: str, where: Sequence[str], order: str, *, limit: bool) -> str:
    """Return the canonical query that finds the keys to claim; binds ``claim_limit`` when limited."""
    first = " FETCH FIRST :claim_limit ROWS ONLY" if limit else ""
    conditions = f" WHERE {' AND '.join(where)}" if where else ""
    return f"SELECT {key} FROM {table}{conditions} ORDER BY {order}{first}"
