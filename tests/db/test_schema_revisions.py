"""The declarations, the revisions and the printed scripts make the same database."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from pandaserver.taskbuffer import schema
from pandaserver.taskbuffer.connection_settings import ConnectionSettings
from pandaserver.taskbuffer.schema import check, migrate, steps
from pandaserver.taskbuffer.schema.engine import engine_of, schema_names
from pandaserver.taskbuffer.schema.version import REQUIRED
from tests.db.schema_catalogue import all_rows, catalogue, drop_schemas

ROOT = Path(__file__).parents[2]

Maker = Callable[[str], ConnectionSettings]


@pytest.fixture
def empty(database: ConnectionSettings, tmp_path: Path) -> Iterator[Maker]:
    """Return a maker of databases without anything of ours, on the server of the test."""
    made: list[ConnectionSettings] = []

    def make(label: str) -> ConnectionSettings:
        if database.backend == "sqlite":
            return replace(database, name=str(tmp_path / f"{label}.db"))
        fresh = replace(database, schemas={prefix: f"{label}_{prefix}".lower() for prefix in database.schemas})
        drop_schemas(fresh)
        made.append(fresh)
        return fresh

    yield make
    for connection in made:
        drop_schemas(connection)


def test_revisions_make_what_the_declarations_say(empty: Maker) -> None:
    declared, revised = empty("declared"), empty("revised")
    schema.create_all(declared)
    migrate.upgrade(revised, "atlas")
    assert catalogue(revised) == catalogue(declared), (
        "the declarations changed: add a revision (before the first release, run pandaserver.taskbuffer.schema.freeze)"
    )


def test_revisions_sow_the_seed_rows(empty: Maker) -> None:
    declared, revised = empty("declared"), empty("revised")
    schema.create_all(declared)
    migrate.upgrade(revised, "atlas")
    assert all_rows(revised) == all_rows(declared)


def test_seed_rows_belong_to_the_configured_vo(empty: Maker) -> None:
    revised = empty("revised")
    migrate.upgrade(revised, "dune")
    rows = all_rows(revised)
    assert all("'dune'" in row for row in rows["ATLAS_PANDA.jedi_work_queue"] + rows["ATLAS_PANDA.config"])


def test_upgrading_twice_changes_nothing(empty: Maker) -> None:
    revised = empty("revised")
    migrate.upgrade(revised, "atlas")
    before = catalogue(revised), all_rows(revised)
    migrate.upgrade(revised, "atlas")
    assert (catalogue(revised), all_rows(revised)) == before


def test_machines_that_start_together_upgrade_one_after_another(empty: Maker) -> None:
    alone, together = empty("alone"), empty("together")
    migrate.upgrade(alone, "atlas")
    program = (
        "import pickle, sys; from pandaserver.taskbuffer.schema import migrate;"
        "migrate.upgrade(pickle.load(sys.stdin.buffer), 'atlas')"
    )
    starting = [
        subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    for process in starting:
        assert process.stdin is not None
        process.stdin.write(pickle.dumps(together))
        process.stdin.close()
        process.stdin = None
    ends = [process.communicate(timeout=60)[1].decode() for process in starting]
    assert ends == ["", "", ""]
    assert (catalogue(together), all_rows(together)) == (catalogue(alone), all_rows(alone))


def test_a_revision_that_stopped_half_way_can_be_run_again(empty: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, stopped = empty("whole"), empty("stopped")
    migrate.upgrade(whole, "atlas")
    created = 0
    create_table = steps.create_table

    def stop_after_ten(*arguments: object) -> None:
        nonlocal created
        created += 1
        if created > 10:
            raise RuntimeError("power failure")
        create_table(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(steps, "create_table", stop_after_ten)
        with pytest.raises(RuntimeError, match="power failure"):
            migrate.upgrade(stopped, "atlas")
    migrate.upgrade(stopped, "atlas")
    assert (catalogue(stopped), all_rows(stopped)) == (catalogue(whole), all_rows(whole))


def test_running_a_revision_again_keeps_what_operators_changed(empty: Maker) -> None:
    revised = empty("revised")
    migrate.upgrade(revised, "atlas")
    where = schema_names(revised.backend, revised.schemas)["ATLAS_PANDA"]
    if revised.backend != "mysql":
        pytest.skip("a revision is one transaction there, so it is never run again")
    with engine_of(revised).begin() as connection:
        connection.execute(text(f"UPDATE {where}.config SET value = '77'"))
        connection.execute(text(f"DELETE FROM {where}.{steps.REVISION_TABLE}"))
    migrate.upgrade(revised, "atlas")
    assert all("'77'" in row for row in all_rows(revised)["ATLAS_PANDA.config"])


def test_the_printed_script_makes_the_same(empty: Maker) -> None:
    revised, scripted = empty("revised"), empty("scripted")
    migrate.upgrade(revised, "atlas")
    _run_script(scripted)
    assert (catalogue(scripted), all_rows(scripted)) == (catalogue(revised), all_rows(revised))
    assert check.state_of(scripted) == check.SchemaState(REQUIRED)


def test_the_printed_script_can_be_run_again(empty: Maker) -> None:
    scripted = empty("scripted")
    if scripted.backend != "mysql":
        pytest.skip("the script is one transaction there")
    _run_script(scripted)
    before = catalogue(scripted), all_rows(scripted)
    where = scripted.schemas["ATLAS_PANDA"]
    with engine_of(scripted).begin() as connection:
        connection.execute(text(f"DELETE FROM {where}.{steps.REVISION_TABLE}"))
    _run_script(scripted)
    assert (catalogue(scripted), all_rows(scripted)) == before


def test_a_script_for_the_newest_version_does_nothing(empty: Maker) -> None:
    revised = empty("revised")
    if revised.backend == "sqlite":
        pytest.skip("SQLite is upgraded online only")
    script = migrate.upgrade_sql(revised.backend, revised.schemas, "atlas", since=REQUIRED)
    assert not [line for line in script.splitlines() if line and line not in ("BEGIN;", "COMMIT;")]


def _run_script(connection: ConnectionSettings) -> None:
    """Run the script as a DBA would, with the client of the server."""
    if connection.backend == "sqlite":
        pytest.skip("SQLite is upgraded online only")
    kind = "mariadb" if connection.backend == "mysql" else connection.backend
    script = migrate.upgrade_sql(kind, connection.schemas, "atlas")
    clients = {
        "postgres": (
            "psql", "-q", "-v", "ON_ERROR_STOP=1", "-h", connection.host, "-p", str(connection.port),
            "-U", connection.user, connection.name,
        ),
        "mariadb": (
            "mariadb", "-h", connection.host, "-P", str(connection.port), "-u", connection.user, connection.name,
        ),
    }  # fmt: skip
    command = clients[kind]
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    secret = connection.password.reveal()
    environment = os.environ | {"PGPASSWORD": secret, "MYSQL_PWD": secret, "TZ": "UTC"}
    done = subprocess.run(
        command, input=script, env=environment, text=True, capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
