"""MySQL and MariaDB through mysqlclient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
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
from pandaserver.taskbuffer.dialects.base import LOCK_SECONDS, SILENCE_SECONDS, Dialect, Promise, Session, claim_query
from pandaserver.taskbuffer.dialects.statement import Statement
from pandaserver.taskbuffer.dialects.subset import LONGEST_LIST

if TYPE_CHECKING:
    from pandaserver.taskbuffer.transaction import Transaction

#: Text means what it means elsewhere: quotes, pipes, backslashes, values that do not fit, assignments in any order.
_MODE: Final = (
    "ANSI_QUOTES,PIPES_AS_CONCAT,NO_BACKSLASH_ESCAPES,STRICT_ALL_TABLES,ONLY_FULL_GROUP_BY,NO_ZERO_DATE,"
    "NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"
)

#: Candidates that claim reads at once when others lock the first ones.
_WINDOW: Final = 100


class NoMembers:
    """Stands for a list without members, which MySQL cannot write as one."""


class MySQL(Dialect):
    """Canonical SQL to MySQL and MariaDB. A schema is a database, named as configured."""

    backend = "mysql"
    promises = (
        Promise("innodb_flush_log_at_trx_commit", "SHOW VARIABLES LIKE 'innodb_flush_log_at_trx_commit'", ("1", "3")),
        Promise("innodb_doublewrite", "SHOW VARIABLES LIKE 'innodb_doublewrite'", ("ON", "DETECT_AND_RECOVER")),
    )
    now = "UTC_TIMESTAMP(6)"
    no_escape = " ESCAPE '\x01'"  # without one a backslash escapes; an empty one is refused
    FUNCTIONS = {"LENGTH": "CHAR_LENGTH"}

    def bind(self, name: str) -> str:
        return f"%({name})s"

    def place(self, number: int) -> str:
        return "%s"

    def table(self, schema: str, name: str) -> str:
        return f"{self.settings.schemas[schema]}.{name.lower()}"

    def table_name(self, name: str) -> str:
        return name.lower()

    def shifted_now(self, sign: str, amount: str, unit: str) -> str:
        # Only seconds keep a fraction.
        return f"({self.now} {sign} INTERVAL {amount} * {_SECONDS[unit]} SECOND)"

    def extract(self, part: str, operand: str) -> str:
        return f"EXTRACT({part} FROM {operand})"

    def whole_list(self, name: str, negated: bool) -> str:
        return f"{'NOT IN' if negated else 'IN'} %({name})s"

    def verbatim(self, text: str) -> str:
        return text.replace("%", "%%")

    def _with_lists(
        self, statement: Statement, values: dict[str, Any], lists: list[tuple[str, list[Any]]]
    ) -> tuple[str, dict[str, Any]]:
        values.update((name, members or NoMembers()) for name, members in lists)
        return statement.text, values

    def connect(self, seconds: float) -> Session:
        import MySQLdb
        from MySQLdb.constants import CLIENT, FIELD_TYPE
        from MySQLdb.converters import conversions

        settings = self.settings
        place: dict[str, Any] = {"host": settings.host or "localhost", "port": settings.port or 3306}
        if settings.host.startswith("/"):
            place = {"unix_socket": settings.host}
        wait = max(2, int(seconds))
        try:
            connection = MySQLdb.connect(
                **place,
                user=settings.user,
                password=settings.password.reveal(),
                database=settings.name,
                connect_timeout=wait,
                charset="utf8mb4",
                use_unicode=True,
                client_flag=CLIENT.FOUND_ROWS,  # an UPDATE counts the rows that it finds, as elsewhere
                conv={
                    **conversions,
                    FIELD_TYPE.DECIMAL: _number,
                    FIELD_TYPE.NEWDECIMAL: _number,
                    NoMembers: lambda _value, _converters: "(SELECT NULL FROM DUAL WHERE 1 = 0)",
                },
            )
            session = MySQLSession(connection)
            session.prepare()
        except MySQLdb.Error as error:
            raise Unavailable(f"cannot connect to MySQL at {settings.host}: {error}") from error
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
        """Read keys without a lock, then lock just those: InnoDB would lock every row that a sort reads.

        The lock has no other condition than the key, or the optimizer would look for the rows by way of another index
        and lock, for a moment, the entries of rows that other callers then believe to be taken.
        """
        claimed: list[int] = []
        seen: list[int] = []
        fits = f"CASE WHEN {' AND '.join(where)} THEN 1 ELSE 0 END" if where else "1"
        lock = f"SELECT {key}, {fits} AS claim_fits FROM {table} WHERE {key} IN (:claim_keys[])"
        while len(claimed) < limit and len(seen) < LONGEST_LIST - _WINDOW:
            wanted = limit - len(claimed)
            fresh = [*where, f"{key} NOT IN (:claim_seen[])"] if seen else where
            find = claim_query(key, table, fresh, order, limit=True)
            window = wanted if not seen else max(wanted, _WINDOW)
            found = [row[0] for row in tx.rows(find, **binds, claim_seen=seen, claim_limit=window)]
            if not found:
                break
            for start in range(0, len(found), wanted):
                part = found[start : start + limit - len(claimed)]
                seen += part
                tx.cursor.execute(lock, {**binds, "claim_keys": part}, suffix=" FOR UPDATE SKIP LOCKED")
                locked = {row[0] for row in tx.cursor.fetchall() if row[1]}
                claimed += [found_key for found_key in part if found_key in locked]
                if len(claimed) >= limit:
                    break
            if len(found) < window:  # there are no others
                break
        return claimed

    def next_ids(self, tx: Transaction, sequence: str, n: int) -> list[int]:
        schema, _, name = sequence.partition(".")
        session = tx.cursor.session
        assert isinstance(session, MySQLSession)
        if session.has_sequences:
            tx.cursor.execute_native(f"SELECT NEXTVAL({self.table(schema.upper(), name)}) FROM seq_1_to_{int(n)}")
            return [row[0] for row in tx.cursor.fetchall()]
        last = self._draw(session, self.table("ATLAS_PANDA", "panda_sequences"), name.lower(), n)
        return list(range(last - n + 1, last + 1))

    def _draw(self, session: MySQLSession, table: str, name: str, n: int) -> int:
        """Count on a connection of its own: the counter's lock would otherwise last as long as our transaction."""
        if session.counter is None:
            other = self.connect(seconds=5)
            assert isinstance(other, MySQLSession)
            session.counter = other
        text = f"UPDATE {table} SET value = LAST_INSERT_ID(value + %s) WHERE name = %s"
        cursor = session.counter.execute(text, [n, name])
        last: int = cursor.lastrowid
        changed = cursor.rowcount
        session.counter.commit()
        if changed != 1:
            raise DatabaseError(f"there is no counter {name}")
        return last

    def upsert_suffix(self, key: Sequence[str], values: Sequence[str]) -> str:
        columns = [self.column(name) for name in (values or key[:1])]
        return f" ON DUPLICATE KEY UPDATE {', '.join(f'{c} = VALUES({c})' for c in columns)}"

    def read_now(self, tx: Transaction) -> Any:
        tx.cursor.execute_native("SELECT UTC_TIMESTAMP(6)")
        return tx.cursor.fetchall()[0][0]


