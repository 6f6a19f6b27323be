"""Statements by key are prepared, and nobody can tell from their results."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from pandaserver.srvcore.errors import LockLost
from pandaserver.taskbuffer.connection_settings import ConnectionSettings, OperationSettings
from pandaserver.taskbuffer.dialects import dialect_for
from pandaserver.taskbuffer.dialects.base import Dialect, Session
from pandaserver.taskbuffer.dialects.postgres_prepared import MOST, USES
from pandaserver.taskbuffer.transaction import Transaction
from pandaserver.taskbuffer.WrappedCursor import WrappedCursor
from tests.db.conftest import BACKENDS

pytestmark = pytest.mark.skipif("postgres" not in BACKENDS, reason="PostgreSQL is not among the chosen backends")

INSERT = """
    INSERT INTO ATLAS_PANDA.jobsDebug (PandaID, stdOut) VALUES (:PandaID, :text)
"""
READ = """
    SELECT PandaID, stdOut FROM ATLAS_PANDA.jobsDebug WHERE PandaID IN (:ids[]) ORDER BY PandaID
"""
OTHERS = """
    SELECT PandaID FROM ATLAS_PANDA.jobsDebug WHERE PandaID NOT IN (:ids[]) ORDER BY PandaID
"""
ECHO = """
    SELECT COALESCE(:value, stdOut) FROM ATLAS_PANDA.jobsDebug WHERE PandaID IN (:ids[])
"""
KEPT = "SELECT COUNT(*) FROM pg_prepared_statements"


class Connection:
    def __init__(self, settings: ConnectionSettings) -> None:
        self.dialect: Dialect = dialect_for(settings)
        self.session: Session = self.dialect.connect(10.0)

    def run(self, sql: str, **binds: Any) -> list[Any]:
        self.session.begin(read_only=False, seconds=5.0)
        tx = Transaction(WrappedCursor(self.session, self.dialect), OperationSettings(), float("inf"))
        found = tx.rows(sql, **binds)
        self.session.commit()
        return found

    def kept(self) -> int:
        return int(self.session.execute(KEPT, ()).fetchone()[0])


@pytest.fixture
def connection(databases: Any) -> Iterator[Connection]:
    settings = databases("postgres")
    made = Connection(settings)
    made.session.execute("DELETE FROM atlas_panda.jobsdebug", ())
    made.session.execute("INSERT INTO atlas_panda.jobsdebug VALUES (1, 'a'), (2, 'b%%c'), (3, NULL)", {"": 1})
    yield made
    made.session.rollback()
    made.session.execute("DELETE FROM atlas_panda.jobsdebug", ())
    made.session.close()


def test_a_statement_by_key_is_prepared_when_it_was_executed_often(connection: Connection) -> None:
    for count in range(USES):
        assert connection.kept() == 0, count
        connection.run(READ, ids=[1])
    assert connection.kept() == 1


def test_results_stay_the_same(connection: Connection) -> None:
    for _ in range(USES + 3):
        assert [connection.run(READ, ids=[n]) for n in (1, 2, 3, 4)] == [[(1, "a")], [(2, "b%c")], [(3, None)], []]
    assert connection.kept() == 1


def test_keys_that_are_excluded_stay_excluded(connection: Connection) -> None:
    for _ in range(USES + 3):
        assert connection.run(OTHERS, ids=[2]) == [(1,), (3,)]


def test_a_list_of_several_keys_is_planned_for_its_values(connection: Connection) -> None:
    for _ in range(USES + 3):
        assert [row[0] for row in connection.run(READ, ids=[1, 3])] == [1, 3]
    assert connection.kept() == 0


@pytest.mark.parametrize("value", ["x'%", None])
def test_a_value_of_another_type_is_another_statement(connection: Connection, value: str | None) -> None:
    for _ in range(USES + 3):
        assert connection.run(ECHO, ids=[1], value="text") == [("text",)]
    for _ in range(USES + 3):
        assert connection.run(ECHO, ids=[1], value=value) == [(value or "a",)]


def test_what_cannot_be_prepared_is_executed_as_it_is(connection: Connection) -> None:
    sql = "SELECT PandaID FROM ATLAS_PANDA.jobsDebug WHERE PandaID IN (:ids[]) AND SUBSTR(stdOut, :n) IS NOT NULL"
    for _ in range(USES + 3):
        assert connection.run(sql, ids=[1], n=1) == [(1,)]
    assert connection.kept() == 0


def test_a_changed_table_is_read_as_it_is_now(connection: Connection) -> None:
    for _ in range(USES + 3):
        connection.run(READ, ids=[1])
    connection.session.execute("ALTER TABLE atlas_panda.jobsdebug ALTER COLUMN stdout TYPE text", ())
    try:
        with pytest.raises(LockLost):  # upon which a proxy runs the operation again
            connection.run(READ, ids=[1])
        connection.session.rollback()
        assert connection.run(READ, ids=[1]) == [(1, "a")]
    finally:
        connection.session.execute("ALTER TABLE atlas_panda.jobsdebug ALTER COLUMN stdout TYPE varchar(2048)", ())


def test_a_connection_keeps_only_so_many(connection: Connection) -> None:
    for number in range(MOST + 5):
        for _ in range(USES):
            connection.run(
                f"SELECT PandaID, {number} AS n FROM ATLAS_PANDA.jobsDebug WHERE PandaID IN (:ids[])", ids=[1]
            )
    assert connection.kept() == MOST
