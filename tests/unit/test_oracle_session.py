"""What can be said about the Oracle session with a pretended driver."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from time import monotonic
from types import SimpleNamespace
from typing import Any

import pytest

from pandaserver.srvcore.errors import (
    BadRequest,
    Busy,
    DatabaseError,
    DuplicateKey,
    LockLost,
    PandaError,
    Unavailable,
)
from pandaserver.taskbuffer.connection_settings import ConnectionSettings, OperationSettings
from pandaserver.taskbuffer.db_proxy_mods.inspection import Durability, look_at_durability
from pandaserver.taskbuffer.dialects import dialect_for, oracle
from pandaserver.taskbuffer.dialects.oracle import OracleSession
from pandaserver.taskbuffer.transaction import Transaction
from pandaserver.taskbuffer.WrappedCursor import WrappedCursor
from tests.oracle_check import complaints


class DriverError(Exception):
    """As oracledb raises it: the first argument knows the code."""


def error(code: str) -> DriverError:
    return DriverError(SimpleNamespace(full_code=code))


class Cursor:
    """Remembers what it was asked and answers with prepared rows."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.rowcount = 1
        self.arraysize = self.prefetchrows = -1

    def execute(self, text: str, values: Mapping[str, Any] | Sequence[Any] = ()) -> None:
        self.connection.asked.append((text, values, self.arraysize, self.prefetchrows))
        if self.connection.failure:
            raise self.connection.failure.pop()

    def executemany(self, text: str, rows: Sequence[Any]) -> None:
        self.connection.asked.append((text, rows, 0, 0))
        self.rowcount = len(rows)

    def fetchall(self) -> list[Any]:
        return self.connection.rows

    def fetchone(self) -> Any:
        return self.connection.rows[0]

    def fetchmany(self, size: int) -> list[Any]:
        return self.connection.rows[:size]

    def var(self, kind: object, arraysize: int) -> object:
        return kind, arraysize


