"""The declarations agree with the specifications, with the states and with themselves."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import sqlglot
from sqlalchemy import CheckConstraint, Constraint, PrimaryKeyConstraint, String, Table
from sqlalchemy.dialects.oracle.base import RESERVED_WORDS

from pandaserver.taskbuffer.connection_settings import DEFAULT_SCHEMAS, SCHEMA_SETTINGS
from pandaserver.taskbuffer.FileSpec import FILE_ATTRIBUTES, FILE_TEXT_LIMITS
from pandaserver.taskbuffer.JobSpec import JOB_COLUMNS, JOB_TEXT_LIMITS
from pandaserver.taskbuffer.schema import metadata, migrate
from pandaserver.taskbuffer.schema.declare import sequences_of
from pandaserver.taskbuffer.schema.optional_indexes import OPTIONAL_INDEXES
from pandaserver.taskbuffer.schema.version import REQUIRED
from pandaserver.taskbuffer.states import states_of

JOB_TABLES = ("jobsDefined4", "jobsActive4", "jobsArchived4", "jobsWaiting4")
TABLES = list(metadata.tables.values())
ROOT = Path(__file__).parents[2]

#: What a heartbeat may change in jobsActive4: an index on one of them costs an entry in every index of the table.
HEARTBEAT = {"modificationTime", "jobSubStatus", "cpuConsumptionTime", "nEvents", "jobMetrics", "maxRSS", "coreCount"}


def declared(name: str) -> Table:
    return metadata.tables[f"ATLAS_PANDA.{name.lower()}"]


def constraints(table: Table) -> list[Constraint]:
    """Return the constraints of a table, without the empty key of a table that has none."""
    return [c for c in table.constraints if not (isinstance(c, PrimaryKeyConstraint) and not len(c.columns))]


def widths(table: Table) -> dict[str, int]:
    return {c.key: c.type.length for c in table.columns if isinstance(c.type, String) and c.type.length}


@pytest.mark.parametrize("name", JOB_TABLES)
def test_each_job_table_has_every_column_of_a_job(name: str) -> None:
    beside = {"jobParameters", "metadata"}
    assert {column.key for column in declared(name).columns} == set(JOB_COLUMNS) | beside


@pytest.mark.parametrize("name", JOB_TABLES)
def test_texts_of_a_job_are_cut_to_what_its_tables_take(name: str) -> None:
    assert widths(declared(name)) == JOB_TEXT_LIMITS


def test_a_file_has_the_columns_of_its_specification() -> None:
    assert {column.key for column in declared("filesTable4").columns} == {*FILE_ATTRIBUTES, "modificationTime"}


def test_texts_of_a_file_are_cut_to_what_its_table_takes() -> None:
    assert widths(declared("filesTable4")) == FILE_TEXT_LIMITS


@pytest.mark.parametrize("name", JOB_TABLES)
def test_the_check_of_a_job_table_lists_the_states_that_live_there(name: str) -> None:
    (check,) = [c for c in declared(name).constraints if isinstance(c, CheckConstraint)]
    assert re.findall(r"'(\w+)'", str(check.sqltext)) == [str(state) for state in states_of(name)]


def test_every_key_and_check_has_a_name() -> None:
    assert [c for table in TABLES for c in constraints(table) if not c.name] == []


def test_names_are_unique_and_fit_every_backend() -> None:
    names = [str(item.name) for table in TABLES for item in (table, *table.indexes, *constraints(table))]
    assert len(names) == len(set(names))
    assert [name for name in names if len(name) > 63] == []


def test_no_column_needs_quotes_in_oracle() -> None:
    """A quoted name would keep its lower case there, and statements could not find it."""
    assert [c for table in TABLES for c in table.columns if c.name.upper() in RESERVED_WORDS] == []


def test_every_table_says_what_it_holds() -> None:
    assert [table.name for table in TABLES if not table.info["meaning"]] == []


def test_every_schema_prefix_can_be_configured() -> None:
    assert {item.schema for item in (*TABLES, *sequences_of(metadata))} <= set(SCHEMA_SETTINGS)


def test_no_index_of_active_jobs_holds_what_a_heartbeat_changes() -> None:
    held = {c.split()[0] for index in declared("jobsActive4").indexes for c in index.info["columns"]}
    assert held & HEARTBEAT == set()


def test_optional_indexes_name_tables_and_columns_that_exist() -> None:
    columns = {table.info["spelling"]: {c.key for c in table.columns} for table in TABLES}
    unknown = [
        (table, name)
        for table, indexes in OPTIONAL_INDEXES.items()
        for name, listed in indexes.items()
        if not set(re.sub(r"upper\((\w+)\)", r"\1", listed).split(", ")) <= columns[table]
    ]
    assert unknown == []


def test_an_index_is_either_made_or_optional() -> None:
    made = {str(index.name) for table in TABLES for index in table.indexes}
    assert {name for indexes in OPTIONAL_INDEXES.values() for name in indexes} & made == set()


def test_the_newest_revision_makes_the_required_version() -> None:
    assert migrate.revisions()[-1].module.VERSION == REQUIRED


def test_versions_of_revisions_rise() -> None:
    versions = [script.module.VERSION for script in migrate.revisions()]
    assert versions == sorted(set(versions))


def test_revisions_go_forward_only() -> None:
    assert [s.revision for s in migrate.revisions() if hasattr(s.module, "downgrade")] == []


@pytest.mark.parametrize("backend", ["postgres", "mysql", "mariadb"])
def test_an_independent_parser_reads_the_script(backend: str) -> None:
    script = migrate.upgrade_sql(backend, DEFAULT_SCHEMAS, "atlas")
    # sqlglot knows neither sequences of MariaDB nor storage settings without a column list
    tables = re.findall(r"^CREATE TABLE .*?;$", script, re.DOTALL | re.MULTILINE)
    dialect = "postgres" if backend == "postgres" else "mysql"
    parsed = [sqlglot.parse_one(statement, dialect=dialect) for statement in tables]
    counters = backend == "mysql"
    assert len(parsed) == len(TABLES) + (1 if counters else 0)  # and the one of Alembic


def test_an_independent_parser_reads_the_script_for_oracle() -> None:
    script = migrate.upgrade_sql("oracle", DEFAULT_SCHEMAS, "atlas")
    blocks = re.findall(r"EXECUTE IMMEDIATE '((?:[^']|'')*)';", script)
    rows = re.findall(r"^INSERT INTO .*?(?=^/$)", script, re.DOTALL | re.MULTILINE)
    statements = [_known_to_sqlglot(text.replace("''", "'")) for text in (*blocks, *rows)]
    parsed = [sqlglot.parse_one(statement, dialect="oracle") for statement in statements]
    kinds = [type(statement).__name__ for statement in parsed]
    assert kinds.count("Create") == len(blocks)
    assert kinds.count("Insert") == len(rows)


def _known_to_sqlglot(statement: str) -> str:
    """Leave out what sqlglot cannot read, though Oracle can: the schema of an index, and ORDER of an identity."""
    return re.sub(r"(INDEX) \w+\.", r"\1 ", statement).replace("START WITH 1 ORDER", "START WITH 1")


def test_identity_columns_of_oracle_rise_across_instances() -> None:
    script = migrate.upgrade_sql("oracle", DEFAULT_SCHEMAS, "atlas")
    assert re.search(r"statuslogid NUMBER\(\d+\) GENERATED BY DEFAULT AS IDENTITY \(.* ORDER\)", script)


@pytest.mark.parametrize(
    "module",
    [
        "pandaserver.taskbuffer.schema.version",
        "pandaserver.taskbuffer.TaskBuffer",
        "pandaserver.taskbuffer.dbchild",
        "pandaserver.daemons.worker",
        "pandaserver.server.panda",
        "pandaserver.admin.main",
    ],
)
def test_only_the_schema_command_pays_for_sqlalchemy(module: str) -> None:
    program = f"import sys, {module}; sys.exit('sqlalchemy' in sys.modules or 'alembic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, timeout=60, check=False).returncode == 0
