"""What a revision does, in a form that can be run again.

PostgreSQL and SQLite change a schema inside a transaction. MySQL and Oracle commit at every DDL statement, so a
revision that stopped half way is simply run again: there each step says "if it is not there yet".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from alembic import op
from sqlalchemy import MetaData, Select, Table, cast, literal, null, select, union_all
from sqlalchemy import text as raw
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.schema import CreateIndex, CreateSequence, CreateTable, ExecutableDDLElement
from sqlalchemy.sql.expression import ColumnElement
from sqlalchemy.types import TypeEngine

from pandaserver.taskbuffer.schema.declare import indexes_for, sequences_of
from pandaserver.taskbuffer.schema.engine import has_sequences
from pandaserver.taskbuffer.schema.version import COMPONENT

#: Table in which Alembic notes the revision of a database.
REVISION_TABLE: Final = "panda_schema_revision"

_MYSQL: Final = ("mysql", "mariadb")

#: Oracle's "name is already used by an existing object" and "such column list already indexed".
_ALREADY_THERE: Final = "-955, -1408"


def declarations() -> MetaData:
    """Return an empty collection for the tables of a revision, whose schemas have the names that this database has."""
    return MetaData(info={"schemas": op.get_context().opts["schema_names"]})


def main_vo() -> str:
    """Return the VO whose rows a new database gets."""
    vo: str = op.get_context().opts["main_vo"]
    return vo


def create(tables: MetaData) -> None:
    """Create sequences and tables with their indexes; the counters of own.py only where there are no sequences."""
    counted_by_server = has_sequences(op.get_context().dialect)
    if counted_by_server:
        for sequence in sequences_of(tables):
            _run(CreateSequence(sequence, if_not_exists=_name() in _MYSQL))
    for table in tables.sorted_tables:
        if not (counted_by_server and table.name == "panda_sequences"):
            create_table(table)


def create_table(table: Table) -> None:
    """Create a table with the indexes that this backend gets."""
    indexes = [CreateIndex(index) for index in indexes_for(table, _name())]
    if _name() in _MYSQL:
        # One statement, because CREATE INDEX cannot be told to pass over an index that is there.
        op.execute(raw(_with_keys(_compiled(CreateTable(table, if_not_exists=True)), map(_compiled, indexes))))
        return
    _run(CreateTable(table))
    for index in indexes:
        _run(index)


def sow(table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows into a table that is empty, in one statement; a table with rows keeps them as they are."""
    columns = [column for column in table.columns if column.key in rows[0]]
    new = union_all(*(_one_row(row, columns) for row in rows)).subquery("new_rows")
    if_empty = ~select(literal(1)).select_from(table).exists()
    op.execute(table.insert().from_select([c.key for c in columns], select(new).where(if_empty)))


def sow_counters(tables: MetaData) -> None:
    """Insert a counter for each sequence, where the server has none."""
    if has_sequences(op.get_context().dialect):
        return
    counters = next(table for table in tables.sorted_tables if table.name == "panda_sequences")
    sow(counters, [{"name": s.name, "value": 0} for s in sequences_of(tables)])


def set_version(tables: MetaData, version: tuple[int, int, int]) -> None:
    """Note in the database that it has that version; the last step of a revision."""
    table = next(t for t in tables.sorted_tables if t.name == "pandadb_version")
    major, minor, patch = version
    op.execute(table.update().where(table.c.component == COMPONENT).values(major=major, minor=minor, patch=patch))


def _one_row(row: Mapping[str, Any], columns: Sequence[ColumnElement[Any]]) -> Select[Any]:
    return select(*(_value(row[str(c.key)], c.type).label(str(c.name)) for c in columns))


def _value(value: Any, type_: TypeEngine[Any]) -> ColumnElement[Any]:
    """A NULL says its type: alone it would be text."""
    return cast(null(), type_) if value is None else literal(value, type_)


def _run(element: ExecutableDDLElement) -> None:
    if _name() == "oracle":
        op.execute(raw(_unless_there(_compiled(element))))
    else:
        op.execute(element)


def _name() -> str:
    return op.get_context().dialect.name


def _compiled(element: ExecutableDDLElement) -> str:
    return str(element.compile(dialect=op.get_context().dialect)).strip()


def _with_keys(create: str, indexes: Any) -> str:
    """Move indexes into the statement that creates their table."""
    keys = [re.sub(r"^CREATE (UNIQUE )?INDEX (\S+) ON \S+ (?=\()", r"\1KEY \2 ", index) for index in indexes]
    head, options = create.rsplit("\n)", 1)
    return ",\n\t".join([head.rstrip(), *keys]) + "\n)" + options


def _unless_there(statement: str) -> str:
    quoted = statement.replace("'", "''")
    return (
        f"BEGIN EXECUTE IMMEDIATE '{quoted}';\n"
        f"EXCEPTION WHEN OTHERS THEN IF SQLCODE NOT IN ({_ALREADY_THERE}) THEN RAISE; END IF; END;"
    )


@compiles(CreateTable, "mysql", "mariadb", "oracle")
def _create_again(element: CreateTable, compiler: Any, **options: Any) -> str:
    """Let Alembic create its own table in the same way."""
    if element.element.name != REVISION_TABLE:
        return str(compiler.visit_create_table(element, **options))
    if compiler.dialect.name == "oracle":
        return _unless_there(compiler.visit_create_table(element, **options).strip())
    element.if_not_exists = True
    return str(compiler.visit_create_table(element, **options))
