"""The entry point: built by the first request, from the configuration, without a database."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from werkzeug.test import Client

from pandaserver.config.panda_config import PandaConfig, load
from pandaserver.server import panda
from pandaserver.server.application import Application
from pandaserver.server.assembly import create_application
from pandaserver.taskbuffer.connection_settings import ConnectionSettings
from tests.api.callers import USER

WEB_MEMORY_LIMIT = 60  # MB, see the design


@pytest.fixture
def configuration(tmp_path: Path, database: ConnectionSettings) -> PandaConfig:
    return configured(tmp_path, database.name)


def configured(directory: Path, name: str) -> PandaConfig:
    (directory / "cache").mkdir(exist_ok=True)
    (directory / "panda_server.cfg").write_text(
        f"[server]\nbackend = sqlite\ndbname = {name}\nlogdir = {directory}\ncache_dir = {directory}/cache\n"
        "dbtimeout = 10\n"
    )
    (directory / "panda_common.cfg").write_text(f"[logger]\nlogdir = {directory}\n")
    return load({}, [directory])


@pytest.fixture
def application(configuration: PandaConfig) -> Iterator[Application]:
    made = create_application(configuration)
    yield made
    made.close()


def test_a_request_reaches_the_database_through_a_child(application: Application) -> None:
    client = Client(application)
    reply = client.post("/server/panda/checkSandboxFile", data={"fileSize": 1, "checkSum": 2}, environ_overrides=USER)
    assert (reply.status_code, reply.text) == (200, "NOTFOUND")


def test_without_a_database_the_server_is_alive_and_says_what_is_wrong(tmp_path: Path) -> None:
    application = create_application(configured(tmp_path, "/nowhere/panda.sqlite3"))
    try:
        client = Client(application)
        assert client.get("/server/panda/isAlive", environ_overrides=USER).text == "alive=yes"
        reply = client.post("/server/panda/checkSandboxFile", data={"fileSize": 1, "checkSum": 2},
                            environ_overrides=USER)  # fmt: skip
        assert reply.status_code == 503
        assert reply.text.startswith("ERROR : ")
        assert client.get("/server/panda/isAlive", environ_overrides=USER).text == "alive=yes"
    finally:
        application.close()


def test_the_first_request_builds_the_application(
    configuration: PandaConfig, monkeypatch: pytest.MonkeyPatch, application: Application
) -> None:
    built: list[Application] = []
    monkeypatch.setattr(panda, "_application", None)
    monkeypatch.setattr(panda, "_from_environment", lambda: built.append(application) or application)
    for _ in range(2):
        assert Client(panda.application).get("/server/panda/isAlive").text == "alive=yes"
    assert len(built) == 1


def test_a_process_reads_its_configuration_and_serves(configuration: PandaConfig, tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/panda").symlink_to(tmp_path, target_is_directory=True)
    code = """
import io, sys
from pandaserver.server.panda import application
drivers = {"sqlalchemy", "psycopg2", "MySQLdb", "oracledb", "sqlite3", "jwt", "werkzeug"}
assert not drivers & set(sys.modules), "the import is not free"
environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/server/panda/isAlive", "wsgi.input": io.BytesIO()}
print(*application(environ, lambda status, headers: None))
assert not drivers & set(sys.modules), drivers & set(sys.modules)
pages = int(open("/proc/self/statm").read().split()[1])
print(pages * 4096 // 2**20)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PANDA_HOME": str(tmp_path), "HOME": str(tmp_path)},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    alive, memory = done.stdout.split()
    assert alive == "b'alive=yes'"
    assert int(memory) < WEB_MEMORY_LIMIT
    assert "isAlive exec_time=0." in (tmp_path / "panda-Entry.log").read_text()