class MySQLSession(Session):
    """One connection with autocommit off: a transaction begins with its first statement."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._cursor = connection.cursor()
        self._seconds = 0.0
        self._lost = False
        self.is_mariadb = "MariaDB" in connection.get_server_info()
        self.has_sequences = self.is_mariadb
        self.counter: MySQLSession | None = None  # draws identifiers where there are no sequences

    def prepare(self) -> None:
        """Make the session ours."""
        mode = _MODE + (",SIMULTANEOUS_ASSIGNMENT" if self.is_mariadb else "")
        settings = [f"sql_mode = '{mode}'", "time_zone = '+00:00'"]
        if self.is_mariadb:
            settings.append(f"idle_transaction_timeout = {SILENCE_SECONDS}")
        self._cursor.execute(f"SET SESSION {', '.join(settings)}")
        self._cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
        self._connection.autocommit(False)

    def begin(self, *, read_only: bool, seconds: float) -> None:
        self.limit(seconds)
        if read_only:
            self._cursor.execute("START TRANSACTION READ ONLY")

    def limit(self, seconds: float) -> None:
        """Whole seconds, so that calls with one timeout share a setting and save the trip."""
        if 0.7 * seconds <= self._seconds <= seconds:
            return
        self._seconds = seconds if seconds < 3 else int(seconds)
        limit = (
            f"max_statement_time = {self._seconds}"
            if self.is_mariadb
            else f"max_execution_time = {int(self._seconds * 1000)}"
        )
        lock = max(1, int(min(LOCK_SECONDS, self._seconds / 2)))
        self._cursor.execute(f"SET SESSION {limit}, innodb_lock_wait_timeout = {lock}")

    def execute(self, text: str, values: Mapping[str, Any] | Sequence[Any]) -> Any:
        self._cursor.execute(text, values)
        return self._cursor

    def execute_many(self, text: str, rows: Sequence[Any]) -> int:
        return sum(self.execute(text, row).rowcount for row in rows)

    def commit(self) -> None:
        self._connection.commit()

    def rollback(self) -> None:
        self._connection.rollback()

    def savepoint(self, name: str) -> None:
        self._cursor.execute(f"SAVEPOINT {name}")

    def undo(self, name: str) -> None:
        self._cursor.execute(f"ROLLBACK TO SAVEPOINT {name}")
        self._cursor.execute(f"RELEASE SAVEPOINT {name}")

    def release(self, name: str) -> None:
        self._cursor.execute(f"RELEASE SAVEPOINT {name}")

    def close(self) -> None:
        import MySQLdb

        if self.counter is not None:
            self.counter.close()
        try:
            self._connection.close()
        except MySQLdb.Error:
            self._lost = True  # closed by the other side already

    @property
    def lost(self) -> bool:
        return self._lost

    def error(self, raised: Exception, *, nowait: bool = False) -> PandaError | None:
        import MySQLdb

        if isinstance(raised, UnicodeEncodeError):
            return BadRequest(f"a value does not fit the database: {raised}")
        if not isinstance(raised, MySQLdb.Error):
            return None
        number = raised.args[0] if raised.args else 0
        text = f"{raised.args[1] if len(raised.args) > 1 else raised} ({number})"
        if number in _LOST or isinstance(raised, MySQLdb.InterfaceError):
            self._lost = True
            return Unavailable(f"connection lost: {text}")
        if number in _LOCK_WAIT and nowait:
            return Busy(text)
        return _ERRORS.get(number, DatabaseError)(text)


_SECONDS: Final = {"SECOND": 1, "MINUTE": 60, "HOUR": 3600, "DAY": 86400}

#: Server gone, lost, shutting down, or it ended our connection.
_LOST: Final = frozenset({1053, 1927, 2006, 2013, 2055, 4031})
_LOCK_WAIT: Final = frozenset({1205, 3572})

#: Error number -> what it means.
_ERRORS: Final[dict[Any, type[PandaError]]] = {
    1062: DuplicateKey,
    1586: DuplicateKey,
    1213: LockLost,
    1205: LockLost,
    3572: LockLost,
    1020: LockLost,
    1317: Unavailable,  # interrupted
    1969: Unavailable,  # max_statement_time
    3024: Unavailable,  # max_execution_time
    1290: Unavailable,  # read-only server: a failover
    1836: Unavailable,
    1114: Unavailable,  # table full
    1021: Unavailable,  # disk full
    **dict.fromkeys((1264, 1265, 1292, 1366, 1406, 1690), BadRequest),
}


def _number(text: bytes | str) -> int | float:
    number = Decimal(text.decode() if isinstance(text, bytes) else text)
    return int(number) if number == number.to_integral_value() else float(number)
