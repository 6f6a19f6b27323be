from __future__ import annotations

import json
from typing import Any

import pytest

from pandaserver.brokerage.broker import Broker, misfit
from pandaserver.brokerage.site_reader import site_from
from pandaserver.brokerage.SiteMapper import SiteMapper
from pandaserver.srvcore.errors import Unavailable
from pandaserver.taskbuffer.SiteSpec import QueueLoad, RelationRow, SiteRows, SiteSpec
from tests.factories import make_job


def rows(**queues: Any) -> SiteRows:
    return SiteRows(queues=tuple((name, json.dumps(data)) for name, data in queues.items()))


class Database:
    def __init__(self, answer: SiteRows) -> None:
        self.answer: SiteRows | Exception = answer
        self.loads = 0

    def load(self) -> SiteRows:
        self.loads += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


DEFAULT = SiteSpec("DEFAULT", type="analysis")


def test_a_queue_is_read_from_its_description() -> None:
    site = site_from(
        "Q",
        {
            "atlas_site": "SITE",
            "status": "online",
            "type": "unified",
            "cloud": "US, DE",
            "corecount": None,
            "corepower": "10.5",
            "maxrss": "4000",
            "catchall": "gpu, maxDiskPerCore=10",
            "dn": "/CN=a|/CN=b",
            "direct_access_lan": True,
            "uconfig": {"resource_type_limits": {"SCORE": 5}},
        },
        nuclei=frozenset({"SITE"}),
    )
    assert (site.site, site.nucleus, site.cloud, site.corecount, site.corepower) == ("SITE", "SITE", "US", 1, 10.5)
    assert (site.maxrss, site.has_flag("gpu"), site.flag_value("maxDiskPerCore")) == (4000, True, "10")
    assert (site.pilot_owners, site.direct_access_lan) == (("/CN=a", "/CN=b"), True)
    assert site.resource_type_limits == {"SCORE": 5}


@pytest.mark.parametrize(
    ("data", "scratch"),
    [({}, 16336), ({"maxinputsize": 1000}, 3000), ({"maxwdir": "x"}, 16336), ({"maxwdir": 5}, 5)],
)
def test_scratch_space_is_never_unknown(data: dict[str, Any], scratch: int) -> None:
    assert site_from("Q", data).maxwdir == scratch


def test_endpoints_are_sorted_by_preference_and_blacklists_count() -> None:
    relations = [
        RelationRow("Q", "TAPE", "default", "read_lan", "TOKEN", order_read=2, is_tape=True),
        RelationRow("Q", "DISK", "default", "read_lan,write_lan", "TOKEN", order_read=1, order_write=1),
        RelationRow("Q", "FIRST", "default", "read_lan", None, order_read=3, default_read=True),
        RelationRow("Q", "BAD", "default", "read_lan", None, blacklisted_read=True),
        RelationRow("Q", "OWN", "analysis", "write_lan", None),
    ]
    site = site_from("Q", {}, relations=relations)
    found = site.endpoints("input", analysis=True)
    assert (found.names, found.by_token, found.tapes) == (("FIRST", "DISK", "TAPE"), {"TOKEN": "DISK"}, {"TAPE"})
    assert site.endpoints("output", analysis=True).default == "OWN"
    assert site.endpoints("output").default == "DISK"


@pytest.mark.parametrize(
    ("kind", "label", "runs", "job_label"),
    [
        ("analysis", "user", True, "user"),
        ("analysis", "managed", False, "user"),
        ("production", "managed", True, "managed"),
        ("production", "panda", False, "managed"),
        ("production", "ptest", True, "managed"),
        ("unified", "user", True, "user"),
        ("unified", "managed", True, "managed"),
    ],
)
def test_types_of_queues_and_labels_of_jobs(kind: str, label: str, runs: bool, job_label: str) -> None:
    site = SiteSpec("Q", type=kind)
    assert (site.runs_label(label), site.job_label(label)) == (runs, job_label)


def test_unknown_queues_are_the_default_under_their_own_name() -> None:
    mapper = SiteMapper(Database(rows(Q={"status": "online"})).load, DEFAULT)
    assert (mapper.check("Q"), mapper.check("X"), mapper.check(None)) == (True, False, False)
    unknown = mapper.get("X")
    assert (unknown.sitename, unknown.type) == ("X", "analysis")


def test_a_nucleus_stands_for_one_of_its_queues() -> None:
    found = SiteRows(queues=(("Q", "{}"),), owners={"Q": "SITE"}, nuclei=frozenset({"SITE"}))
    mapper = SiteMapper(Database(found).load, DEFAULT)
    assert mapper.get("nucleus:SITE").sitename == "Q"
    assert not mapper.check("nucleus:OTHER")


