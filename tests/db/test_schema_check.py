"""Telling a usable database from one that is not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from pandaserver.srvcore.errors import Unavailable
from pandaserver.taskbuffer import schema
from pandaserver.taskbuffer.connection_settings import ConnectionSettings
from pandaserver.taskbuffer.schema.check import SchemaState, state_of
from pandaserver.taskbuffer.schema.engine import engine_of, schema_names
from pandaserver.taskbuffer.schema.version import REQUIRED
from tests.db.schema_catalogue import drop_schemas


@pytest.fixture
def own(database: ConnectionSettings, tmp_path: Path) -> Iterator[ConnectionSettings]:
    """Return a database that a test may damage, with everything of ours."""
    if database.backend == "sqlite":
        fresh = replace(database, name=str(tmp_path / "damaged.db"))
        schema.create_all(fresh)
        yield fresh
        return
    fresh = replace(database, schemas={prefix: f"damaged_{prefix}".lower() for prefix in database.schemas})
    drop_schemas(fresh)
    schema.create_all(fresh)
    yield fresh
    drop_schemas(fresh)


def _do(connection: ConnectionSettings, statement: str) -> None:
    where = schema_names(connection.backend, connection.schemas)["ATLAS_PANDA"]
    with engine_of(connection).begin() as database:
        database.execute(text(statement.replace("{panda}", f"{where}." if where else "")))


def test_a_new_database_is_usable(own: ConnectionSettings) -> None:
    state = state_of(own)
    assert state == SchemaState(REQUIRED)
    assert state.is_usable


def test_a_newer_database_is_usable(own: ConnectionSettings) -> None:
    _do(own, "UPDATE {panda}pandadb_version SET minor = minor + 1")
    assert state_of(own).is_usable


def test_an_older_database_is_not_usable(own: ConnectionSettings) -> None:
    _do(own, "UPDATE {panda}pandadb_version SET major = 0, minor = 99")
    state = state_of(own)
    assert state.version == (0, 99, 0)
    assert not state.is_usable


def test_a_version_row_of_another_program_is_not_ours(own: ConnectionSettings) -> None:
    _do(own, "UPDATE {panda}pandadb_version SET component = 'SERVER'")
    assert state_of(own).version is None


def test_an_empty_database_has_no_version(database: ConnectionSettings, tmp_path: Path) -> None:
    empty = replace(database, name=str(tmp_path / "empty.db")) if database.backend == "sqlite" else database
    nothing = replace(empty, schemas={prefix: f"nothing_{prefix}".lower() for prefix in empty.schemas})
    assert state_of(nothing) == SchemaState(None)


@pytest.mark.parametrize(
    ("damage", "difference"),
    [
        ("DROP TABLE {panda}panda_leases", "table ATLAS_PANDA.panda_leases is missing"),
        ("ALTER TABLE {panda}datasets DROP COLUMN version", "column version of ATLAS_PANDA.Datasets is missing"),
    ],
)
def test_what_is_missing_is_named(own: ConnectionSettings, damage: str, difference: str) -> None:
    _do(own, damage)
    assert state_of(own).differences == (difference,)


def test_a_missing_index_is_named(own: ConnectionSettings) -> None:
    at_table = " ON {panda}datasets" if own.backend == "mysql" else ""
    prefix = "{panda}" if own.backend != "mysql" else ""
    _do(own, f"DROP INDEX {prefix}datasets_name_idx{at_table}")
    assert state_of(own).differences == ("index datasets_name_idx of ATLAS_PANDA.Datasets is missing",)


def test_a_missing_check_is_named(own: ConnectionSettings) -> None:
    if own.backend == "sqlite":
        pytest.skip("SQLite cannot drop a CHECK")
    _do(own, "ALTER TABLE {panda}jobsactive4 DROP CONSTRAINT ck_jobsactive4_jobstatus")
    assert state_of(own).differences == ("check ck_jobsactive4_jobstatus of ATLAS_PANDA.jobsActive4 is missing",)


def test_a_column_that_is_too_narrow_is_named(own: ConnectionSettings) -> None:
    changes = {
        "postgres": "ALTER TABLE {panda}secrets ALTER COLUMN owner TYPE VARCHAR(20)",
        "mysql": "ALTER TABLE {panda}secrets MODIFY owner VARCHAR(20) NOT NULL",
    }
    if own.backend not in changes:
        pytest.skip("SQLite knows no widths")
    _do(own, changes[own.backend])
    expected = "column owner of ATLAS_PANDA.Secrets takes 20 characters, 60 are needed"
    assert state_of(own).differences == (expected,)


def test_what_a_site_added_does_not_count(own: ConnectionSettings) -> None:
    _do(own, "CREATE INDEX site_monitor_idx ON {panda}jobsactive4 (jobname)")
    assert state_of(own).differences == ()


def test_a_server_that_does_not_answer_is_unavailable(database: ConnectionSettings, tmp_path: Path) -> None:
    elsewhere = {"sqlite": {"name": str(tmp_path / "no" / "such.db")}}.get(database.backend, {"port": 1})
    with pytest.raises(Unavailable, match="cannot look at the schema"):
        state_of(replace(database, **elsewhere))  # type: ignore[arg-type]


def test_a_job_is_refused_outside_the_home_of_its_status(own: ConnectionSettings) -> None:
    with pytest.raises(Exception, match="ck_jobsdefined4_jobstatus"):
        _do(own, "INSERT INTO {panda}jobsdefined4 (pandaid, jobstatus) VALUES (1, 'running')")


def test_no_job_lives_in_the_table_that_only_monitors_read(own: ConnectionSettings) -> None:
    with pytest.raises(Exception, match="ck_jobswaiting4_jobstatus"):
        _do(own, "INSERT INTO {panda}jobswaiting4 (pandaid, jobstatus) VALUES (1, 'waiting')")


def test_history_rows_are_numbered_by_the_database(own: ConnectionSettings) -> None:
    row = "INSERT INTO {panda}jobs_statuslog (pandaid, modificationtime, jobstatus) VALUES (1, CURRENT_TIMESTAMP, 'x')"
    _do(own, row)
    _do(own, "DELETE FROM {panda}jobs_statuslog")
    _do(own, row)
    with engine_of(own).connect() as database:
        log = schema.metadata.tables["ATLAS_PANDA.jobs_statuslog"]
        assert database.execute(log.select()).one().statuslogid == 2


def test_emptying_keeps_the_seed_rows(own: ConnectionSettings) -> None:
    _do(own, "INSERT INTO {panda}global_shares (name, value) VALUES ('mine', 1)")
    schema.empty_all(own)
    shares = schema.metadata.tables["ATLAS_PANDA.global_shares"]
    with engine_of(own).connect() as database:
        assert [row.name for row in database.execute(shares.select())] == ["Default"]


def _command(tmp_path: Path, connection: ConnectionSettings, *arguments: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "etc/panda").mkdir(parents=True, exist_ok=True)
    lines = ["[server]", f"backend = {connection.backend}", f"dbname = {connection.name}"]
    lines += [f"dbhost = {connection.host}", f"dbport = {connection.port}", f"dbuser = {connection.user}"]
    lines += [f"dbpasswd = {connection.password.reveal()}"]
    settings = ("schemaPANDA", "schemaPANDAARCH", "schemaMETA", "schemaDEFT")
    lines += [f"{key} = {name}" for key, name in zip(settings, connection.schemas.values(), strict=True)]
    (tmp_path / "etc/panda/panda_server.cfg").write_text("\n".join(lines) + "\n")
    return subprocess.run(
        [sys.executable, "-c", "from pandaserver.admin.main import main; main()", "schema", *arguments],
        env={"PANDA_HOME": str(tmp_path), "HOME": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_command_creates_checks_and_upgrades(database: ConnectionSettings, tmp_path: Path) -> None:
    if database.backend == "sqlite":
        fresh = replace(database, name=str(tmp_path / "commanded.db"))
    else:
        fresh = replace(database, schemas={prefix: f"commanded_{prefix}".lower() for prefix in database.schemas})
        drop_schemas(fresh)
    try:
        codes = [
            _command(tmp_path, fresh, name).returncode for name in ("check", "create", "check", "create", "upgrade")
        ]
    finally:
        if fresh.backend != "sqlite":
            drop_schemas(fresh)
    assert codes == [1, 0, 0, 1, 0]


def test_the_command_tells_when_it_cannot_reach_the_database(tmp_path: Path) -> None:
    absent = ConnectionSettings("sqlite", str(tmp_path / "no" / "such.db"))
    assert _command(tmp_path, absent, "check").returncode == 2
