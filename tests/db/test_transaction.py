"""What an operation may do with its transaction, on every backend."""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic
from typing import Any

import pytest

from pandaserver.srvcore.errors import Busy, DatabaseError, DuplicateKey, LockLost, Unavailable
from pandaserver.taskbuffer.connection_settings import ConnectionSettings
from pandaserver.taskbuffer.transaction import Transaction
from tests.db.transactions import transaction

CONFIG = "ATLAS_PANDA.Config"
NAMES = "SELECT KEY FROM ATLAS_PANDA.Config WHERE component = 'test' ORDER BY KEY"
#: By the whole primary key: InnoDB locks what it reads on the way to a row.
ROW = "app = 't' AND component = 'test' AND KEY = :key AND VO = 'v'"
VALUE = f"SELECT value FROM ATLAS_PANDA.Config WHERE {ROW}"
LOCK = f"{VALUE} FOR UPDATE"
SET = f"UPDATE ATLAS_PANDA.Config SET value = :value WHERE {ROW}"


def row(key: str, value: str = "1") -> dict[str, Any]:
    return {"app": "t", "component": "test", "KEY": key, "value": value, "type": "int", "VO": "v", "descr": "d"}


@pytest.fixture
def filled(database: ConnectionSettings) -> ConnectionSettings:
    with transaction(database) as tx:
        tx.insert(CONFIG, [row(f"k{n:02}", str(n)) for n in range(12)])
    return database


def test_rows_come_as_tuples_and_as_dictionaries_in_the_statements_spelling(tx: Transaction) -> None:
    tx.insert(CONFIG, [row("a", "7")])
    sql = "SELECT KEY, value AS theValue, COUNT(*) FROM ATLAS_PANDA.Config WHERE KEY = :k GROUP BY KEY, value"
    assert tx.rows(sql, k="a") == [("a", "7", 1)]
    assert tx.dicts(sql, k="a") == [{"KEY": "a", "theValue": "7", "COUNT(*)": 1}]
    assert tx.one(sql, k="a") == ("a", "7", 1)
    assert tx.value(sql, k="a") == "a"
    assert (tx.one(sql, k="none"), tx.value(sql, k="none")) == (None, None)


def test_an_update_counts_rows_that_it_finds_even_if_nothing_changes(tx: Transaction) -> None:
    tx.insert(CONFIG, [row("a", "7"), row("b", "7")])
    assert tx.change(SET, key="a", value="7") == 1
    assert tx.change("DELETE FROM ATLAS_PANDA.Config WHERE component = 'test'") == 2


def test_change_many_counts_over_all_rows(tx: Transaction) -> None:
    tx.insert(CONFIG, [row("a"), row("b")])
    assert (
        tx.change_many(SET, [{"key": "a", "value": "x"}, {"key": "none", "value": "y"}, {"key": "b", "value": "z"}])
        == 2
    )
    assert tx.value(VALUE, key="b") == "z"
    assert tx.change_many(SET, []) == 0


def test_many_rows_are_inserted_in_few_statements(tx: Transaction) -> None:
    before = tx.statements
    assert tx.insert(CONFIG, [row(f"k{n:04}") for n in range(1200)]) == 1200
    assert tx.statements - before <= 3
    assert len(tx.rows(NAMES)) == 1200


def test_rows_that_name_different_columns_are_refused(tx: Transaction) -> None:
    with pytest.raises(TypeError, match="descr"):
        tx.insert(CONFIG, [row("a"), {k: v for k, v in row("b").items() if k != "descr"}])


def test_upsert_inserts_and_then_changes(tx: Transaction) -> None:
    key = {"app": "t", "component": "test", "KEY": "a", "VO": "v"}
    for value in ("1", "2"):
        tx.upsert(CONFIG, key, {"value": value, "type": "int", "descr": "d"})
    assert tx.rows(VALUE, key="a") == [("2",)]


def test_lists_may_be_empty_long_and_negated(tx: Transaction) -> None:
    tx.insert(CONFIG, [row(f"k{n}") for n in range(5)])
    some = "SELECT KEY FROM ATLAS_PANDA.Config WHERE component = 'test' AND KEY IN (:keys[]) ORDER BY KEY"
    others = "SELECT KEY FROM ATLAS_PANDA.Config WHERE component = 'test' AND KEY NOT IN (:keys[]) ORDER BY KEY"
    assert tx.rows(some, keys=["k1", "k3", "none"]) == [("k1",), ("k3",)]
    assert tx.rows(others, keys=["k1", "k3"]) == [("k0",), ("k2",), ("k4",)]
    assert tx.rows(some, keys=[]) == []
    assert len(tx.rows(others, keys=[])) == 5
    assert len(tx.rows(some, keys=[f"k{n}" for n in range(1000)])) == 5


@pytest.mark.parametrize("n", [1, 3, 250])
def test_identifiers_are_drawn_rising_and_only_once(tx: Transaction, n: int) -> None:
    first = tx.next_ids("ATLAS_PANDA.JOBSDEFINED4_PANDAID_SEQ", n)
    second = tx.next_ids("ATLAS_PANDA.JOBSDEFINED4_PANDAID_SEQ", n)
    assert len(first) == n
    assert first + second == sorted(set(first + second))


def test_drawing_identifiers_takes_one_trip(tx: Transaction) -> None:
    tx.next_ids("ATLAS_PANDA.FILESTABLE4_ROW_ID_SEQ", 50)
    assert tx.statements <= 2  # SQLite, whose trips cost nothing, counts and reads