def test_a_bad_row_costs_the_others_nothing(caplog: pytest.LogCaptureFixture) -> None:
    found = SiteRows(queues=(("GOOD", "{}"), ("BAD", "{"), ("WORSE", "[]"), ("NUMBER", '{"maxrss": "x"}')))
    assert list(SiteMapper(Database(found).load, DEFAULT).sites) == ["GOOD"]
    assert "queue NUMBER: maxrss is 'x', which is not a number" in caplog.text


@pytest.mark.parametrize(
    "data",
    [
        {"maxrss": 1e400},
        {"maxrss": "inf"},
        {"corecount": "nan"},
        {"corepower": 10**400},
        {"uconfig": {"resource_type_limits": [1]}},
        {"uconfig": {"resource_type_limits": {"SCORE": None}}},
        {"uconfig": {"resource_type_limits": {"SCORE": 1e400}}},
    ],
)
def test_no_value_of_a_queue_can_stop_the_others(data: dict[str, Any]) -> None:
    found = SiteRows(queues=(("GOOD", "{}"), ("ODD", json.dumps(data))))
    assert list(SiteMapper(Database(found).load, DEFAULT).sites) == ["GOOD"]


def test_queues_are_loaded_once_and_looked_for_again_before_a_no(monkeypatch: pytest.MonkeyPatch) -> None:
    from pandaserver.brokerage import SiteMapper as module

    database = Database(rows(Q={}))
    mapper = SiteMapper(database.load, DEFAULT)
    assert mapper.check("Q")
    database.answer = rows(Q={}, NEW={})
    assert not mapper.check_afresh("NEW")  # what was loaded a moment ago is fresh enough
    monkeypatch.setattr(module, "FRESH", 0.0)
    assert mapper.check_afresh("NEW")
    assert database.loads == 2


def test_a_database_that_is_down_costs_nobody_the_old_queues(monkeypatch: pytest.MonkeyPatch) -> None:
    from pandaserver.brokerage import SiteMapper as module

    database = Database(rows(Q={}))
    mapper = SiteMapper(database.load, DEFAULT)
    assert mapper.check("Q")
    database.answer = Unavailable("down")
    monkeypatch.setattr(module, "FRESH", 0.0)
    assert not mapper.check_afresh("NEW")
    assert mapper.check("Q")


@pytest.mark.parametrize(
    ("site", "job", "reason"),
    [
        ({}, {}, None),
        ({"status": "brokeroff"}, {}, "brokeroff"),
        ({"type": "production"}, {}, "type production, label user"),
        ({}, {"coreCount": 8}, "cores 1 < 8"),
        ({"memory": 500}, {}, "memory 500 < 1000 MB"),
        ({"minrss": 4000}, {}, "memory 1000 < minimum 4000 MB"),
        ({"maxwdir": 50}, {}, "disk 50 < 100 MB"),
        ({"maxtime": 60}, {"maxWalltime": 61}, "time 60 < 61 s"),
        ({"mintime": 60}, {"maxCpuCount": 59}, "time 59 < minimum 60 s"),
    ],
)
def test_what_keeps_a_job_from_a_queue(site: dict[str, Any], job: dict[str, Any], reason: str | None) -> None:
    assert misfit(make_job(**job), SiteSpec("Q", **{"type": "unified", **site})) == reason


def test_of_equally_short_queues_the_busier_one_is_chosen() -> None:
    sites = [SiteSpec(name, type="unified") for name in ("A", "B", "C")]
    broker = Broker(sites, {"A": QueueLoad(1, 0), "B": QueueLoad(0, 1), "C": QueueLoad(0, 9)})
    chosen = [choice.site.sitename for choice in (broker.choose(make_job()) for _ in range(4)) if choice.site]
    assert chosen == ["C", "B", "C", "B"]


def test_the_reasons_fit_their_column() -> None:
    sites = [SiteSpec(f"A_QUITE_LONG_QUEUE_NAME_{n}", status="offline") for n in range(100)]
    assert Broker(sites, {}).choose(make_job()).reason == "no queue fits: 100 queues: offline"
    varied = [SiteSpec(f"Q{n}", type="unified", memory=n + 1) for n in range(100)]
    reason = Broker(varied, {}).choose(make_job()).reason
    assert len(reason) == 250
    assert reason.endswith("...")


def test_without_queues_that_is_the_reason() -> None:
    assert Broker([], {}).choose(make_job()).reason == "there is no queue"
