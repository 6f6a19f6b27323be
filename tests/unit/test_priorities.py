from __future__ import annotations

from datetime import date

import pytest

from pandaserver.taskbuffer.priorities import Boost, Terms, boost_for, boosts_from, current_priority, offset_at
from tests.factories import make_job

TODAY = date(2026, 1, 15)


@pytest.mark.parametrize(
    ("attributes", "terms", "position", "expected"),
    [
        ({"prodSourceLabel": "managed", "assignedPriority": 800}, Terms(), 0, 800),
        ({"prodSourceLabel": "ptest", "assignedPriority": None}, Terms(), 0, 0),
        ({"prodSourceLabel": "install"}, Terms(), 0, 4100),
        ({"prodSourceLabel": "panda"}, Terms(offset=50), 7, 2050),
        ({"prodSourceLabel": "panda", "specialHandling": "express"}, Terms(), 0, 6500),
        ({"specialHandling": "express"}, Terms(), 0, 6000),
        ({}, Terms(), 0, 1000),
        ({}, Terms(serial=100), 10, 978),
        ({}, Terms(offset=2000, serial=1000), 0, 2800),
        ({"assignedPriority": 1500}, Terms(serial=9), 0, 1500),
        ({"specialHandling": "sj", "assignedPriority": 10}, Terms(serial=9), 0, 10),
        ({"processingType": "pmerge", "assignedPriority": 5000}, Terms(serial=9), 0, 5000),
        ({"processingType": "pmerge", "assignedPriority": 0}, Terms(serial=10), 0, 998),
        ({}, Terms(offset=3000, reduced=False, serial=100), 9, 3000),
        ({"specialHandling": "sj"}, Terms(offset=3000, reduced=False), 0, 3001),
    ],
)
def test_where_a_job_starts(attributes: dict[str, object], terms: Terms, position: int, expected: int) -> None:
    assert current_priority(make_job(**attributes), terms, position, is_test_user=False) == expected


def test_test_users_come_first() -> None:
    assert current_priority(make_job(specialHandling="express"), Terms(), 0, is_test_user=True) == 7000


def test_boosts_are_read_item_by_item() -> None:
    junk = "x:user:many:, y:user:5:2026, z:robot:5:"
    text = f"Jane Doe:user:3000:20260131, higgs:group:2500:, {junk}, Eve:user:1:expire20250101"
    assert boosts_from(text) == (
        Boost("Jane Doe", "user", 3000, date(2026, 1, 31)),
        Boost("higgs", "group", 2500),
        Boost("Eve", "user", 1, date(2025, 1, 1)),
    )


def test_the_highest_boost_that_has_not_expired_counts() -> None:
    boosts = boosts_from("Jane:user:1:20250101,Jane:user:2:20260115,higgs:group:3:")
    assert boost_for(boosts, "Jane", None, TODAY) == boosts[1]
    assert boost_for(boosts, "Jane", "higgs", TODAY) == boosts[2]
    assert boost_for(boosts, "Joe", None, TODAY) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, 0),
        ("higgs:100,top:300", 100),
        ("/vo/higgs:200,higgs:100", 200),
        ("hig:100", 0),
        ("higgs:much,higgs", 0),
    ],
)
def test_a_queue_can_prefer_groups(text: str | None, expected: int) -> None:
    assert offset_at(text, ["/vo/higgs/Role=production"]) == expected
