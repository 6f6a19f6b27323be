"""Whatever a source says: it is read, or refused by the one error that means that; nothing else happens."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pandaserver.brokerage.site_reader import read_sites as read_stored_queues
from pandaserver.brokerage.site_reader import site_from
from pandaserver.srvcore.errors import ExternalError
from pandaserver.srvcore.json_source import parse_json
from pandaserver.taskbuffer import network_dumps, site_dumps
from pandaserver.taskbuffer.provisioning import streamed_queue
from pandaserver.taskbuffer.site_rows import Reading
from pandaserver.taskbuffer.SiteSpec import SiteRows

NOW = datetime(2026, 1, 2, 3, 10)
TEXTS = st.sampled_from(
    ["", "ACTIVE", "A", "A:B", "Q", "2026-01-02T03:04:05", "1", "-1", "x" * 60, "a\0b", "\ud800", "inf"]
)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
KEYS = st.sampled_from(
    """
    name state site atlas_site astorages read_lan write_lan read_lan_ read_lan_analysis tier_level datapolicies type
    token is_tape storage total free used updated_at expired files done queued mbps latency packetloss timestamp latest
    1h src dst closeness A B A:B Q corecount maxrss uconfig resource_type_limits params ups_core_target capability
    workflow
    """.split()
)
JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=6), max_leaves=30
)
ENTRY = st.dictionaries(KEYS, JSON, max_size=6).map(
    lambda entry: {"state": "ACTIVE", "site": "S", "atlas_site": "S", **entry}
)
DOCUMENT = JSON | st.dictionaries(KEYS, ENTRY, max_size=4) | st.lists(ENTRY, max_size=4)

READERS: dict[str, Callable[[Any], Reading]] = {
    "sites": site_dumps.read_sites,
    "endpoints": lambda document: site_dumps.read_endpoints(document, {"blacklisted": frozenset("A")}),
    "space": site_dumps.read_space,
    "queue_sites": site_dumps.read_queue_sites,
    "relations": lambda document: site_dumps.read_relations(document, site_dumps.read_endpoints(document, {})),
    "queues": lambda document: site_dumps.read_queues(document, site_from),
    "tags": site_dumps.read_tags,
    "metrics": lambda document: network_dumps.read_metrics(document, NOW),
    "closeness": network_dumps.read_closeness,
}


def read(kind: str, document: Any) -> Reading | None:
    """What is read of a document, None if it is refused."""
    try:
        return READERS[kind](document)
    except ExternalError:
        return None


@pytest.mark.parametrize("kind", READERS)
@given(document=DOCUMENT)
def test_any_document_is_read_or_refused(kind: str, document: Any) -> None:
    reading = read(kind, document)
    if reading is not None:
        names = [part for key in reading.rows for part in key]
        assert all(isinstance(name, str) for name in names)
        assert not {key[0] for key in reading.rows} & reading.kept or kind in ("closeness", "metrics")
        assert all(-(2**63) <= v < 2**63 for row in reading.rows.values() for v in row.values() if isinstance(v, int))


@given(document=DOCUMENT)
def test_any_blacklist_is_read_or_refused(document: Any) -> None:
    with suppress(ExternalError):
        assert all(isinstance(name, str) for name in site_dumps.read_blacklist(document))


@given(document=st.dictionaries(KEYS, ENTRY, min_size=1, max_size=4))
def test_every_stored_queue_can_be_read_back(document: Any) -> None:
    reading = read("queues", document)
    if reading is not None:
        stored = tuple((key[0], row["data"]) for key, row in reading.rows.items())
        sites, findings = read_stored_queues(SiteRows(queues=stored))
        assert (len(sites), findings) == (len(stored), [])


@given(data=ENTRY)
def test_any_queue_is_streamed_or_named(data: dict[str, Any]) -> None:
    with suppress(ValueError):
        assert streamed_queue("Q", {**data, "capability": "ucore", "workflow": "pull_ups"}) is not None


@given(data=st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_text_is_parsed_or_refused(data: bytes) -> None:
    try:
        value = parse_json(data)
    except (ValueError, RecursionError):
        return
    json.dumps(value, allow_nan=False)
