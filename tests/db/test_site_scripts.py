"""The scripts about sites as the daemon and an administrator start them, on a SQLite database of their own."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pandacommon.pandalogger.LogWrapper import LogWrapper
from pandaserver.admin.main import main
from pandaserver.config.settings import ServerSettings
from pandaserver.daemons import environment
from pandaserver.daemons.scripts import configurator
from pandaserver.daemons.scripts.configurator import access_of
from pandaserver.srvcore.json_source import Access
from pandaserver.taskbuffer import schema
from pandaserver.taskbuffer.connection_settings import ConnectionSettings, OperationSettings
from pandaserver.taskbuffer.local_bridge import LocalBridge
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from tests.db.crowd import insert, query

SOURCES = Path(__file__).resolve().parents[1] / "data/site_sources"
Script = Callable[..., Result]


@pytest.fixture
def connection(tmp_path: Path) -> ConnectionSettings:
    made = ConnectionSettings(backend="sqlite", name=str(tmp_path / "panda.sqlite3"))
    schema.create_all(made)
    return made


@pytest.fixture
def own_tbuf(connection: ConnectionSettings) -> Iterator[TaskBuffer]:
    bridge = LocalBridge(connection, OperationSettings())
    yield TaskBuffer(bridge)
    bridge.close()


@pytest.fixture
def script(connection: ConnectionSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Script]:
    """Runs ``panda-admin script``; the sources are copies below ``tmp_path``."""
    for name in ("sites", "endpoints", "queues", "tags"):
        (tmp_path / f"{name}.json").write_bytes((SOURCES / f"{name}.json").read_bytes())
    (tmp_path / "etc/panda").mkdir(parents=True)
    (tmp_path / "etc/panda/panda_server.cfg").write_text(f"""[server]
