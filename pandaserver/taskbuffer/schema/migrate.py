"""Applying revisions, on a database or as text for a DBA. Alembic runs without a configuration file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from io import StringIO
from pathlib import Path
from typing import Any, Final

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import Script, ScriptDirectory
from sqlalchemy import URL, text

from pandaserver.srvcore.errors import BadRequest, Busy
from pandaserver.taskbuffer.connection_settings import ConnectionSettings
from pandaserver.taskbuffer.schema.create import create_schemas, schema_statements
from pandaserver.taskbuffer.schema.engine import engine_of, schema_names
from pandaserver.taskbuffer.schema.steps import REVISION_TABLE

Version = tuple[int, int, int]

#: Backends for which ``upgrade_sql`` writes, and SQLAlchemy's name of each. SQLite is upgraded online only.
WRITTEN_FOR: Final = {"postgres": "postgresql", "mysql": "mysql", "mariadb": "mariadb", "oracle": "oracle"}

#: Machines that start together upgrade one after another; SQLite holds its write lock already.
_ALONE: Final = {
    "postgresql": "SELECT pg_advisory_xact_lock(hashtext('panda schema'))",
    "mysql": "SELECT GET_LOCK('panda schema', 600)",
}

_HERE: Final = Path(__file__).parent


def upgrade(connection: ConnectionSettings, main_vo: str) -> None:
    """Bring a database to the newest revision. An empty one gets everything, seed rows for ``main_vo`` included."""
    names = schema_names(connection.backend, connection.schemas)
    with engine_of(connection).begin() as database:
        if database.dialect.name in _ALONE and database.execute(text(_ALONE[database.dialect.name])).scalar() == 0:
            raise Busy(f"another machine is upgrading the schema of {connection.name}")
        create_schemas(database, connection)
        _run(names, main_vo, connection=database)


def upgrade_sql(backend: str, schemas: Mapping[str, str], main_vo: str, since: Version | None = None) -> str:
    """Return what ``upgrade`` would do to a database of version ``since``, or to an empty one, as a script."""
    dialect = WRITTEN_FOR[backend]
    names = schema_names("mysql" if backend == "mariadb" else backend, dict(schemas))
    script = StringIO()
    if since is None:
        script.writelines(f"{statement};\n\n" for statement in schema_statements(dialect, names))
    _run(
        names,
        main_vo,
        url=URL.create(dialect),
        as_sql=True,
        since=_revision_of(since) if since else None,
        output_buffer=script,
        dialect_opts={"paramstyle": "named"},
    )
    if backend != "postgres":  # there the script is one transaction already
        script.write("COMMIT\n\n/\n" if backend == "oracle" else "COMMIT;\n")
    return script.getvalue()


def revisions() -> list[Script]:
    """Return all revisions, the first one first."""
    return list(reversed(list(_directory().walk_revisions())))


def _revision_of(version: Version) -> str:
    for script in reversed(revisions()):
        if version == script.module.VERSION:
            return script.revision
    known = ", ".join(".".join(map(str, script.module.VERSION)) for script in revisions())
    raise BadRequest(f"no revision makes schema version {'.'.join(map(str, version))}; known are {known}")


def _run(
    names: Mapping[str, str | None], main_vo: str, as_sql: bool = False, since: str | None = None, **how: Any
) -> None:
    directory = _directory()
    how |= {"version_table": REVISION_TABLE, "version_table_schema": names["ATLAS_PANDA"]}

    def steps(current: Any, _context: MigrationContext) -> Iterable[Any]:
        return directory._upgrade_revs("head", current)

    with EnvironmentContext(Config(), directory, fn=steps, as_sql=as_sql, starting_rev=since) as environment:
        environment.configure(schema_names=names, main_vo=main_vo, literal_binds=as_sql, **how)
        if as_sql:  # a script has nowhere to put what RETURNING returns
            environment.get_context().dialect.insert_returning = False
        with environment.begin_transaction():
            environment.run_migrations()


def _directory() -> ScriptDirectory:
    return ScriptDirectory(str(_HERE), version_locations=[str(_HERE / "versions")])
