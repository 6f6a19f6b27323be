"""What the catalogue of a database says, as lines that two databases can be compared by."""

from __future__ import annotations

import re
from typing import Final

from sqlalchemy import Connection, inspect, text

from pandaserver.taskbuffer.connection_settings import ConnectionSettings
from pandaserver.taskbuffer.schema.create import declared_tables
from pandaserver.taskbuffer.schema.engine import engine_of, schema_names
from pandaserver.taskbuffer.schema.steps import REVISION_TABLE

_POSTGRES: Final = (
    """
    SELECT table_name, ordinal_position, column_name, data_type, character_maximum_length, numeric_precision,
           numeric_scale, datetime_precision, is_nullable, column_default, is_identity, identity_generation
    FROM information_schema.columns WHERE table_schema = :schema
    """,
    """
    SELECT conrelid::regclass, conname, pg_get_constraintdef(oid)
    FROM pg_constraint WHERE connamespace = CAST(:schema AS regnamespace)
    """,
    "SELECT indexdef FROM pg_indexes WHERE schemaname = :schema",
    "SELECT relname, relkind, reloptions FROM pg_class WHERE relnamespace = CAST(:schema AS regnamespace)",
    """
    SELECT sequencename, data_type, start_value, min_value, max_value, increment_by, cycle, cache_size
    FROM pg_sequences WHERE schemaname = :schema
    """,
)


def catalogue(connection: ConnectionSettings) -> list[str]:
    """Return everything that the catalogue knows about our schemas, under their canonical names."""
    names = schema_names(connection.backend, connection.schemas)
    reader = {"sqlite": _sqlite, "postgres": _postgres, "mysql": _mysql}[connection.backend]
    with engine_of(connection).connect() as database:
        lines = [
            line.replace(where or "", prefix) if where else line
            for prefix, where in names.items()
            for line in reader(database, where)
        ]
    return sorted(line for line in set(lines) if REVISION_TABLE not in line)


def all_rows(connection: ConnectionSettings) -> dict[str, list[str]]:
    """Return the rows of every table, in one order."""
    with engine_of(connection).connect() as database:
        return {
            str(table.key): sorted(str(tuple(row)) for row in database.execute(table.select()))
            for table in declared_tables(database)
        }


def drop_schemas(connection: ConnectionSettings) -> None:
    """Remove the schemas of a server with all that they hold."""
    with engine_of(connection).begin() as database:
        present = inspect(database).get_schema_names()
        for name in schema_names(connection.backend, connection.schemas).values():
            if name in present:
                cascade = "CASCADE" if connection.backend == "postgres" else ""
                database.execute(text(f"DROP SCHEMA {name} {cascade}"))


def _sqlite(database: Connection, _schema: str | None) -> list[str]:
    return [str(tuple(row)) for row in database.execute(text("SELECT name, sql FROM sqlite_master"))]


def _postgres(database: Connection, schema: str | None) -> list[str]:
    return [str(tuple(row)) for query in _POSTGRES for row in database.execute(text(query), {"schema": schema})]


def _mysql(database: Connection, schema: str | None) -> list[str]:
    tables = text("SELECT table_name FROM information_schema.tables WHERE table_schema = :schema")
    found = [row[0] for row in database.execute(tables, {"schema": schema})]
    shown = [database.execute(text(f"SHOW CREATE TABLE `{schema}`.`{name}`")).one()[1] for name in found]
    return [_without_chance(statement) for statement in shown]


def _without_chance(statement: str) -> str:
    """Leave out the counter of a table and put its indexes into one order."""
    lines = [line.rstrip(",") for line in re.sub(r" AUTO_INCREMENT=\d+", "", statement).splitlines()]
    keys = [line for line in lines if re.match(r" +(UNIQUE )?KEY", line)]
    return "\n".join([*(line for line in lines if line not in keys), *sorted(keys)])
