"""Oracle through oracledb, or cx_Oracle where that is what a site has. Written and parsed, not proven on a server."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from types import ModuleType
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
from pandaserver.taskbuffer.dialects.statement import Gap

if TYPE_CHECKING:
    from pandaserver.taskbuffer.transaction import Transaction

_PARAMETER: Final = "SELECT NVL(UPPER(REPLACE(value, ' ')), 'WAIT') FROM v$parameter WHERE name = '{}'"
_EMPTY: Final = "(SELECT NULL FROM DUAL WHERE 1 = 0)"


class Oracle(Dialect):
    """Canonical SQL to Oracle. A schema is a user; names that are not quoted fold to upper case."""

    backend = "oracle"
    # Needs SELECT on V_$PARAMETER. Without a value Oracle waits; the older parameter rules where it is set.
    promises = (
        Promise("commit_wait", _PARAMETER.format("commit_wait"), ("WAIT", "FORCE_WAIT")),
        Promise("commit_write", _PARAMETER.format("commit_write"), ("WAIT", "IMMEDIATE,WAIT", "BATCH,WAIT")),
    )
    now = "SYS_EXTRACT_UTC(SYSTIMESTAMP)"

    def bind(self, name: str) -> str:
        return f":b_{name}"  # a bind with a reserved name, such as :size, is refused by Oracle

    def place(self, number: int) -> str:
        return f":{number + 1}"

    def table(self, schema: str, name: str) -> str:
        return f"{self.settings.schemas[schema]}.{name}"

    def quote(self, name: str) -> str:
        return f'"{name.upper()}"'

    def shifted_now(self, sign: str, amount: str, unit: str) -> str:
        return f"({self.now} {sign} NUMTODSINTERVAL({amount}, '{unit}'))"

    def extract(self, part: str, operand: str) -> str:
        return f"EXTRACT({part} FROM CAST({operand} AS TIMESTAMP))"  # a DATE has no HOUR there

    def limit(self, amount: str) -> str:
        return f"FETCH FIRST {amount} ROWS ONLY"

    def members(self, gap: Gap, size: int) -> str:
        return super().members(gap, size) if size else _EMPTY

    def driver_names(self, values: dict[str, Any]) -> dict[str, Any]:
        return {f"b_{name}": value for name, value in values.items()}

    def connect(self, seconds: float) -> Session:
        driver = _driver()
        settings = self.settings
        dsn = f"{settings.host}:{settings.port or 1521}/{settings.name}" if settings.host else settings.name
        try:
            connection = driver.connect(user=settings.user, password=settings.password.reveal(), dsn=dsn)
            session = OracleSession(connection, driver)
            session.prepare(seconds)
        except driver.Error as error:
            raise Unavailable(f"cannot connect to Oracle at {dsn}: {error}") from error
        return session

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
        """Open a cursor and fetch as many rows as wanted: rows are locked when they are fetched."""
        session = tx.cursor.session
        assert isinstance(session, OracleSession)
        session.fetch_size = limit
        tx.cursor.execute(claim_query(key, table, where, order, limit=False), binds, suffix=" FOR UPDATE SKIP LOCKED")
        return [row[0] for row in tx.cursor.fetchmany(limit)]

    def next_ids(self, tx: Transaction, sequence: str, n: int) -> list[int]:
        schema, _, name = sequence.partition(".")
        full = self.table(schema.upper(), name)
        tx.cursor.execute_native(f"SELECT {full}.NEXTVAL FROM DUAL CONNECT BY LEVEL <= :1", [n])
        return [row[0] for row in tx.cursor.fetchall()]

    def upsert(self, tx: Transaction, table: str, key: Mapping[str, Any], values: Mapping[str, Any]) -> None:
        text = self.merge_text(table, tuple(key), tuple(values))
        changed = list(values.values())
        try:
            tx.cursor.execute_native(text, [*key.values(), *changed, *changed])
        except DuplicateKey as error:  # two inserted at once; running again updates
            raise LockLost(error.message) from error

    def upsert_rows(
        self,
        tx: Transaction,
        table: str,
        key: tuple[str, ...],
        values: tuple[str, ...],
        rows: Sequence[Sequence[Any]],
    ) -> None:
        text, width = self.merge_text(table, key, values), len(key)
        try:
            tx.cursor.native_many(text, [[*row, *row[width:]] for row in rows])
        except DuplicateKey as error:  # two inserted at once; running again updates
            raise LockLost(error.message) from error

    def merge_text(self, table: str, key: Sequence[str], values: Sequence[str]) -> str:
        """The MERGE; its positional values are the key, then the values twice."""
        schema, _, name = table.partition(".")
        keys, others = [self.column(k) for k in key], [self.column(v) for v in values]
        places = iter(self.place(n) for n in range(len(keys) + 2 * len(others)))
        source = ", ".join(f"{next(places)} AS {k}" for k in keys)
        condition = " AND ".join(f"t.{k} = s.{k}" for k in keys)
        changes = ", ".join(f"t.{c} = {next(places)}" for c in others)
        inserted = ", ".join([*(f"s.{k}" for k in keys), *(next(places) for _ in others)])
        return (
            f"MERGE INTO {self.table(schema.upper(), name)} t USING (SELECT {source} FROM DUAL) s ON ({condition})"
            + (f" WHEN MATCHED THEN UPDATE SET {changes}" if others else "")
            + f" WHEN NOT MATCHED THEN INSERT ({', '.join([*keys, *others])}) VALUES ({inserted})"
        )

    def upsert_suffix(self, key: Sequence[str], values: Sequence[str]) -> str:
        raise NotImplementedError("MERGE does it")

    def insert(self, tx: Transaction, table: str, columns: tuple[str, ...], rows: Sequence[Sequence[Any]]) -> int:
        tx.cursor.native_many(self.insert_text(table, columns, 1), rows)
        return len(rows)

    def read_now(self, tx: Transaction) -> Any:
        tx.cursor.execute_native(f"SELECT {self.now} FROM DUAL")
        return tx.cursor.fetchall()[0][0]


class OracleSession(Session):
    """One connection; a transaction begins with its first change."""

    def __init__(self, connection: Any, driver: ModuleType) -> None:
        self._connection = connection
        self._driver = driver
        self._lost = False
        self.fetch_size: int | None = None  # of the next statement only

    def prepare(self, seconds: float) -> None:
        """Make the session ours."""
        self._connection.inputtypehandler = self._input_type
        self._connection.outputtypehandler = self._output_type
        self.limit(seconds)
        cursor = self._connection.cursor()
        cursor.execute("ALTER SESSION SET TIME_ZONE = 'UTC'")

    def _input_type(self, cursor: Any, value: Any, rows: int) -> Any:
        """A datetime would otherwise go in as a DATE, which knows only seconds."""
        if isinstance(value, datetime):
            return cursor.var(self._driver.DB_TYPE_TIMESTAMP, arraysize=rows)
        return None

    def _output_type(self, cursor: Any, *described: Any) -> Any:
        """Large text comes out as str. The two drivers describe a column in different ways."""
        kind = described[0].type_code if len(described) == 1 else described[1]
        if kind in (self._driver.DB_TYPE_CLOB, self._driver.DB_TYPE_NCLOB):
            return cursor.var(self._driver.DB_TYPE_LONG, arraysize=cursor.arraysize)
        if kind == self._driver.DB_TYPE_BLOB:
            return cursor.var(self._driver.DB_TYPE_LONG_RAW, arraysize=cursor.arraysize)
        return None

    def begin(self, *, read_only: bool, seconds: float) -> None:
        self.limit(seconds)
        if read_only:
            self._connection.cursor().execute("SET TRANSACTION READ ONLY")

    def limit(self, seconds: float) -> None:
        self._connection.call_timeout = max(1, int(seconds * 1000))

    def execute(self, text: str, values: Mapping[str, Any] | Sequence[Any]) -> Any:
        cursor = self._connection.cursor()
        if self.fetch_size is not None:
            cursor.prefetchrows, cursor.arraysize, self.fetch_size = 0, self.fetch_size, None
        else:
            cursor.arraysize = 1000
        cursor.execute(text, values)
        return cursor

    def execute_many(self, text: str, rows: Sequence[Any]) -> int:
        cursor = self._connection.cursor()
        cursor.executemany(text, rows)
        affected: int = cursor.rowcount
        return affected

    def commit(self) -> None:
        self._connection.commit()

    def rollback(self) -> None:
        self._connection.rollback()

    def savepoint(self, name: str) -> None:
        self._connection.cursor().execute(f"SAVEPOINT {name}")

    def undo(self, name: str) -> None:
        self._connection.cursor().execute(f"ROLLBACK TO SAVEPOINT {name}")

    def release(self, name: str) -> None:
        """Oracle forgets a savepoint at the end of the transaction."""

    def close(self) -> None:
        try:
            self._connection.close()
        except self._driver.Error:
            self._lost = True  # closed by the other side already

    @property
    def lost(self) -> bool:
        return self._lost

    def error(self, raised: Exception, *, nowait: bool = False) -> PandaError | None:
        if isinstance(raised, UnicodeEncodeError):
            return BadRequest(f"a value does not fit the database: {raised}")
        if not isinstance(raised, self._driver.Error):
            return None
        code = getattr(raised.args[0], "full_code", "") if raised.args else ""
        if code in _LOST:
            self._lost = True
            return Unavailable(f"connection lost: {raised}")
        if code in _LOCK_WAIT and nowait:
            return Busy(str(raised))
        return _ERRORS.get(code, DatabaseError)(str(raised))


_LOST: Final = frozenset(
    """
    ORA-00028 ORA-01012 ORA-01033 ORA-01034 ORA-01089 ORA-02396 ORA-03113 ORA-03114 ORA-03135 ORA-12203 ORA-12500
    ORA-12571 ORA-25402 DPY-1001 DPY-4011 DPI-1010 DPI-1080
    """.split()
)
_LOCK_WAIT: Final = frozenset({"ORA-00054", "ORA-30006"})

#: Error code -> what it means.
_ERRORS: Final[dict[str, type[PandaError]]] = {
    "ORA-00001": DuplicateKey,
    "ORA-00054": LockLost,
    "ORA-00060": LockLost,
    "ORA-08177": LockLost,
    "ORA-30006": LockLost,
    "ORA-01013": Unavailable,  # cancelled
    "ORA-16000": Unavailable,  # read-only database: a failover
    "DPY-4024": Unavailable,  # call_timeout
    "DPI-1067": Unavailable,
    **dict.fromkeys(("ORA-01401", "ORA-01426", "ORA-01438", "ORA-12899"), BadRequest),
}


def _driver() -> ModuleType:
    try:
        return importlib.import_module("oracledb")
    except ImportError:
        return importlib.import_module("cx_Oracle")
