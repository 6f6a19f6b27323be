"""Which share deserves the next job."""

from __future__ import annotations

from typing import Any

import pytest

from pandaserver.taskbuffer.share_order import by_need
from pandaserver.taskbuffer.sharing import share_tree


def tree(*shares: tuple[str, int, str | None]) -> Any:
    columns = ("prodSourceLabel", "workingGroup", "processingType", "rtype")
    return share_tree(
        {**dict.fromkeys(columns), "name": name, "value": value, "parent": parent, "queue_ID": n}
        for n, (name, value, parent) in enumerate(shares)
    )


THREE = (("a", 50, None), ("b", 30, None), ("c", 20, None))


@pytest.mark.parametrize(
    ("executing", "order"),
    [
        ({}, ["a", "b", "c"]),
        ({"a": 50, "b": 30, "c": 20}, ["a", "b", "c"]),
        ({"a": 60, "b": 30, "c": 10}, ["c", "b", "a"]),
        ({"a": 10, "b": 80, "c": 10}, ["a", "c", "b"]),
        ({"unheard": 1000}, ["a", "b", "c"]),
    ],
)
def test_the_share_that_is_furthest_below_its_pledge_comes_first(executing: dict[str, float], order: list[str]) -> None:
    assert by_need(tree(*THREE), executing) == order


def test_a_branch_is_compared_before_its_leaves() -> None:
    shares = tree(("x", 50, None), ("y", 50, None), ("x1", 50, "x"), ("x2", 50, "x"), ("y1", 100, "y"))
    assert by_need(shares, {"x1": 10, "x2": 0, "y1": 90}) == ["x2", "x1", "y1"]
    assert by_need(shares, {"x1": 90, "x2": 0, "y1": 10}) == ["y1", "x2", "x1"]


def test_tests_come_first_and_shares_without_pledge_last() -> None:
    shares = tree(("none", 0, None), ("a", 99, None), ("Test", 1, None))
    assert by_need(shares, {"a": 1, "Test": 100}) == ["Test", "a", "none"]
