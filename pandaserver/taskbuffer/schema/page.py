"""The schema page of the documentation, from the declarations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from sqlalchemy import CheckConstraint, Column, Index, MetaData, Numeric, String, Table

from pandaserver.taskbuffer.schema import metadata
from pandaserver.taskbuffer.schema.declare import BIGINT, CLOB, COUNTED, INTEGER, TIME, Instant, sequences_of
from pandaserver.taskbuffer.schema.optional_indexes import OPTIONAL_INDEXES
from pandaserver.taskbuffer.schema.version import COMPONENT, REQUIRED

_TYPES: Final[dict[int, str]] = {
    id(BIGINT): "number, 8 bytes",
    id(INTEGER): "number, 4 bytes",
    id(CLOB): "text without limit",
    id(TIME): "time",
    id(COUNTED): "number, drawn at insert",
}

_HEAD: Final = """# Database schema

Generated from the declarations by `make docs`. Version {version}, row `{component}` of `PandaDB_Version`.

`panda-admin schema create` makes everything on an empty database, `upgrade` brings an older one to this version,
`check` compares (exit code 0: usable, 1: too old or different, 2: unreachable). `--sql` prints the statements for a
DBA (`--backend postgres`, `mysql`, `mariadb` or `oracle`, and `--since` the version that stands). SQLite is upgraded
online only. A server whose code needs a newer schema refuses every call and names both versions.

Names are written here in the spelling of the field; databases fold them (PostgreSQL, MySQL and SQLite: lower case,
Oracle: upper case). Prefixes such as `ATLAS_PANDA` are mapped by the settings `schemaPANDA`, `schemaPANDAARCH`,
`schemaMETA` and `schemaDEFT`; SQLite has no schemas. Times are naive UTC with microseconds; `EPOCH` is
1970-01-01 00:00:00. An empty text is stored as NULL. There are no foreign keys: each operation guards its own.
"""


def schema_page(declared: MetaData = metadata) -> str:
    """Return the text of docs/schema.md."""
    tables = sorted(declared.tables.values(), key=lambda t: (str(t.schema), str(t.info["spelling"]).lower()))
    lines = [_HEAD.format(version=".".join(map(str, REQUIRED)), component=COMPONENT)]
    for table in tables:
        lines += _table(table)
    lines += _sequences(declared)
    lines += _optional()
    return "\n".join(lines) + "\n"


def _table(table: Table) -> Iterator[str]:
    yield f"## {table.schema}.{table.info['spelling']}\n\n{table.info['meaning']}\n"
    yield "| column | type | | default | meaning |\n|---|---|---|---|---|"
    for column in table.columns:
        role = "key" if column.info["key"] else "" if column.nullable else "required"
        yield f"| {column.key} | {_type(column)} | {role} | {_default(column)} | {_cell(column.doc or '')} |"
    yield ""
    for constraint in sorted(table.constraints, key=lambda c: str(c.name)):
        if isinstance(constraint, CheckConstraint):
            yield f"CHECK `{constraint.name}`: `{constraint.sqltext}`\n"
    if table.indexes:
        yield "| index | columns | backends |\n|---|---|---|"
        yield from (_index(index) for index in sorted(table.indexes, key=lambda i: str(i.name)))
        yield ""


def _index(index: Index) -> str:
    columns = ", ".join(index.info["columns"])
    where = f" where `{index.info['where']}`" if index.info["where"] else ""
    unique = "unique: " if index.unique else ""
    return f"| {index.name} | {unique}{columns}{where} | {', '.join(index.info['on']) or 'all'} |"


def _type(column: Column[Any]) -> str:
    if id(column.type) in _TYPES:
        return _TYPES[id(column.type)]
    if isinstance(column.type, Numeric):
        return f"decimal({column.type.precision}, {column.type.scale})"
    return f"text({column.type.length})" if isinstance(column.type, String) else str(column.type)


def _default(column: Column[Any]) -> str:
    argument = getattr(column.server_default, "arg", None)
    if argument is None:
        return ""
    return argument.name if isinstance(argument, Instant) else str(argument)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def _sequences(declared: MetaData) -> Iterator[str]:
    yield "## Sequences\n"
    yield "SQLite and MySQL, which have none, count in `panda_sequences`.\n"
    yield "| sequence | kept in hand by a session | ends |\n|---|---|---|"
    for sequence in sequences_of(declared):
        ends = f"begins again after {sequence.maxvalue}" if sequence.cycle else ""
        yield f"| {sequence.schema}.{sequence.info['spelling']} | {sequence.cache or ''} | {ends} |"
    yield ""


def _optional() -> Iterator[str]:
    yield "## Optional indexes\n"
    yield "No statement of ours uses these; create those that your monitors need. An index on a column that heartbeats"
    yield "change (`modificationTime` of `jobsActive4` above all) makes heartbeats maintain all indexes of the table.\n"
    yield "| table | index | columns |\n|---|---|---|"
    for table, indexes in OPTIONAL_INDEXES.items():
        yield from (f"| {table} | {name} | {columns} |" for name, columns in indexes.items())
