"""A database straight from the declarations, for tests. Operators get theirs from the revisions."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import URL, Connection, Table, inspect
from sqlalchemy.schema import CreateSchema

from pandaserver.taskbuffer.connection_settings import ConnectionSettings
from pandaserver.taskbuffer.schema import seeds, tables
from pandaserver.taskbuffer.schema.declare import metadata
from pandaserver.taskbuffer.schema.engine import engine_of, has_sequences, schema_names


def create_all(connection: ConnectionSettings) -> None:
    """Create schemas, sequences, tables and seed rows on an empty database."""
    with engine_of(connection).begin() as database:
        create_schemas(database, connection)
        metadata.create_all(database, tables=declared_tables(database), checkfirst=False)
        if not has_sequences(database.dialect):
            seeds.plant_counters(database)
        seeds.plant(database)


def empty_all(connection: ConnectionSettings) -> None:
    """Remove every row that is not a seed. Sequences go on counting."""
    with engine_of(connection).begin() as database:
        for table in declared_tables(database):
            if table is not tables.own.panda_sequences:
                database.execute(table.delete())
        seeds.plant(database)


def declared_tables(database: Connection) -> list[Table]:
    """Return the tables that this server gets: the counters only where it has no sequences."""
    counters = set() if not has_sequences(database.dialect) else {tables.own.panda_sequences}
    return [table for table in metadata.sorted_tables if table not in counters]


def create_schemas(database: Connection, connection: ConnectionSettings) -> None:
    """Create the schemas that the settings name and that are missing. An Oracle schema is a user: a DBA makes it."""
    if database.dialect.name not in ("postgresql", "mysql"):
        return
    present = set(inspect(database).get_schema_names())
    for name in sorted({n for n in schema_names(connection.backend, connection.schemas).values() if n}):
        if name not in present:  # asking again needs a privilege that a mere user of the schema lacks
            database.execute(CreateSchema(name))


def schema_statements(dialect: str, names: Mapping[str, str | None]) -> list[str]:
    """Return the statements that create the schemas, for a script."""
    if dialect == "oracle":
        return []
    wanted = sorted({name for name in names.values() if name})
    compiler = URL.create(dialect).get_dialect()()
    return [str(CreateSchema(name, if_not_exists=True).compile(dialect=compiler)) for name in wanted]