class Connection:
    """A connection as far as our session uses one."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any, int, int]] = []
        self.rows: list[Any] = []
        self.failure: list[Exception] = []
        self.call_timeout = 0
        self.calls: list[str] = []

    def cursor(self) -> Cursor:
        return Cursor(self)

    def commit(self) -> None:
        self.calls.append("commit")

    def rollback(self) -> None:
        self.calls.append("rollback")

    def close(self) -> None:
        self.calls.append("close")


DRIVER: Any = SimpleNamespace(
    Error=DriverError, DB_TYPE_TIMESTAMP="timestamp", DB_TYPE_CLOB="clob", DB_TYPE_NCLOB="nclob", DB_TYPE_BLOB="blob",
    DB_TYPE_LONG="long", DB_TYPE_LONG_RAW="raw",
)  # fmt: skip


@pytest.fixture
def connection() -> Connection:
    return Connection()


@pytest.fixture
def session(connection: Connection) -> OracleSession:
    made = OracleSession(connection, DRIVER)
    made.prepare(5)
    connection.asked.clear()
    return made


@pytest.fixture
def tx(session: OracleSession) -> Transaction:
    dialect = dialect_for(ConnectionSettings("oracle", "panda"))
    return Transaction(WrappedCursor(session, dialect), OperationSettings(), monotonic() + 10)


def test_a_claim_locks_by_fetching_as_many_rows_as_wanted(tx: Transaction, connection: Connection) -> None:
    connection.rows = [(3,), (1,), (2,)]
    table = "ATLAS_PANDA.jobsActive4"
    found = tx.claim(
        table, key="PandaID", limit=2, where=["cloud = :c"], binds={"c": "x"}, order="currentPriority DESC"
    )
    assert found == [3, 1]
    text = "SELECT PandaID FROM ATLAS_PANDA.jobsActive4 WHERE cloud = :b_c ORDER BY currentPriority DESC"
    assert connection.asked == [(f"{text} FOR UPDATE SKIP LOCKED", {"b_c": "x"}, 2, 0)]


def test_identifiers_are_drawn_in_one_statement(tx: Transaction, connection: Connection) -> None:
    connection.rows = [(7,), (8,)]
    assert tx.next_ids("ATLAS_PANDA.JOBSDEFINED4_PANDAID_SEQ", 2) == [7, 8]
    text = "SELECT ATLAS_PANDA.JOBSDEFINED4_PANDAID_SEQ.NEXTVAL FROM DUAL CONNECT BY LEVEL <= :1"
    assert [(asked[0], asked[1]) for asked in connection.asked] == [(text, [2])]


def test_rows_are_inserted_by_array(tx: Transaction, connection: Connection) -> None:
    assert tx.insert("ATLAS_PANDA.Config", [{"KEY": "a"}, {"KEY": ""}]) == 2
    assert connection.asked[0][:2] == ('INSERT INTO ATLAS_PANDA.Config ("KEY") VALUES (:1)', [["a"], [None]])


def test_an_upsert_that_met_another_runs_again(tx: Transaction, connection: Connection) -> None:
    connection.failure.append(error("ORA-00001"))
    with pytest.raises(LockLost):
        tx.upsert("ATLAS_PANDA.Config", {"KEY": "a"}, {"value": "b"})
    assert connection.asked[0][1] == ["a", "b", "b"]


def test_a_read_only_transaction_says_so(session: OracleSession, connection: Connection) -> None:
    session.begin(read_only=True, seconds=3)
    assert connection.asked[0][0] == "SET TRANSACTION READ ONLY"
    assert connection.call_timeout == 3000


@pytest.mark.parametrize(
    ("code", "nowait", "kind", "lost"),
    [
        ("ORA-00001", False, DuplicateKey, False),
        ("ORA-00060", False, LockLost, False),
        ("ORA-00054", True, Busy, False),
        ("ORA-00054", False, LockLost, False),
        ("ORA-03113", False, Unavailable, True),
        ("DPY-4011", False, Unavailable, True),
        ("DPY-4024", False, Unavailable, False),
        ("ORA-12899", False, BadRequest, False),
        ("ORA-00942", False, DatabaseError, False),
    ],
)
def test_errors_mean_the_same_as_elsewhere(
    session: OracleSession, code: str, nowait: bool, kind: type[PandaError], lost: bool
) -> None:
    meaning = session.error(error(code), nowait=nowait)
    assert type(meaning) is kind
    assert session.lost is lost
    assert session.error(ValueError()) is None


def test_times_go_in_with_their_fraction_and_large_texts_come_out_as_text(
    session: OracleSession, connection: Connection
) -> None:
    cursor = connection.cursor()
    cursor.arraysize = 10
    assert session._input_type(cursor, datetime(2026, 1, 1), 5) == ("timestamp", 5)
    assert session._input_type(cursor, "x", 5) is None
    assert session._output_type(cursor, SimpleNamespace(type_code="clob")) == ("long", 10)
    assert session._output_type(cursor, "NAME", "blob", 1, 2, 3) == ("raw", 10)
    assert session._output_type(cursor, "NAME", "number", 1, 2, 3) is None


def test_the_driver_of_the_site_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def load(name: str) -> Any:
        asked.append(name)
        if name == "oracledb":
            raise ImportError(name)
        return DRIVER

    monkeypatch.setattr("importlib.import_module", load)
    assert oracle._driver() is DRIVER
    assert asked == ["oracledb", "cx_Oracle"]


@pytest.mark.parametrize(
    ("value", "is_safe"),
    [("WAIT", True), ("FORCE_WAIT", True), ("NOWAIT", False), ("IMMEDIATE,NOWAIT", False), ("BATCH", False)],
)
def test_a_commit_that_does_not_wait_for_the_disk_is_no_promise(
    tx: Transaction, connection: Connection, value: str, is_safe: bool
) -> None:
    connection.rows = [(value,)]
    found = look_at_durability(tx)
    assert found[0] == Durability("commit_wait", value, is_safe)
    assert [one.name for one in found] == ["commit_wait", "commit_write"]


def test_oracle_would_read_the_questions_about_durability() -> None:
    unknown = {"table V$PARAMETER", "column NAME", "column VALUE"}  # only Oracle's own catalogue has them
    for promise in dialect_for(ConnectionSettings("oracle", "panda")).promises:
        assert set(complaints(promise.query)) == unknown


def test_an_account_that_may_not_ask_about_durability_hears_why(tx: Transaction, connection: Connection) -> None:
    connection.failure.append(error("ORA-00942"))
    with pytest.raises(DatabaseError):
        look_at_durability(tx)
