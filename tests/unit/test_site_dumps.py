"""From documents of sites, storage, queues and networks to rows: what is read, left out, and kept."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from pandaserver.brokerage.site_reader import site_from
from pandaserver.srvcore.errors import ExternalError
from pandaserver.taskbuffer.network_dumps import read_closeness, read_metrics
from pandaserver.taskbuffer.site_dumps import (
    read_blacklist,
    read_endpoints,
    read_queue_sites,
    read_queues,
    read_relations,
    read_sites,
    read_space,
    read_tags,
)

SOURCES = Path(__file__).resolve().parents[1] / "data/site_sources"
NOW = datetime(2026, 1, 2, 3, 10)
ACTIVE = {"state": "ACTIVE"}


def source(name: str) -> Any:
    return json.loads((SOURCES / f"{name}.json").read_text())


def test_active_sites_are_read_with_their_role() -> None:
    assert read_sites(source("sites")).rows == {
        ("EXAMPLE-SITE",): {"role": "nucleus", "tier_level": 2, "state": "ACTIVE"},
        ("OTHER-SITE",): {"role": "satellite", "tier_level": 3, "state": "ACTIVE"},
    }


def test_a_list_of_named_entries_is_as_good_as_an_object() -> None:
    listed = [{"name": name, **entry} for name, entry in source("sites").items()]
    assert read_sites(listed).rows == read_sites(source("sites")).rows


def test_endpoints_are_read_with_the_blacklists_that_there_are() -> None:
    write = read_blacklist(source("blacklist"))
    reading = read_endpoints(source("endpoints"), {"blacklisted": write, "blacklisted_write": write})
    assert sorted(key[0] for key in reading.rows) == [
        "EXAMPLE-SITE_DATADISK",
        "EXAMPLE-SITE_TAPE",
        "OTHER-SITE_DATADISK",
    ]
    assert reading.rows[("OTHER-SITE_DATADISK",)] == {
        "site_name": "OTHER-SITE",
        "ddm_spacetoken_name": "EXAMPLEDATADISK",
        "type": "DATADISK",
        "is_tape": "N",
        "blacklisted": "Y",
        "blacklisted_write": "Y",
    }
    assert reading.rows[("EXAMPLE-SITE_TAPE",)]["is_tape"] == "Y"


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"A": {"reason": "full"}, "B": None, "C": False, "D": {}}, {"A", "D"}),
        (["A", "B"], {"A", "B"}),
        ([{"name": "A"}], {"A"}),
    ],
)
def test_a_blacklist_has_several_forms(document: Any, expected: set[str]) -> None:
    assert read_blacklist(document) == expected


def test_space_is_counted_in_gigabytes() -> None:
    assert read_space(source("usage")).rows[("EXAMPLE-SITE_DATADISK",)] == {
        "space_total": 1000,
        "space_free": 900,
        "space_used": 100,
        "space_expired": 0,
        "space_min_free": 5,
        "space_unavailable": None,
        "space_timestamp": datetime(2026, 1, 2, 3, 4, 5),
    }


def test_relations_follow_the_storages_of_a_queue() -> None:
    found = read_relations(source("queues"), read_endpoints(source("endpoints"), {})).rows
    assert found[("EXAMPLE_QUEUE", "EXAMPLE-SITE_DATADISK", "default")] == {
        "is_local": "Y",
        "roles": "read_lan,write_lan",
        "order_read": 1,
        "order_write": 1,
        "default_read": "Y",
        "default_write": "Y",
    }
    assert found[("EXAMPLE_QUEUE", "OTHER-SITE_DATADISK", "default")] == {
        "is_local": "N",
        "roles": "read_lan",
        "order_read": 2,
        "order_write": None,
        "default_read": "N",
        "default_write": "N",
    }
    assert found[("EXAMPLE_QUEUE", "OTHER-SITE_DATADISK", "analysis")]["order_read"] == 1
    assert {key[:2] for key in found} == {
        ("EXAMPLE_QUEUE", "EXAMPLE-SITE_DATADISK"),
        ("EXAMPLE_QUEUE", "OTHER-SITE_DATADISK"),
        ("OTHER_QUEUE", "OTHER-SITE_DATADISK"),
    }


def test_a_queue_with_an_endpoint_that_cannot_be_read_stays_as_it_is() -> None:
    endpoints = {"GOOD": {**ACTIVE, "site": "S"}, "BROKEN": {**ACTIVE}}
    queue = {**ACTIVE, "atlas_site": "S", "astorages": {"read_lan": ["GOOD", "BROKEN"]}}
    other = {**ACTIVE, "atlas_site": "S", "astorages": {"read_lan": ["GOOD"]}}
    reading = read_relations({"Q1": queue, "Q2": other}, read_endpoints(endpoints, {}))
    assert list(reading.rows) == [("Q2", "GOOD", "default")]
    assert reading.kept == {"Q1"}


def test_an_endpoint_that_stands_twice_counts_where_it_stands_first() -> None:
    endpoints = read_endpoints({"A": {**ACTIVE, "site": "S"}, "B": {**ACTIVE, "site": "S"}}, {})
    queue = {**ACTIVE, "atlas_site": "S", "astorages": {"read_lan": ["A", "B", "A"]}}
    found = read_relations({"Q": queue}, endpoints).rows
    assert found[("Q", "A", "default")]["order_read"] == 1
    assert found[("Q", "A", "default")]["roles"] == "read_lan"


def test_active_queues_are_kept_as_they_are_described() -> None:
    reading = read_queues(source("queues"), site_from)
    assert {key: json.loads(row["data"]) for key, row in reading.rows.items()} == {
        (name,): source("queues")[name] for name in ("EXAMPLE_QUEUE", "OTHER_QUEUE")
    }
    assert set(read_queue_sites(source("queues")).rows) == set(reading.rows)


def test_tags_need_no_state() -> None:
    assert set(read_tags(source("tags")).rows) == {("EXAMPLE_QUEUE",), ("OTHER_QUEUE",)}


def test_fresh_measurements_are_read_with_their_time() -> None:
    found = read_metrics(source("metrics"), NOW).rows
    there = ("EXAMPLE-SITE", "OTHER-SITE")
    assert {key[2]: row["value"] for key, row in found.items() if key[:2] == there} == {
        "Production Output_done_1h": 3,
        "Production Output_done_6h": 20,
        "Production Output_queued": 7,
        "dashb_mbps_1h": 10,
        "dashb_mbps_1d": 9,
        "dashb_mbps_1w": 8,
        "latency": 12,
        "packetloss": 0,
    }
    assert found[("OTHER-SITE", "EXAMPLE-SITE", "latency")] == {"value": 12, "ts": datetime(2026, 1, 2, 3, 4, 5)}


def test_nothing_is_read_of_a_dump_that_is_half_an_hour_old() -> None:
    assert read_metrics(source("metrics"), datetime(2026, 1, 2, 3, 34, 5)).rows == {}


def test_closeness_is_read_of_pairs() -> None:
    assert read_closeness(source("closeness")).rows == {
        ("EXAMPLE-SITE", "OTHER-SITE"): {"value": 3},
        ("OTHER-SITE", "EXAMPLE-SITE"): {"value": 4},
    }


@pytest.mark.parametrize(
    ("read", "entry", "problem"),
    [
        (read_sites, {}, "has no state"),
        (read_sites, {"state": None}, "has no state"),
        (read_sites, 5, "is no object"),
        (read_sites, {**ACTIVE, "tier_level": "two"}, "tier_level is 'two', which is no number"),
        (read_sites, {**ACTIVE, "tier_level": True}, "tier_level is True, which is no number"),
        (read_sites, {**ACTIVE, "tier_level": 10**30}, "tier_level is too large"),
        (read_sites, {**ACTIVE, "datapolicies": "Nucleus"}, "datapolicies is no list"),
        (read_space, {}, "has no storage"),
        (read_space, {"storage": {"total": "much"}}, "storage.total is 'much', which is no number"),
        (read_space, {"storage": {"total": 1, "updated_at": "today"}}, "Invalid isoformat string"),
        (read_queue_sites, ACTIVE, "has no atlas_site"),
        (read_queue_sites, {**ACTIVE, "atlas_site": "x" * 53}, "atlas_site is longer than 52 characters"),
        (read_queue_sites, {**ACTIVE, "atlas_site": "a\0b"}, "which is no plain text"),
        (read_queue_sites, {**ACTIVE, "atlas_site": ["S"]}, "which is no plain text"),
        (lambda document: read_queues(document, site_from), {"status": "online"}, "has no state"),
        (lambda document: read_queues(document, site_from), {**ACTIVE, "corecount": "many"}, "corecount is 'many'"),
        (
            lambda document: read_queues(document, site_from),
            {**ACTIVE, "uconfig": {"resource_type_limits": {"SCORE": []}}},
            "int() argument must be",
        ),
        (lambda document: read_endpoints(document, {}), ACTIVE, "has no site"),
        (
            lambda document: read_endpoints(document, {}),
            {**ACTIVE, "site": "S", "is_tape": "maybe"},
            "neither true nor",
        ),
        (lambda document: read_endpoints(document, {}), {**ACTIVE, "site": "S", "type": "T" * 21}, "longer than 20"),
        (lambda document: read_metrics(document, NOW), {"files": 5}, "files is no object"),
        (lambda document: read_metrics(document, NOW), {"latency": 5}, "should tell latency is no object"),
        (lambda document: read_metrics(document, NOW), {"latency": {"latest": 5}}, "None is no time"),
    ],
)
def test_an_entry_that_cannot_be_read_is_told_and_keeps_its_rows(read: Any, entry: Any, problem: str) -> None:
    good: dict[str, Any] = {**ACTIVE, "storage": {}, "site": "S", "atlas_site": "S"}
    reading = read({"GOOD:GOOD": good, "BAD:BAD": entry})
    assert reading.kept == {"BAD:BAD"}
    assert problem in reading.findings[0]


def test_few_of_many_problems_are_told() -> None:
    reading = read_sites({"GOOD": ACTIVE, **{f"S{n}": {} for n in range(1000)}})
    assert reading.findings[0] == "S0: has no state"
    assert reading.findings[-1] == "and 995 more"
    assert len(reading.kept) == 1000


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ({}, "it is empty"),
        ([], "it is empty"),
        (None, "neither an object nor a list, but NoneType"),
        ("ok", "neither an object nor a list, but str"),
        ({"error": "database is down"}, "none of its 1 entries can be read; error: is no object"),
        ([{"name": "A", **ACTIVE}, {"name": "A", **ACTIVE}], "A stands there twice"),
        ([5], "none of its 1 entries can be read"),
    ],
)
def test_a_document_that_tells_nothing_is_refused(document: Any, problem: str) -> None:
    with pytest.raises(ExternalError, match=problem):
        read_sites(document)


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ({"src": "A"}, "it is no list"),
        ([], "it is empty"),
        ([{"src": "A", "dst": "B"}], "none of its 1 entries"),
        ([{"src": "A", "dst": "B", "closeness": 1}] * 2, "the pair A B stands there twice"),
    ],
)
def test_a_matrix_that_tells_nothing_is_refused(document: Any, problem: str) -> None:
    with pytest.raises(ExternalError, match=problem):
        read_closeness(document)


def test_an_entry_of_the_matrix_that_cannot_be_read_keeps_its_source() -> None:
    reading = read_closeness([{"src": "A", "dst": "B", "closeness": 1}, {"src": "C", "dst": "D"}])
    assert list(reading.rows) == [("A", "B")]
    assert reading.kept == {"C"}
