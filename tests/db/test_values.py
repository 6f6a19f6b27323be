"""Values come back as they went in, whatever the backend keeps."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from enum import IntEnum
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pandaserver.srvcore.errors import BadRequest
from pandaserver.taskbuffer.connection_settings import ConnectionSettings, Secret
from pandaserver.taskbuffer.states import JobStatus
from pandaserver.taskbuffer.transaction import Transaction
from tests.db.transactions import transaction

TABLE = "ATLAS_PANDA.panda_audit"
MOMENT = datetime(2026, 2, 28, 23, 59, 59, 123456)
BASE = {"actor": "a", "action": "b", "objectType": "c", "objectID": "d", "creationTime": MOMENT}
SELECT_TIME = "SELECT creationTime FROM ATLAS_PANDA.panda_audit"
TIDY = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Level(IntEnum):
    two = 2


def stored(tx: Transaction, column: str, value: Any) -> Any:
    """What a value is after a stay in the database."""
    tx.change(f"DELETE FROM {TABLE}")
    tx.insert(TABLE, [{**BASE, column: value}])
    return tx.value(f"SELECT {column} FROM {TABLE}")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("text", "text"),
        ("", None),
        (None, None),
        ("a'b\"c\\d%e:f%s%(g)s?", "a'b\"c\\d%e:f%s%(g)s?"),
        ("Grüße, 世界 🎉", "Grüße, 世界 🎉"),
        (JobStatus.sent, "sent"),
        (Secret("hush"), "hush"),
        ("2026-01-02 03:04:05.000006", "2026-01-02 03:04:05.000006"),
        ("x" * 100_000, "x" * 100_000),
    ],
)
def test_texts(tx: Transaction, value: Any, expected: Any) -> None:
    found = stored(tx, "details", value)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (MOMENT, MOMENT),
        (MOMENT.replace(microsecond=0), MOMENT.replace(microsecond=0)),
        (MOMENT.replace(tzinfo=UTC), MOMENT),
        (MOMENT.replace(tzinfo=timezone(timedelta(hours=2))), MOMENT - timedelta(hours=2)),
        (datetime(1970, 1, 1), datetime(1970, 1, 1)),
    ],
)
def test_times(tx: Transaction, value: datetime, expected: datetime) -> None:
    assert stored(tx, "creationTime", value) == expected
    assert tx.rows(f"{SELECT_TIME} WHERE creationTime = :t", t=value) == [(expected,)]
    assert tx.value("SELECT MAX(creationTime) FROM ATLAS_PANDA.panda_audit") == expected
    assert (
        tx.value("SELECT x.latest FROM (SELECT MAX(creationTime) AS latest FROM ATLAS_PANDA.panda_audit) x") == expected
    )
    assert tx.value("SELECT COALESCE(creationTime, CURRENT_TIMESTAMP) FROM ATLAS_PANDA.panda_audit") == expected


@pytest.mark.parametrize(
    ("value", "expected"), [(7, 7), (2**62, 2**62), (True, 1), (Level.two, 2), (Decimal("5"), 5), (-1, -1)]
)
def test_numbers(tx: Transaction, value: Any, expected: int) -> None:
    tx.insert("ATLAS_PANDA.panda_leases", [{"component": "c", "owner": "o", "token": value}])
    found = tx.one("SELECT token, SUM(token), COUNT(*) FROM ATLAS_PANDA.panda_leases GROUP BY token")
    assert found == (expected, expected, 1)
    assert found is not None
    assert [type(number) for number in found] == [int, int, int]


def test_fractions_are_floats(tx: Transaction) -> None:
    tx.insert("ATLAS_PANDA.panda_leases", [{"component": str(n), "owner": "o", "token": n} for n in (1, 2)])
    found = tx.one("SELECT AVG(token), MAX(token) * 1.0 / 4 FROM ATLAS_PANDA.panda_leases")
    assert found == (1.5, 0.5)


def test_now_and_spans_agree_with_the_clock(tx: Transaction) -> None:
    now = datetime.now(UTC).replace(tzinfo=None)
    tx.insert(TABLE, [BASE])
    row = tx.one(
        """
        SELECT CURRENT_TIMESTAMP, CURRENT_TIMESTAMP - :n * INTERVAL '1' MINUTE,
            CURRENT_TIMESTAMP + 2 * INTERVAL '1' DAY,
            CURRENT_TIMESTAMP - :half * INTERVAL '1' HOUR, CURRENT_TIMESTAMP + INTERVAL '90' SECOND,
            CURRENT_TIMESTAMP - :negative * INTERVAL '1' SECOND
        FROM ATLAS_PANDA.panda_audit
        """,
        n=90,
        half=0.5,
        negative=-10,
    )
    spans = (0, -90 * 60, 2 * 86400, -1800, 90, 10)
    assert row is not None
    for found, seconds in zip(row, spans, strict=True):
        assert abs(found - now - timedelta(seconds=seconds)) < timedelta(seconds=2)
    assert abs(tx.now() - now) < timedelta(seconds=2)


def test_times_compare_with_now(tx: Transaction) -> None:
    before = (
        "SELECT COUNT(*) FROM ATLAS_PANDA.panda_audit WHERE creationTime < CURRENT_TIMESTAMP - :n * INTERVAL '1' MINUTE"
    )
    tx.insert(TABLE, [{**BASE, "creationTime": tx.now() - timedelta(minutes=m)} for m in (1, 5, 10)])
    assert [tx.value(before, n=n) for n in (0, 2, 7, 20)] == [3, 2, 1, 0]


def test_parts_of_a_time(tx: Transaction) -> None:
    tx.insert(TABLE, [BASE])
    sql = ", ".join(f"EXTRACT({part} FROM creationTime)" for part in ("YEAR", "MONTH", "DAY", "HOUR", "MINUTE"))
    assert tx.one(f"SELECT {sql} FROM ATLAS_PANDA.panda_audit") == (2026, 2, 28, 23, 59)


@pytest.mark.parametrize("literal", ["50%", "%s %(x)s", "it''s", "a\\nb", ":bind :list[]", "-- no /* comment */", "?"])
def test_a_string_in_the_statement_arrives_as_written(tx: Transaction, literal: str) -> None:
    tx.insert(TABLE, [{**BASE, "details": literal.replace("''", "'")}])
    # A comment with 100% of everything: 'quotes', :binds and "names".
    sql = f"SELECT '{literal}' /* 100% 'of' :it */ FROM ATLAS_PANDA.panda_audit WHERE actor LIKE 'a%' -- 5% :x"
    assert tx.value(sql) == literal.replace("''", "'")


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [("a%", True), ("A%", False), ("a\\%", True), ("_\\_", True), ("a\\b", True), ("a_b", True), ("a\\_b", False)],
)
def test_like_compares_case_and_knows_no_escape(tx: Transaction, pattern: str, matches: bool) -> None:
    tx.insert(TABLE, [{**BASE, "actor": "a\\b"}])
    sql = "SELECT COUNT(*) FROM ATLAS_PANDA.panda_audit WHERE actor LIKE :pattern"
    assert tx.value(sql, pattern=pattern) == int(matches)


def test_equality_knows_case(tx: Transaction) -> None:
    tx.insert(TABLE, [BASE])
    assert tx.value("SELECT COUNT(*) FROM ATLAS_PANDA.panda_audit WHERE actor = :a", a="A") == 0


@pytest.mark.parametrize("value", ["nul\0inside", "\ud800 alone", float("nan"), 2**70])
def test_values_that_no_database_takes_are_the_callers_mistake(database: ConnectionSettings, value: Any) -> None:
    table = "ATLAS_PANDA.panda_leases"
    row = {"component": "c", "owner": "o", "token": value} if not isinstance(value, str) else None
    with transaction(database, commit=False) as tx, pytest.raises(BadRequest):
        tx.insert(table, [row or {"component": value, "owner": "o", "token": 1}])


def test_a_type_without_a_meaning_is_refused(tx: Transaction) -> None:
    with pytest.raises(TypeError, match="set cannot be bound"):
        tx.rows("SELECT actor FROM ATLAS_PANDA.panda_audit WHERE actor = :a", a={"x"})


@TIDY
@given(
    text=st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=200),
    time=st.datetimes(datetime(1970, 1, 2), datetime(2037, 1, 1)),
)
def test_any_text_and_any_time(database: ConnectionSettings, text: str, time: datetime) -> None:
    with transaction(database) as tx:
        tx.change(f"DELETE FROM {TABLE}")
        tx.insert(TABLE, [{**BASE, "details": text, "creationTime": time}])
        sql = f"SELECT details, creationTime FROM {TABLE} WHERE creationTime = :time"
        assert tx.one(sql, time=time) == (text or None, time)
