"""The files in etc/, loaded as etc/README.md says."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pandaserver.admin.main import main
from pandaserver.taskbuffer import schema
from pandaserver.taskbuffer.connection_settings import ConnectionSettings
from pandaserver.testing.sample_site import QUEUE_DATA

ROOT = Path(__file__).resolve().parents[2]
ETC = ROOT / "etc"
COMMANDS = re.findall(r"`panda-admin ([^`]+)`", (ETC / "README.md").read_text("utf-8"))


@pytest.fixture(autouse=True)
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database of our own, as panda_server.cfg names it."""
    database = tmp_path / "panda.sqlite3"
    schema.create_all(ConnectionSettings(backend="sqlite", name=str(database)))
    configuration = tmp_path / "etc" / "panda"
    configuration.mkdir(parents=True)
    (configuration / "panda_server.cfg").write_text(f"[server]\nbackend = sqlite\ndbname = {database}\n")
    (configuration / "panda_common.cfg").write_text(f"[logger]\nlogdir = {tmp_path}\n")
    monkeypatch.setenv("PANDA_HOME", str(tmp_path))
    monkeypatch.chdir(ROOT)


def admin(line: str) -> Result:
    return CliRunner().invoke(main, shlex.split(line))


@pytest.mark.parametrize("line", COMMANDS)
def test_an_example_loads_and_is_what_is_listed_then(line: str) -> None:
    loaded = admin(line)
    assert loaded.exit_code == 0, loaded.output
    subject, _, path = line.split()
    given = json.loads((ROOT / path).read_text("utf-8"))
    if subject == "queue":
        assert json.loads(admin("queue show TEST_PQ").output) == given
        return
    listed = json.loads(admin(f"{subject} list").output)
    assert sorted(row.get("name") or row["resource_name"] for row in listed) == sorted(row["name"] for row in given)


def test_every_example_is_loaded_by_a_command() -> None:
    files = {path.relative_to(ROOT) for path in ETC.rglob("*.json") if "helm" not in path.parts}
    assert files == {Path(line.split()[-1]) for line in COMMANDS}


def test_the_example_of_a_queue_is_that_of_the_development_instance() -> None:
    assert json.loads((ETC / "queues" / "TEST_PQ.json").read_text("utf-8")) == QUEUE_DATA