def test_a_duplicate_inside_a_savepoint_leaves_the_rest_intact(filled: ConnectionSettings) -> None:
    with transaction(filled) as tx:
        tx.insert(CONFIG, [row("new")])
        with pytest.raises(DuplicateKey), tx.savepoint():
            _ = tx.insert(CONFIG, [row("lost")]), tx.insert(CONFIG, [row("k01")])
        with tx.savepoint():
            tx.insert(CONFIG, [row("newer")])
    with transaction(filled) as tx:
        names = {name for (name,) in tx.rows(NAMES)}
    assert {"new", "newer"} <= names
    assert "lost" not in names


def test_savepoints_nest(filled: ConnectionSettings) -> None:
    with transaction(filled) as tx, tx.savepoint():
        tx.insert(CONFIG, [row("outer")])
        with pytest.raises(ZeroDivisionError), tx.savepoint():
            _ = tx.insert(CONFIG, [row("inner")]) / 0
        tx.insert(CONFIG, [row("after")])
    with transaction(filled) as tx:
        assert {"outer", "after"} == {name for (name,) in tx.rows(NAMES) if not name.startswith("k")}


def test_an_error_before_the_first_statement_of_a_savepoint_harms_nothing(tx: Transaction) -> None:
    with pytest.raises(ZeroDivisionError), tx.savepoint():
        _ = 1 / 0
    assert tx.insert(CONFIG, [row("a")]) == 1


def test_a_failure_outside_a_savepoint_ends_the_transaction(filled: ConnectionSettings) -> None:
    with transaction(filled, commit=False) as tx:
        with pytest.raises(DuplicateKey):
            tx.insert(CONFIG, [row("k01")])
        with pytest.raises(DatabaseError, match="failed already"):
            tx.rows(NAMES)
        assert isinstance(tx.failure, DuplicateKey)


def test_a_statement_after_the_deadline_is_not_executed(database: ConnectionSettings) -> None:
    with transaction(database, commit=False) as tx:
        tx.deadline = monotonic() - 1
        with pytest.raises(Unavailable, match="deadline"):
            tx.rows(NAMES)


def test_a_read_only_transaction_refuses_to_write(filled: ConnectionSettings) -> None:
    with transaction(filled, read_only=True, commit=False) as tx:
        assert len(tx.rows(NAMES)) == 12
        with pytest.raises(DatabaseError):
            tx.change(SET, key="k01", value="x")


def test_a_reader_sees_committed_rows_while_another_writes(filled: ConnectionSettings) -> None:
    with transaction(filled) as writer:
        writer.change(SET, key="k01", value="changed")
        with transaction(filled, read_only=True) as reader:
            assert reader.value(VALUE, key="k01") == "1"


def test_the_clock_is_that_of_the_database_and_stands_still(tx: Transaction) -> None:
    assert tx.now() is tx.now()
    assert tx.now().tzinfo is None


def test_locking_a_row_that_another_holds(filled: ConnectionSettings, requires: Callable[[str], None]) -> None:
    requires("row_locks")
    with transaction(filled) as holder:
        holder.rows(LOCK, key="k01")
        with transaction(filled, commit=False) as other, pytest.raises(Busy):
            other.rows(f"{LOCK} NOWAIT", key="k01")
        with transaction(filled) as other:
            assert other.rows(f"{LOCK} SKIP LOCKED", key="k01") == []
            assert other.rows(f"{LOCK} NOWAIT", key="k02") == [("2",)]


def test_waiting_for_a_lock_ends_in_time(filled: ConnectionSettings, requires: Callable[[str], None]) -> None:
    requires("row_locks")
    with transaction(filled) as holder:
        holder.rows(LOCK, key="k01")
        started = monotonic()
        with transaction(filled, seconds=2.5, commit=False) as other, pytest.raises(LockLost):
            other.rows(LOCK, key="k01")
        assert monotonic() - started < 2.5


def test_a_writer_waits_for_its_turn_and_not_longer(filled: ConnectionSettings) -> None:
    """Whether it is the row or the whole file that another holds."""
    with transaction(filled) as holder:
        holder.change(SET, key="k01", value="x")
        started = monotonic()
        with pytest.raises((Busy, LockLost)), transaction(filled, seconds=2.5, commit=False) as other:
            other.change(SET, key="k01", value="y")
        assert monotonic() - started < 2.6


SLOW = {
    "sqlite": "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1e9) SELECT COUNT(*) FROM n",
    "postgres": "SELECT pg_sleep(20)",
    "mysql": "SELECT COUNT(*) FROM seq_1_to_100000 a, seq_1_to_100000 b WHERE a.seq <> b.seq",
}


def test_a_slow_statement_is_stopped_before_the_deadline(database: ConnectionSettings) -> None:
    with transaction(database, seconds=2.5, commit=False) as tx:
        with pytest.raises(Unavailable):
            tx.run(lambda: tx.cursor.execute_native(SLOW[database.backend]))
        assert tx.remaining() > 0


def test_an_error_does_not_tell_the_values_of_the_row(database: ConnectionSettings) -> None:
    with transaction(database, commit=False) as tx:
        with pytest.raises(DatabaseError) as failed:
            tx.insert("ATLAS_PANDA.panda_leases", [{"component": "hush", "owner": None, "token": 1}])
        assert "hush" not in f"{failed.value} {failed.value.details}"


def test_a_deadlock_costs_one_of_the_two_its_transaction(
    filled: ConnectionSettings, requires: Callable[[str], None]
) -> None:
    requires("row_locks")
    barrier = threading.Barrier(2)
    outcomes: list[str] = []

    def cross(first: str, second: str) -> None:
        try:
            with transaction(filled) as tx:
                tx.change(SET, key=first, value="x")
                barrier.wait(10)
                tx.change(SET, key=second, value="y")
            outcomes.append("done")
        except LockLost:
            outcomes.append("lost")

    threads = [threading.Thread(target=cross, args=pair) for pair in (("k01", "k02"), ("k02", "k01"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["done", "lost"]
