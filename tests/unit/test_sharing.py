from __future__ import annotations

from typing import Any

import pytest

from pandaserver.taskbuffer.sharing import resource_type_of, resource_types, share_of, share_tree


def share(name: str, value: int, parent: str | None = None, place: int | None = None, **rules: str) -> dict[str, Any]:
    return {"name": name, "value": value, "parent": parent, "queue_ID": place, **rules}


TREE = share_tree(
    [
        share("Production", 60, place=1),
        share("MC", 30, "Production", prodSourceLabel="managed", workingGroup="AP_.*"),
        share("Data", 10, "Production", prodSourceLabel="managed"),
        share("User", 20, place=2, prodSourceLabel="user|panda", rtype="gpu"),
        share("Rest", 20, place=3, processingType="(broken"),
    ]
)


def test_percents_are_those_of_the_whole() -> None:
    assert {leaf.name: leaf.percent for leaf in TREE.leaves()} == {"Data": 15.0, "MC": 45.0, "User": 20.0, "Rest": 20.0}


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"prodSourceLabel": "managed", "workingGroup": "AP_HIGG"}, "Data"),
        ({"prodSourceLabel": "panda", "rtype": "gpu"}, "User"),
        ({"prodSourceLabel": "user", "rtype": "cpu"}, "Undefined"),
        ({"prodSourceLabel": None}, "Undefined"),
    ],
)
def test_the_first_leaf_that_matches_from_the_start_gets_the_job(facts: dict[str, str | None], expected: str) -> None:
    assert share_of(TREE, facts) == expected


def test_a_place_puts_a_sibling_before_others() -> None:
    tree = share_tree([share("A", 1), share("B", 1, place=1)])
    assert share_of(tree, {}) == "B"


def test_event_service_merges_are_express() -> None:
    assert share_of(TREE, {}, event_service=2) == "Express"


def test_a_tree_without_rows_tags_nothing() -> None:
    assert share_of(share_tree([]), {}) == "Undefined"


def test_a_cycle_and_a_lost_parent_end_nothing() -> None:
    tree = share_tree([share("A", 1, "B"), share("B", 1, "A"), share("C", 1, "gone"), share("D", 0)])
    assert [(leaf.name, leaf.percent) for leaf in tree.leaves()] == [("D", 0.0)]


def rtype(name: str, *bounds: int | None) -> dict[str, Any]:
    return dict(
        zip(("resource_name", "mincore", "maxcore", "minrampercore", "maxrampercore"), (name, *bounds), strict=True)
    )


TYPES = resource_types(
    [
        rtype("Undefined", None, None, None, None),
        rtype("SCORE", 1, 1, None, 2000),
        rtype("SCORE_HIMEM", 1, 1, 2001, None),
        rtype("MCORE", 2, None, None, 2000),
        rtype("MCORE_HIMEM", 2, None, 2001, None),
    ]
)


@pytest.mark.parametrize(
    ("cores", "ram", "expected"),
    [
        (1, 2000, "SCORE"),
        (1, 2001, "SCORE_HIMEM"),
        (None, None, "SCORE"),
        (8, 16000, "MCORE"),
        (8, 16007, "MCORE"),
        (8, 16008, "MCORE_HIMEM"),
        (0, 16000, "MCORE"),
    ],
)
def test_resource_types_of_jobs(cores: int | None, ram: int | None, expected: str) -> None:
    assert resource_type_of(TYPES, cores, ram) == expected


def test_a_job_outside_all_bounds_is_undefined() -> None:
    assert resource_type_of(resource_types([rtype("MCORE", 2, None, None, None)]), 1, 1) == "Undefined"
