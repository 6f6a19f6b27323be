"""The daemon script configurator, from documents to tables."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pandacommon.pandalogger.LogWrapper import LogWrapper
from pandaserver.brokerage.SiteMapper import SiteMapper
from pandaserver.daemons.scripts.configurator import Sources, plan_of, store
from pandaserver.srvcore.json_source import Access
from pandaserver.taskbuffer.SiteSpec import SiteSpec
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from tests.db.crowd import insert, query

SOURCES = Path(__file__).resolve().parents[1] / "data/site_sources"
BAD = sorted(path.name for path in (SOURCES / "bad").iterdir())
FILES = {
    "CRIC_URL_SITES": "sites.json",
    "CRIC_URL_DDMENDPOINTS": "endpoints.json",
    "CRIC_URL_DDMBLACKLIST": "blacklist.json",
    "CRIC_URL_DDMBLACKLIST_READ": "blacklist_read.json",
    "RUCIO_RSE_USAGE": "usage.json",
    "CRIC_URL_SCHEDCONFIG": "queues.json",
    "CRIC_URL_TAGS": "tags.json",
    "CRIC_URL_CM": "closeness.json",
    "NWS_URL": "metrics.json",
}
MODES = ("sites", "json_dump", "sw_tags", "network")
TABLES = {
    "ATLAS_PANDA.Site": "SELECT site_name, role, tier_level, state FROM ATLAS_PANDA.Site ORDER BY site_name",
    "ATLAS_PANDA.DDM_Endpoint": """
        SELECT ddm_endpoint_name, site_name, is_tape, blacklisted, blacklisted_read, blacklisted_write, space_total,
               space_free, space_timestamp
        FROM ATLAS_PANDA.DDM_Endpoint ORDER BY ddm_endpoint_name
    """,
    "ATLAS_PANDA.Panda_Site": """
        SELECT panda_site_name, site_name, is_local FROM ATLAS_PANDA.Panda_Site ORDER BY panda_site_name
    """,
    "ATLAS_PANDA.Panda_DDM_Relation": """
        SELECT panda_site_name, ddm_endpoint_name, scope, roles, order_read
        FROM ATLAS_PANDA.Panda_DDM_Relation ORDER BY panda_site_name, ddm_endpoint_name, scope
    """,
    "ATLAS_PANDA.schedconfig_json": """
        SELECT panda_queue, data, last_update FROM ATLAS_PANDA.schedconfig_json ORDER BY panda_queue
    """,
    "ATLAS_PANDA.SW_Tags": "SELECT panda_queue, data, last_update FROM ATLAS_PANDA.SW_Tags ORDER BY panda_queue",
    "ATLAS_PANDA.Network_Matrix_KV": """
        SELECT src, dst, key, value, ts FROM ATLAS_PANDA.Network_Matrix_KV ORDER BY src, dst, key
    """,
}

#: What is a fault elsewhere is as good as any entry where nothing is read of it but its name.
USABLE = {
    (source, "missing_keys.json")
    for source in ("CRIC_URL_DDMBLACKLIST", "CRIC_URL_DDMBLACKLIST_READ", "CRIC_URL_TAGS", "NWS_URL")
}

Snapshot = dict[str, list[tuple[Any, ...]]]


def snapshot(tbuf: TaskBuffer) -> Snapshot:
    return {table: query(tbuf, sql) for table, sql in TABLES.items()}


class Configurator:
    """Runs the script with files of its own that a test can change."""

    def __init__(self, tbuf: TaskBuffer, directory: Path) -> None:
        self.tbuf = tbuf
        self.directory = directory
        self.places = {name: str(directory / file) for name, file in FILES.items()}
        for file in FILES.values():
            text = (SOURCES / file).read_text()
            if file == "metrics.json":  # as if measured just now
                text = text.replace("2026-01-02T03:04:05", f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}")
                text = text.replace("2026-01-02T04:04:05+01:00", f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}Z")
            (directory / file).write_text(text)

    def run(self, mode: str = "sites", force: bool = False) -> list[str]:
        """Run it once; the kinds that stayed as they were because of a bad source."""
        plan = plan_of(mode, Sources(self.places, Access(), seconds=10))
        return store(LogWrapper(logging.getLogger("configurator-test"), mode), self.tbuf, plan, force=force)

    def change(self, source: str, change: Callable[[Any], object]) -> None:
        """Rewrite a source."""
        path = Path(self.places[source])
        document = json.loads(path.read_text())
        change(document)
        path.write_text(json.dumps(document))

    def replace(self, source: str, document: Any) -> None:
        Path(self.places[source]).write_text(json.dumps(document))


@pytest.fixture
def configurator(tbuf: TaskBuffer, tmp_path: Path) -> Configurator:
    return Configurator(tbuf, tmp_path)


def queues_of(tbuf: TaskBuffer) -> Mapping[str, Any]:
    return tbuf.loadQueueData()


def test_everything_is_stored_and_a_second_run_changes_nothing(configurator: Configurator) -> None:
    assert [configurator.run(mode) for mode in MODES] == [[], [], [], []]
    first = snapshot(configurator.tbuf)
    assert {table: len(rows) for table, rows in first.items()} == {
        "ATLAS_PANDA.Site": 2,
        "ATLAS_PANDA.DDM_Endpoint": 3,
        "ATLAS_PANDA.Panda_Site": 2,
        "ATLAS_PANDA.Panda_DDM_Relation": 4,
        "ATLAS_PANDA.schedconfig_json": 2,
        "ATLAS_PANDA.SW_Tags": 2,
        "ATLAS_PANDA.Network_Matrix_KV": 11,
    }
    disk = ("EXAMPLE-SITE_DATADISK", "EXAMPLE-SITE", "N", "N", "N", "N", 1000, 900, datetime(2026, 1, 2, 3, 4, 5))
    tape = ("EXAMPLE-SITE_TAPE", "EXAMPLE-SITE", "Y", "N", "Y", "N", None, None, None)
    assert first["ATLAS_PANDA.DDM_Endpoint"][:2] == [disk, tape]
    assert [configurator.run(mode) for mode in MODES] == [[], [], [], []]
    assert snapshot(configurator.tbuf) == first


def test_a_second_run_writes_no_row(configurator: Configurator, caplog: pytest.LogCaptureFixture) -> None:
    for mode in MODES:
        configurator.run(mode)
    with caplog.at_level(logging.INFO, "configurator-test"):
        for mode in MODES:
            configurator.run(mode)
    stored = [record.getMessage() for record in caplog.records if "stored" in record.getMessage()]
    assert len(stored) == 9
    assert all("added=0 changed=0 deleted=0" in line for line in stored)


def test_pilots_get_what_is_stored_of_endpoints(configurator: Configurator) -> None:
    configurator.run("sites")
    endpoints = configurator.tbuf.loadEndpoints()
    assert sorted(endpoints) == ["EXAMPLE-SITE_DATADISK", "EXAMPLE-SITE_TAPE", "OTHER-SITE_DATADISK"]
    assert endpoints["EXAMPLE-SITE_TAPE"] == {
        "name": "EXAMPLE-SITE_TAPE",
        "site": "EXAMPLE-SITE",
        "state": "ACTIVE",
        "token": "EXAMPLEDATATAPE",
        "type": "DATATAPE",
        "is_tape": True,
    }


def test_the_site_mapper_understands_what_is_stored(configurator: Configurator) -> None:
    configurator.run("sites")
    configurator.run("json_dump")
    site = SiteMapper(configurator.tbuf.loadSites, SiteSpec("none")).get("EXAMPLE_QUEUE")
    assert (site.site, site.nucleus, site.corecount) == ("EXAMPLE-SITE", "EXAMPLE-SITE", 8)
    assert site.endpoints("input").names == ("EXAMPLE-SITE_DATADISK", "OTHER-SITE_DATADISK")
    assert site.endpoints("input", analysis=True).names == ("OTHER-SITE_DATADISK",)
    assert site.endpoints("output").default == "EXAMPLE-SITE_DATADISK"


def test_what_vanishes_from_a_source_is_deleted(configurator: Configurator) -> None:
    for mode in MODES:
        configurator.run(mode)
    configurator.change("CRIC_URL_SCHEDCONFIG", lambda queues: queues.pop("OTHER_QUEUE"))
    configurator.change("CRIC_URL_SITES", lambda sites: sites["OTHER-SITE"].update(state="DISABLED"))
    configurator.change("CRIC_URL_TAGS", lambda tags: tags.pop("OTHER_QUEUE"))
    configurator.change("CRIC_URL_CM", lambda matrix: matrix.pop())
    assert [configurator.run(mode) for mode in MODES] == [[], [], [], []]
    assert list(queues_of(configurator.tbuf)) == ["EXAMPLE_QUEUE"]
    found = snapshot(configurator.tbuf)
    assert [row[0] for row in found["ATLAS_PANDA.Site"]] == ["EXAMPLE-SITE"]
    assert [row[0] for row in found["ATLAS_PANDA.Panda_Site"]] == ["EXAMPLE_QUEUE"]
    assert {row[0] for row in found["ATLAS_PANDA.Panda_DDM_Relation"]} == {"EXAMPLE_QUEUE"}
    assert [row[0] for row in found["ATLAS_PANDA.SW_Tags"]] == ["EXAMPLE_QUEUE"]
    assert [row[0] for row in found["ATLAS_PANDA.Network_Matrix_KV"] if row[2] == "closeness"] == ["EXAMPLE-SITE"]


def test_what_changes_in_a_source_is_changed(configurator: Configurator) -> None:
    for mode in MODES:
        configurator.run(mode)
    before = snapshot(configurator.tbuf)
    configurator.change("CRIC_URL_SCHEDCONFIG", lambda queues: queues["OTHER_QUEUE"].update(status="online"))
    configurator.change("CRIC_URL_DDMBLACKLIST", lambda listed: listed.update({"OTHER-SITE_DATADISK": None}))
    configurator.change("RUCIO_RSE_USAGE", lambda usage: usage["EXAMPLE-SITE_DATADISK"]["storage"].update(free=10**12))
    configurator.run("sites")
    configurator.run("json_dump")
    after = snapshot(configurator.tbuf)
    assert queues_of(configurator.tbuf)["OTHER_QUEUE"]["status"] == "online"
    assert after["ATLAS_PANDA.schedconfig_json"][0] == before["ATLAS_PANDA.schedconfig_json"][0]
    assert after["ATLAS_PANDA.schedconfig_json"][1][2] > before["ATLAS_PANDA.schedconfig_json"][1][2]
    assert [row[5] for row in after["ATLAS_PANDA.DDM_Endpoint"]] == ["N", "N", "N"]
    assert after["ATLAS_PANDA.DDM_Endpoint"][0][7] == 1000


@pytest.mark.parametrize("source", FILES)
def test_a_bad_source_changes_nothing(configurator: Configurator, source: str) -> None:
    for mode in MODES:
        configurator.run(mode)
    first = snapshot(configurator.tbuf)
    for name in BAD:
        if (source, name) in USABLE:
            continue
        Path(configurator.places[source]).write_bytes((SOURCES / "bad" / name).read_bytes())
        assert any([configurator.run(mode) for mode in MODES]), name
        assert snapshot(configurator.tbuf) == first, name


def test_a_source_that_is_away_changes_nothing_and_the_others_go_on(configurator: Configurator) -> None:
    configurator.run("sites")
    Path(configurator.places["CRIC_URL_DDMENDPOINTS"]).unlink()
    configurator.change("CRIC_URL_SITES", lambda sites: sites.pop("OTHER-SITE"))
    before = snapshot(configurator.tbuf)
    assert configurator.run("sites") == ["endpoints", "relations"]
    after = snapshot(configurator.tbuf)
    assert [row[0] for row in after.pop("ATLAS_PANDA.Site")] == ["EXAMPLE-SITE"]
    before.pop("ATLAS_PANDA.Site")
    assert after == before


def test_a_bad_blacklist_sets_nothing_free(configurator: Configurator) -> None:
    configurator.run("sites")
    Path(configurator.places["CRIC_URL_DDMBLACKLIST_READ"]).write_text('["EXAMPLE')
    configurator.change("CRIC_URL_DDMBLACKLIST", lambda listed: listed.update({"OTHER-SITE_DATADISK": None}))
    assert configurator.run("sites") == ["endpoints"]
    assert [row[5] for row in snapshot(configurator.tbuf)["ATLAS_PANDA.DDM_Endpoint"]] == ["N", "N", "Y"]


def test_an_entry_that_cannot_be_read_keeps_its_row(configurator: Configurator) -> None:
    configurator.run("json_dump")
    before = queues_of(configurator.tbuf)
    configurator.change("CRIC_URL_SCHEDCONFIG", lambda queues: queues["OTHER_QUEUE"].pop("state"))
    assert configurator.run("json_dump") == []
    assert queues_of(configurator.tbuf) == before


def test_sources_that_are_not_set_leave_their_tables_alone(configurator: Configurator) -> None:
    for mode in MODES:
        configurator.run(mode)
    first = snapshot(configurator.tbuf)
    configurator.places = {}
    assert [configurator.run(mode) for mode in MODES] == [[], [], [], []]
    assert snapshot(configurator.tbuf) == first


def test_blacklists_that_are_not_set_leave_their_columns_alone(configurator: Configurator) -> None:
    configurator.run("sites")
    del configurator.places["CRIC_URL_DDMBLACKLIST"], configurator.places["CRIC_URL_DDMBLACKLIST_READ"]
    before = snapshot(configurator.tbuf)
    configurator.change("CRIC_URL_DDMENDPOINTS", lambda found: found["OTHER-SITE_DATADISK"].update(token="NEW"))
    assert configurator.run("sites") == []
    assert snapshot(configurator.tbuf) == before


def test_tags_need_no_source_of_queues(configurator: Configurator) -> None:
    configurator.places = {"CRIC_URL_TAGS": configurator.places["CRIC_URL_TAGS"]}
    assert configurator.run("sw_tags") == []
    assert len(snapshot(configurator.tbuf)["ATLAS_PANDA.SW_Tags"]) == 2


def test_columns_that_no_source_knows_stay(configurator: Configurator) -> None:
    insert(
        configurator.tbuf,
        "PANDA.Panda_Site",
        {"panda_site_name": "EXAMPLE_QUEUE", "site_name": "FORMER-SITE", "is_local": "Y"},
    )
    configurator.run("sites")
    assert snapshot(configurator.tbuf)["ATLAS_PANDA.Panda_Site"][0] == ("EXAMPLE_QUEUE", "EXAMPLE-SITE", "Y")


def test_most_of_a_table_vanishes_only_if_somebody_says_so(configurator: Configurator) -> None:
    many = {f"Q{n:05}": {"state": "ACTIVE", "status": "online", "comment": "x" * 2000} for n in range(3000)}
    configurator.replace("CRIC_URL_SCHEDCONFIG", many)
    assert configurator.run("json_dump") == []
    assert len(queues_of(configurator.tbuf)) == 3000
    configurator.replace("CRIC_URL_SCHEDCONFIG", dict(list(many.items())[:1499]))
    assert configurator.run("json_dump") == ["queues"]
    assert len(queues_of(configurator.tbuf)) == 3000
    assert configurator.run("json_dump", force=True) == []
    assert len(queues_of(configurator.tbuf)) == 1499


def test_queues_that_others_wrote_with_other_spaces_are_not_written_again(configurator: Configurator) -> None:
    document = json.loads((SOURCES / "queues.json").read_text())["OTHER_QUEUE"]
    old = datetime(2026, 1, 1)
    insert(
        configurator.tbuf,
        "PANDA.schedconfig_json",
        {"panda_queue": "OTHER_QUEUE", "data": json.dumps(document, indent=4), "last_update": old},
        {"panda_queue": "EXAMPLE_QUEUE", "data": "{not JSON", "last_update": old},
    )
    configurator.run("json_dump")
    queues = {row[0]: row[2] for row in snapshot(configurator.tbuf)["ATLAS_PANDA.schedconfig_json"]}
    assert (queues["OTHER_QUEUE"], queues["EXAMPLE_QUEUE"] > old) == (old, True)


def test_measurements_that_nobody_repeats_are_removed_after_a_day(configurator: Configurator) -> None:
    now = datetime.now(UTC).replace(tzinfo=None)
    rows = [
        {"src": "A", "dst": "B", "key": key, "value": 1, "ts": now - timedelta(hours=hours)}
        for key, hours in (("latency", 23), ("packetloss", 25), ("x_mbps_1h", 49))
    ]
    insert(configurator.tbuf, "PANDA.Network_Matrix_KV", *rows)
    assert configurator.run("network") == []
    kept = [row[2] for row in snapshot(configurator.tbuf)["ATLAS_PANDA.Network_Matrix_KV"] if row[0] == "A"]
    assert kept == ["latency"]


def test_the_time_of_closeness_is_renewed_twice_a_day(configurator: Configurator) -> None:
    now = datetime.now(UTC).replace(tzinfo=None)
    rows = [
        {"src": "EXAMPLE-SITE", "dst": "OTHER-SITE", "key": "closeness", "value": 3, "ts": now - timedelta(hours=13)},
        {"src": "OTHER-SITE", "dst": "EXAMPLE-SITE", "key": "closeness", "value": 4, "ts": now - timedelta(hours=11)},
    ]
    insert(configurator.tbuf, "PANDA.Network_Matrix_KV", *rows)
    configurator.run("network")
    found = {
        row[0]: now - row[4] < timedelta(hours=1)
        for row in snapshot(configurator.tbuf)["ATLAS_PANDA.Network_Matrix_KV"]
        if row[2] == "closeness"
    }
    assert found == {"EXAMPLE-SITE": True, "OTHER-SITE": False}
