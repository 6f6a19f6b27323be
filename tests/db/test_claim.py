"""Claiming rows: in order, each row once, and never nothing while something is free."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from pandaserver.taskbuffer.connection_settings import ConnectionSettings, OperationSettings
from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.OraDBProxy import OraDBProxy
from pandaserver.taskbuffer.transaction import Transaction
from tests.db.transactions import transaction

TABLE = "ATLAS_PANDA.panda_messages"
NUMBER = 60


def claim(tx: Transaction, limit: int, topic: str = "free", order: str = "attempts DESC, id") -> list[int]:
    return tx.claim(TABLE, key="id", limit=limit, where=["topic = :topic"], binds={"topic": topic}, order=order)


@operation(timeout=30)
def take_messages(tx: Transaction, limit: int) -> list[int]:
    ids = claim(tx, limit)
    if ids:
        tx.change("UPDATE ATLAS_PANDA.panda_messages SET topic = 'taken' WHERE id IN (:ids[])", ids=ids)
    return ids


@pytest.fixture
def ranked(database: ConnectionSettings) -> list[int]:
    """Identifiers of free messages, the most urgent first."""
    with transaction(database) as tx:
        rows: list[dict[str, Any]] = [
            {"topic": "free", "creationTime": tx.now(), "payload": "{}", "attempts": n % 7} for n in range(NUMBER)
        ]
        tx.insert(TABLE, rows)
        tx.insert(TABLE, [{**rows[0], "topic": "other", "attempts": 99}])
        order = "SELECT id FROM ATLAS_PANDA.panda_messages WHERE topic = 'free' ORDER BY attempts DESC, id"
        return [number for (number,) in tx.rows(order)]


def test_the_first_rows_are_claimed_in_order(database: ConnectionSettings, ranked: list[int]) -> None:
    with transaction(database) as tx:
        assert claim(tx, 5) == ranked[:5]


def test_claiming_more_than_there_is_gives_all(database: ConnectionSettings, ranked: list[int]) -> None:
    with transaction(database) as tx:
        assert sorted(claim(tx, 500)) == sorted(ranked)


@pytest.mark.parametrize(("limit", "topic"), [(0, "free"), (5, "none")])
def test_claiming_nothing(database: ConnectionSettings, ranked: list[int], limit: int, topic: str) -> None:
    with transaction(database) as tx:
        assert claim(tx, limit, topic) == []


def test_locked_rows_are_passed_over(
    database: ConnectionSettings, ranked: list[int], requires: Callable[[str], None]
) -> None:
    requires("row_locks")
    with transaction(database) as first, transaction(database) as second, transaction(database) as third:
        assert claim(first, 5) == ranked[:5]
        assert claim(second, 7) == ranked[5:12]
        assert claim(third, NUMBER) == ranked[12:]


def test_only_what_is_claimed_stays_locked(
    database: ConnectionSettings, ranked: list[int], requires: Callable[[str], None]
) -> None:
    """Though the order is served by no index, and others' rows lie in between."""
    requires("row_locks")
    with transaction(database) as first, transaction(database) as second:
        taken = claim(first, 5)
        sql = "SELECT id FROM ATLAS_PANDA.panda_messages WHERE id IN (:ids[]) ORDER BY id FOR UPDATE SKIP LOCKED"
        free = [number for (number,) in second.rows(sql, ids=ranked)]
    assert set(free) == set(ranked) - set(taken)


def test_what_was_changed_meanwhile_is_not_claimed(database: ConnectionSettings, ranked: list[int]) -> None:
    with transaction(database) as tx:
        tx.change("UPDATE ATLAS_PANDA.panda_messages SET topic = 'taken' WHERE id = :id", id=ranked[0])
    with transaction(database) as tx:
        assert claim(tx, 2) == ranked[1:3]


def test_many_claimers_take_every_row_once(database: ConnectionSettings, ranked: list[int]) -> None:
    taken: list[int] = []
    empty_handed: list[int] = []

    def work() -> None:
        proxy = OraDBProxy(database, OperationSettings())
        try:
            while ids := proxy.call("take_messages", [3]):
                taken.extend(ids)
            empty_handed.append(len(taken))
        finally:
            proxy.close()

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(empty_handed) == 6
    assert sorted(taken) == sorted(ranked)
