"""Whether a database is what this code needs: its version, and every table, column, index and CHECK by name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import CheckConstraint, Connection, Inspector, String, Table, inspect, select
from sqlalchemy.exc import DBAPIError

from pandaserver.srvcore.errors import Unavailable
from pandaserver.taskbuffer.connection_settings import ConnectionSettings
from pandaserver.taskbuffer.schema import tables
from pandaserver.taskbuffer.schema.create import declared_tables
from pandaserver.taskbuffer.schema.declare import indexes_for
from pandaserver.taskbuffer.schema.engine import engine_of, schema_names
from pandaserver.taskbuffer.schema.version import COMPONENT, REQUIRED

Version = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class SchemaState:
    """What stands in a database."""

    version: Version | None  # None: nothing of ours
    differences: tuple[str, ...] = ()  # what is missing or too narrow; what a site added does not count

    @property
    def is_usable(self) -> bool:
        """Tell whether this code can work on it."""
        return self.version is not None and self.version >= REQUIRED and not self.differences


def state_of(connection: ConnectionSettings) -> SchemaState:
    """Look at a database. Raises Unavailable if that is not possible."""
    names = schema_names(connection.backend, connection.schemas)
    try:
        with engine_of(connection).connect() as database:
            inspector = inspect(database)
            if not inspector.has_table("pandadb_version", schema=names["ATLAS_PANDA"]):
                return SchemaState(None)
            return SchemaState(_version(database), tuple(_differences(database, inspector, names)))
    except DBAPIError as error:
        raise Unavailable(f"cannot look at the schema of {connection.name}: {error.orig}") from error


def _version(database: Connection) -> Version | None:
    table = tables.admin.PandaDB_Version
    row = database.execute(
        select(table.c.major, table.c.minor, table.c.patch).where(table.c.component == COMPONENT)
    ).one_or_none()
    return None if row is None else (row[0], row[1], row[2])


def _differences(database: Connection, inspector: Inspector, names: dict[str, str | None]) -> Iterator[str]:
    for table in declared_tables(database):
        where, name = names[table.schema or ""], f"{table.schema}.{table.info['spelling']}"
        if not inspector.has_table(table.name, schema=where):
            yield f"table {name} is missing"
            continue
        yield from _column_differences(table, name, inspector.get_columns(table.name, schema=where))
        indexes = {str(index["name"]) for index in inspector.get_indexes(table.name, schema=where)}
        for wanted in indexes_for(table, database.dialect.name):
            if str(wanted.name) not in indexes:
                yield f"index {wanted.name} of {name} is missing"
        checks = {str(check["name"]) for check in inspector.get_check_constraints(table.name, schema=where)}
        for constraint in table.constraints:
            if isinstance(constraint, CheckConstraint) and str(constraint.name) not in checks:
                yield f"check {constraint.name} of {name} is missing"


def _column_differences(table: Table, name: str, found: list[Any]) -> Iterator[str]:
    types = {column["name"].lower(): column["type"] for column in found}
    for column in table.columns:
        if column.name not in types:
            yield f"column {column.key} of {name} is missing"
        elif isinstance(column.type, String) and column.type.length:
            length = getattr(types[column.name], "length", None)
            if length is not None and length < column.type.length:
                yield f"column {column.key} of {name} takes {length} characters, {column.type.length} are needed"