backend = sqlite
dbname = {connection.name}
schedconfig_dir = {tmp_path}/cache
CRIC_URL_SITES = {tmp_path}/sites.json
CRIC_URL_DDMENDPOINTS = file://{tmp_path}/endpoints.json
CRIC_URL_SCHEDCONFIG = file:{tmp_path}/queues.json
CRIC_URL_TAGS = {tmp_path}/tags.json
[daemon]
package = pandaserver.daemons.scripts
config = {{"schedconfig_json": {{"module": "configurator", "arguments": ["--json_dump"], "period": 200}}}}
""")
    (tmp_path / "etc/panda/panda_common.cfg").write_text(f"[logger]\nlogdir = {tmp_path}\n")
    monkeypatch.setenv("PANDA_HOME", str(tmp_path))
    environment.configuration.cache_clear()
    yield lambda *words: CliRunner().invoke(main, ["script", *words])
    environment.configuration.cache_clear()


def test_the_options_choose_what_is_read(script: Script, own_tbuf: TaskBuffer) -> None:
    assert script("configurator").exit_code == 0
    assert query(own_tbuf, "SELECT COUNT(*) FROM ATLAS_PANDA.Site") == [(2,)]
    assert own_tbuf.loadQueueData() == {}
    assert script("configurator", "--sw_tags").exit_code == 0
    assert query(own_tbuf, "SELECT COUNT(*) FROM ATLAS_PANDA.SW_Tags") == [(2,)]
    assert script("schedconfig_json").output == ""
    assert sorted(own_tbuf.loadQueueData()) == ["EXAMPLE_QUEUE", "OTHER_QUEUE"]
    assert script("configurator", "--network").exit_code == 0


@pytest.mark.parametrize("words", [("--json-dump",), ("--network", "--sw_tags"), ("sites",)])
def test_an_option_that_does_not_exist_fails_the_run(script: Script, words: tuple[str, ...]) -> None:
    assert script("configurator", *words).exit_code != 0


def test_a_loss_of_most_queues_is_accepted_by_force(script: Script, own_tbuf: TaskBuffer, tmp_path: Path) -> None:
    many = {f"Q{n}": {"state": "ACTIVE"} for n in range(50)}
    (tmp_path / "queues.json").write_text(json.dumps(many))
    script("configurator", "--json_dump")
    (tmp_path / "queues.json").write_text(json.dumps({"Q1": {"state": "ACTIVE"}}))
    script("configurator", "--json_dump")
    assert len(own_tbuf.loadQueueData()) == 50
    script("configurator", "--json_dump", "--force")
    assert list(own_tbuf.loadQueueData()) == ["Q1"]


def test_pilots_get_what_the_source_says(script: Script, own_tbuf: TaskBuffer, tmp_path: Path) -> None:
    script("configurator", "--json_dump")
    insert(
        own_tbuf,
        "PANDA.Config",
        {"app": "pilot", "component": "c", "key": "k", "VO": "v", "value": "5", "type": "int", "descr": "d"},
        {"app": "pandaserver", "component": "c", "key": "k", "VO": "v", "value": "6", "type": "int", "descr": "d"},
    )
    assert script("cache_schedconfig").exit_code == 0
    described = json.loads((tmp_path / "cache/EXAMPLE_QUEUE.all.json").read_text())
    assert described == json.loads((SOURCES / "queues.json").read_text())["EXAMPLE_QUEUE"]
    assert json.loads((tmp_path / "cache/pilot_gdp_config.json").read_text()) == {"v": {"c": {"k": 5}}}
    for name in ("ddmendpoints.json", "agis_ddmendpoints.json"):
        assert json.loads((tmp_path / "cache" / name).read_text()) == json.loads(
            (SOURCES / "endpoints.json").read_text()
        )


@pytest.mark.parametrize("bad", ["", "{}", "{half", '{"A_DISK": null}', "[1]"])
def test_a_bad_source_leaves_the_storage_that_pilots_know(script: Script, tmp_path: Path, bad: str) -> None:
    script("cache_schedconfig")
    before = (tmp_path / "cache/ddmendpoints.json").read_bytes()
    (tmp_path / "endpoints.json").write_text(bad)
    assert script("cache_schedconfig").exit_code == 0
    assert (tmp_path / "cache/ddmendpoints.json").read_bytes() == before


def test_without_a_source_pilots_get_the_storage_of_our_tables(
    script: Script, own_tbuf: TaskBuffer, tmp_path: Path
) -> None:
    script("configurator")
    configuration = tmp_path / "etc/panda/panda_server.cfg"
    configuration.write_text(configuration.read_text().replace("CRIC_URL_DDMENDPOINTS", "# "))
    environment.configuration.cache_clear()
    assert script("cache_schedconfig").exit_code == 0
    assert json.loads((tmp_path / "cache/ddmendpoints.json").read_text())["EXAMPLE-SITE_TAPE"] == {
        "name": "EXAMPLE-SITE_TAPE",
        "site": "EXAMPLE-SITE",
        "state": "ACTIVE",
        "token": "EXAMPLEDATATAPE",
        "type": "DATATAPE",
        "is_tape": True,
    }


def test_a_queue_that_cannot_be_read_keeps_its_files(script: Script, own_tbuf: TaskBuffer, tmp_path: Path) -> None:
    script("configurator", "--json_dump")
    script("cache_schedconfig")
    before = (tmp_path / "cache/EXAMPLE_QUEUE.all.json").read_text()
    insert(own_tbuf, "PANDA.schedconfig_json", {"panda_queue": "BROKEN", "data": "{half"})
    (tmp_path / "cache/BROKEN.all.json").write_text("former")
    assert script("cache_schedconfig").exit_code == 0
    assert (tmp_path / "cache/BROKEN.all.json").read_text() == "former"
    assert (tmp_path / "cache/EXAMPLE_QUEUE.all.json").read_text() == before


@pytest.mark.parametrize("name", ["pilotStreaming", "worker_synchronization", "panda_activeusers_query"])
def test_the_other_scripts_run_where_there_is_nothing_to_do(script: Script, name: str) -> None:
    assert script(name).exit_code == 0


def test_a_source_sees_our_certificate_unless_that_is_forbidden() -> None:
    environ = {"X509_USER_PROXY": "/tmp/x509up", "X509_CERT_DIR": "/etc/grid-security/certificates"}
    authorities = Path("/etc/grid-security/certificates")
    assert access_of(ServerSettings(), environ) == Access(Path("/tmp/x509up"), authorities)
    assert access_of(ServerSettings(configurator_use_cert=False), environ) == Access(None, authorities)
    assert access_of(ServerSettings(), {}) == Access(None, None)


def test_each_source_is_read_once_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_tbuf: TaskBuffer) -> None:
    reads: list[str] = []

    def count(place: str, **_: object) -> object:
        reads.append(Path(place).stem)
        return json.loads(Path(place).read_text())

    monkeypatch.setattr(configurator, "read_json", count)
    places = {"CRIC_URL_DDMENDPOINTS": "endpoints", "CRIC_URL_SCHEDCONFIG": "queues"}
    sources = configurator.Sources({name: f"{SOURCES}/{file}.json" for name, file in places.items()}, Access())
    log = LogWrapper(logging.getLogger("configurator-test"), None)
    configurator.store(log, own_tbuf, configurator.plan_of("sites", sources))
    assert sorted(reads) == ["endpoints", "queues"]


class Source(BaseHTTPRequestHandler):
    """Serves the queues in the way that the address names."""

    def do_GET(self) -> None:
        body = (SOURCES / "queues.json").read_bytes()
        way = self.path.strip("/")
        self.send_response(500 if way == "error" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if way == "half":
            self.wfile.write(body[: len(body) // 2])
        elif way == "slow":
            self.wfile.write(body[:-3])
            self.wfile.flush()
            self.rfile.read()  # until the client has had enough
        else:
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[str]:
    made = ThreadingHTTPServer(("127.0.0.1", 0), Source)
    made.daemon_threads = True
    thread = threading.Thread(target=made.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{made.server_port}"
    made.shutdown()
    made.server_close()
    thread.join()


def test_a_server_is_asked_and_one_that_fails_changes_nothing(server: str, own_tbuf: TaskBuffer) -> None:
    log = LogWrapper(logging.getLogger("configurator-test"), None)

    def run(way: str) -> list[str]:
        sources = configurator.Sources({"CRIC_URL_SCHEDCONFIG": f"{server}/{way}"}, Access(), seconds=0.5)
        return configurator.store(log, own_tbuf, configurator.plan_of("json_dump", sources))

    assert [run(way) for way in ("error", "half", "slow")] == [["queues"]] * 3
    assert own_tbuf.loadQueueData() == {}
    assert run("good") == []
    stored = own_tbuf.loadQueueData()
    assert sorted(stored) == ["EXAMPLE_QUEUE", "OTHER_QUEUE"]
    assert [run(way) for way in ("error", "half", "slow")] == [["queues"]] * 3
    assert own_tbuf.loadQueueData() == stored
