"""PostgreSQL through psycopg2, with as few round trips as possible.

The driver stays in autocommit mode and we write BEGIN, SAVEPOINT and the like ourselves, because such text then travels
in front of the next statement instead of making a trip of its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
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
from pandaserver.taskbuffer.connection_settings import ConnectionSettings
from pandaserver.taskbuffer.dialects.base import (
    CACHE_SIZE,
    LOCK_SECONDS,
    SILENCE_SECONDS,
    Dialect,
    Promise,
    Session,
    claim_query,
)
from pandaserver.taskbuffer.dialects.postgres_prepared import ByKey, Prepared
from pandaserver.taskbuffer.dialects.statement import Statement

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection
    from psycopg2.extensions import cursor as Cursor

    from pandaserver.taskbuffer.transaction import Transaction

#: What operations call a list of primary keys.
KEYS: Final = "ids"

#: The setting of a transaction that holds the key of the row that it has claimed.
_CLAIMED: Final = "panda.claimed"
_CLAIMED_KEY: Final = f"NULLIF(current_setting('{_CLAIMED}', true), '')::bigint"
_ONE_PLAN: Final = "SET LOCAL enable_sort = off; SET LOCAL plan_cache_mode = force_generic_plan"
_ANY_PLAN: Final = "SET LOCAL enable_sort = on; SET LOCAL plan_cache_mode = auto"

_NUMERIC, _JSON, _JSONB, _TIMESTAMPTZ, _BOOL = 1700, 114, 3802, 1184, 16


class Postgres(Dialect):
    """Canonical SQL to PostgreSQL."""

    backend = "postgres"
    promises = (
        Promise("fsync", "SHOW fsync", ("on",)),
        Promise("synchronous_commit", "SHOW synchronous_commit", ("on", "local", "remote_write", "remote_apply")),
        Promise("full_page_writes", "SHOW full_page_writes", ("on",)),
    )
    now = "LOCALTIMESTAMP"  # of the session, which is in UTC; without a zone like our columns
    no_escape = " ESCAPE ''"

    def __init__(self, settings: ConnectionSettings) -> None:
        super().__init__(settings)
        self.reading_claimed = lru_cache(CACHE_SIZE)(self._reading_claimed)

    def bind(self, name: str) -> str:
        return f"%({name})s"

    def place(self, number: int) -> str:
        return "%s"

    def table(self, schema: str, name: str) -> str:
        return f"{self.settings.schemas[schema].lower()}.{name.lower()}"

    def shifted_now(self, sign: str, amount: str, unit: str) -> str:
        return f"({self.now} {sign} {amount} * INTERVAL '1 {unit}')"

    def extract(self, part: str, operand: str) -> str:
        return f"EXTRACT({part} FROM {operand})"

    def whole_list(self, name: str, negated: bool) -> str:
        return f"{'<> ALL' if negated else '= ANY'} (%({name})s)"

    def verbatim(self, text: str) -> str:
        return text.replace("%", "%%")

    def _with_lists(
        self, statement: Statement, values: dict[str, Any], lists: list[tuple[str, list[Any]]]
    ) -> tuple[str, dict[str, Any]]:
        if len(lists) == 1 and lists[0][0] == KEYS and len(lists[0][1]) == 1:
            values[KEYS] = lists[0][1][0]
            return self._text_for_one(statement), values
        values.update(lists)
        return statement.text, values

    def _text_for_one(self, statement: Statement) -> str:
        """Return the text for one key, with which PostgreSQL expects one row and not ten."""
        text = statement.texts.get((1,))
        if text is None:
            plain = statement.text
            for negated, operator in (False, "="), (True, "<>"):
                plain = plain.replace(self.whole_list(KEYS, negated), f"{operator} {self.bind(KEYS)}")
            text = statement.texts[(1,)] = ByKey(plain)
        return text

    def connect(self, seconds: float) -> Session:
        import psycopg2
        from psycopg2 import extensions

        settings = self.settings
        try:
            connection = psycopg2.connect(
                host=settings.host or None,
                port=settings.port or None,
                dbname=settings.name,
                user=settings.user or None,
                password=settings.password.reveal() or None,
                connect_timeout=max(2, int(seconds)),
                application_name="panda-server",
                client_encoding="UTF8",
                keepalives=1,
                keepalives_idle=30,
                keepalives_interval=10,
                keepalives_count=3,
                tcp_user_timeout=60_000,
                options="-c timezone=UTC -c default_transaction_isolation=read\\ committed -c datestyle=ISO"
                f" -c idle_in_transaction_session_timeout={SILENCE_SECONDS * 1000}",
            )
            connection.autocommit = True
            if connection.server_version >= 140000:  # a query ends when its client is gone
                connection.cursor().execute("SET client_connection_check_interval = 5000")
        except psycopg2.OperationalError as error:
            raise Unavailable(f"cannot connect to PostgreSQL at {settings.host}: {error}".strip()) from error
        for oid, name, convert in (
            (_NUMERIC, "NUMBER", _number),
            (_JSON, "JSON_TEXT", _same),
            (_JSONB, "JSONB_TEXT", _same),
            (_BOOL, "TRUTH", _truth),
        ):
            extensions.register_type(extensions.new_type((oid,), name, convert), connection)
        return PostgresSession(connection)

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
        tx.cursor.execute(sql, {**binds, "claim_limit": limit}, suffix=" FOR UPDATE SKIP LOCKED")
        return [row[0] for row in tx.cursor.fetchall()]

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
        """Search and read in one trip: a setting of the transaction carries the key from one to the other.

        One statement for both would have to be planned with all its columns for every search. So the reading is
        prepared, and the search too if it only ``walks`` an index; it is then planned with no way to sort, or a plan
        from the time when few jobs waited would outlast it.
        """
        find = claim_query(key, table, where, order, limit=True)
        session = tx.cursor.session
        assert isinstance(session, PostgresSession)
        if walks:
            session.announce(_ONE_PLAN)
        native = _walking if walks else _searching
        tx.cursor.execute_later(find, {**binds, "claim_limit": 1}, native)
        if walks:
            session.announce(_ANY_PLAN)
        tx.cursor.execute_native(self.reading_claimed(read, beside))
        rows = tx.cursor.fetchall()
        if not rows:
            return None
        *row, others = rows[0]
        return tuple(row), [tuple(other) for other in json.loads(others or "[]")]

    def _reading_claimed(self, read: str, beside: str) -> ByKey:
        """Return the text of both queries for the claimed key, the rows of the second as JSON in a last column."""
        one, other = self.statement(read), self.statement(beside)
        columns = ", ".join(f"b.{self.column(name)}" for name in other.columns)
        first, second = (self._text_for_one(s).replace(self.bind(KEYS), _CLAIMED_KEY) for s in (one, other))
        return ByKey(f"SELECT r.*, (SELECT json_agg(json_build_array({columns})) FROM ({second}) b) FROM ({first}) r")

    def next_ids(self, tx: Transaction, sequence: str, n: int) -> list[int]:
        schema, _, name = sequence.partition(".")
        full = self.table(schema.upper(), name)
        tx.cursor.execute_native("SELECT nextval(%s) FROM generate_series(1, %s)", [full, n])
        return [row[0] for row in tx.cursor.fetchall()]

    def upsert_suffix(self, key: Sequence[str], values: Sequence[str]) -> str:
        columns = [self.column(name) for name in values]
        action = f"UPDATE SET {', '.join(f'{c} = excluded.{c}' for c in columns)}" if columns else "NOTHING"
        return f" ON CONFLICT ({', '.join(self.column(k) for k in key)}) DO {action}"

    def read_now(self, tx: Transaction) -> Any:
        tx.cursor.execute_native("SELECT LOCALTIMESTAMP")
        return tx.cursor.fetchall()[0][0]


class PostgresSession(Session):
    """One connection. Text in ``_pending`` goes out in front of the next statement."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._cursor: Cursor = connection.cursor()
        self._pending: list[str] = []
        self._seconds = 0.0  # what the server allows a statement now
        self._began = False
        self._owes = False  # something that was asked for is in _pending
        self._prepared = Prepared(self._cursor)

    def begin(self, *, read_only: bool, seconds: float) -> None:
        self._pending = [f"BEGIN{' READ ONLY' if read_only else ''}"]
        self._began = self._owes = False
        self._set_limit(seconds)

    def limit(self, seconds: float) -> None:
        if seconds < 0.8 * self._seconds:
            self._set_limit(seconds)

    def _set_limit(self, seconds: float) -> None:
        self._seconds = seconds
        whole = max(1, int(seconds * 1000))
        lock = max(1, int(min(LOCK_SECONDS, seconds / 2) * 1000))
        self._pending.append(f"SET LOCAL statement_timeout = {whole}; SET LOCAL lock_timeout = {lock}")

    def execute(self, text: str, values: Mapping[str, Any] | Sequence[Any]) -> Cursor:
        if isinstance(text, ByKey) and (isinstance(values, Mapping) or not values):
            text = self._prepared.execution(text, values if isinstance(values, Mapping) else {})
        pending, self._pending = self._pending, []
        if pending:
            text = f"{'; '.join(pending).replace('%', '%%')}; {text}"
        try:
            self._cursor.execute(text, values)
        except (TypeError, ValueError, LookupError):  # a value that the driver cannot write: nothing was sent
            self._pending = pending
            raise
        finally:
            self._began = self._began or not self._pending
        return self._cursor

    def later(self, text: str, values: Mapping[str, Any] | Sequence[Any]) -> None:
        """Send it in front of the next statement."""
        if isinstance(text, ByKey) and isinstance(values, Mapping):
            text = self._prepared.execution(text, values)
        self._pending.append(self._cursor.mogrify(text, values).decode())
        self._owes = True

    def execute_many(self, text: str, rows: Sequence[Any]) -> int:
        """Send one row after the other: only so is every row counted."""
        affected = 0
        for row in rows:
            affected += self.execute(text, row).rowcount
        return affected

    def commit(self) -> None:
        if self._began or self._owes:
            self._end("COMMIT")
            if self._cursor.statusmessage != "COMMIT":
                raise DatabaseError("PostgreSQL rolled back instead of committing")
            self._prepared.prepare_due()
        self._pending.clear()

    def rollback(self) -> None:
        if self._began:
            self._end("ROLLBACK")
        self._pending.clear()
        self._owes = False

    def _end(self, how: str) -> None:
        from psycopg2 import Error
        from psycopg2.extensions import TRANSACTION_STATUS_INERROR

        pending, self._pending = self._pending, []
        self._began = self._owes = False
        # A failed statement must be undone before the commit, even when no other statement followed it.
        try:
            self._cursor.execute("; ".join([*pending, how]) if how == "COMMIT" else how)
        except Error as raised:
            if self.lost or self._connection.get_transaction_status() != TRANSACTION_STATUS_INERROR:
                raise
            # What travelled with the commit failed, so the commit was not reached: this is known to be undone.
            self._cursor.execute("ROLLBACK")
            raise (self.error(raised) or raised) from raised

    def announce(self, settings: str) -> None:
        """Change settings of the transaction for the statements that follow."""
        self._pending.append(settings)

    def savepoint(self, name: str) -> None:
        self._pending.append(f"SAVEPOINT {name}")

    def undo(self, name: str) -> None:
        mark = f"SAVEPOINT {name}"
        if mark in self._pending:  # neither it was sent, nor what came after it
            del self._pending[self._pending.index(mark) :]
        else:
            self._pending.append(f"ROLLBACK TO {name}; RELEASE {name}")

    def release(self, name: str) -> None:
        mark = f"SAVEPOINT {name}"
        if mark in self._pending:
            self._pending.remove(mark)
        else:
            self._pending.append(f"RELEASE {name}")

    def close(self) -> None:
        self._connection.close()

    @property
    def lost(self) -> bool:
        return self._connection.closed != 0

    def error(self, raised: Exception, *, nowait: bool = False) -> PandaError | None:
        import psycopg2

        if isinstance(raised, UnicodeEncodeError):
            return BadRequest(f"a value does not fit the database: {raised}")
        if not isinstance(raised, psycopg2.Error):
            return None
        # Not str(raised), which quotes the statement and the row with all their values.
        primary, constraint = raised.diag.message_primary, raised.diag.constraint_name
        text = f"{primary} ({constraint})" if constraint else primary or " ".join(str(raised).split())
        state = raised.pgcode or ""
        if self.lost or state.startswith(("08", "57P")):
            return Unavailable(f"connection lost: {text}")
        if state == "55P03" and nowait:
            return Busy(text)
        if state == "0A000" and self._prepared.forget():  # a table has changed: run again with what it is now
            return LockLost(text)
        for prefix, kind in _ERRORS.items():
            if state.startswith(prefix):
                return kind(text)
        return DatabaseError(f"{text} ({state})")


def _searching(query: str) -> str:
    """Return what locks the first row of a query and leaves its key in the setting, until the transaction ends."""
    return f"SELECT set_config('{_CLAIMED}', ({query} FOR UPDATE SKIP LOCKED)::text, true)"


def _walking(query: str) -> str:
    return ByKey(_searching(query))


#: Begin of an SQLSTATE -> what it means.
_ERRORS: Final[dict[str, type[PandaError]]] = {
    "23505": DuplicateKey,
    "40001": LockLost,
    "40P01": LockLost,
    "55P03": LockLost,
    "57014": Unavailable,  # statement_timeout: undone
    "25P03": Unavailable,  # idle in transaction: undone
    "53": Unavailable,
    "22": BadRequest,
}


def _number(text: Any, _cursor: Any) -> int | float | None:
    if text is None:
        return None
    number = Decimal(text)
    return int(number) if number == number.to_integral_value() else float(number)


def _same(text: Any, _cursor: Any) -> Any:
    return text


def _truth(text: Any, _cursor: Any) -> int | None:
    return None if text is None else int(text == "t")
