"""Writes the first revision from the declarations: ``python -m pandaserver.taskbuffer.schema.freeze``.

The first revision follows the declarations until there is a first release; from then on it never changes, each change
of the declarations comes with a revision of its own, and this module goes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from sqlalchemy import CheckConstraint, Column, MetaData, Numeric, String, Table
from sqlalchemy.sql.schema import ColumnDefault, DefaultClause

from pandaserver.taskbuffer.schema import metadata
from pandaserver.taskbuffer.schema.declare import BIGINT, CLOB, COUNTED, INTEGER, TIME, Instant, sequences_of
from pandaserver.taskbuffer.schema.seeds import seed_rows
from pandaserver.taskbuffer.schema.version import REQUIRED

TARGET: Final = Path(__file__).parent / "versions" / "r0001_first.py"

_MARK: Final = "<own VO>"

_WORDS: Final[dict[int, str]] = {
    id(BIGINT): "big",
    id(INTEGER): "number",
    id(CLOB): "clob",
    id(TIME): "time",
    id(COUNTED): "counted",
}

_HEAD: Final = '''# ruff: noqa: E501  conditions stand here as the catalogue shows them
"""Everything that the first release has. Written by freeze.py; later changes are revisions of their own."""

from __future__ import annotations

from sqlalchemy import MetaData

from pandaserver.taskbuffer.schema import steps
from pandaserver.taskbuffer.schema.declare import (
    EPOCH,
    NOW_UTC,
    big,
    check,
    clob,
    counted,
    decimal,
    index,
    number,
    sequence,
    table,
    time,
    word,
)

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

#: What PandaDB_Version says of a database at this revision.
VERSION = {version!r}


def upgrade() -> None:
    """Create everything on a database that has nothing of ours."""
    tables = steps.declarations()
    _declare(tables)
    steps.create(tables)
    _sow(tables)


def _declare(into: MetaData) -> None:
'''


def first_revision(declared: MetaData = metadata) -> str:
    """Return the text of the first revision."""
    body = [*_sequences(declared), *(line for table in _by_name(declared) for line in _table(table)), *_seeds()]
    return _HEAD.replace("{version!r}", repr(REQUIRED)) + "\n".join(body) + "\n"


def _by_name(declared: MetaData) -> list[Table]:
    return sorted(declared.tables.values(), key=lambda table: str(table.key))


def _sequences(declared: MetaData) -> Iterator[str]:
    for sequence in sequences_of(declared):
        options = {"cache": sequence.cache, "maxvalue": sequence.maxvalue, "cycle": sequence.cycle}
        yield f"    sequence({_canonical(sequence)!r}{_options(options)}, into=into)"


def _table(table: Table) -> Iterator[str]:
    yield f'    table({_canonical(table)!r}, "",'
    yield from (f"        {_column(column)}," for column in table.columns)
    for constraint in sorted(table.constraints, key=lambda c: str(c.name)):
        if isinstance(constraint, CheckConstraint):
            yield f"        check({constraint.name!r}, {str(constraint.sqltext)!r}),"
    for index in sorted(table.indexes, key=lambda i: str(i.name)):
        info = index.info
        columns = ", ".join(repr(str(column)) for column in info["columns"])
        where = str(info["where"]) if info["where"] else None
        options = {"on": info["on"] or None, "where": where, "unique": index.unique or None}
        yield f"        index({str(index.name)!r}, {columns}{_options(options)}),"
    kept = {"sqlite_autoincrement": table.dialect_options["sqlite"]["autoincrement"] or None}
    kept["postgresql_with"] = table.dialect_options["postgresql"]["with"]
    yield f"        into=into{_options(kept)},"
    yield "    )"


def _column(column: Column[Any]) -> str:
    word = _WORDS.get(id(column.type))
    arguments: list[Any] = [column.key]
    if isinstance(column.type, String) and word is None:
        word = "word"
        arguments.append(column.type.length)
    elif isinstance(column.type, Numeric):
        word = "decimal"
        arguments += [column.type.precision, column.type.scale]
    if word == "counted":
        return f"counted({column.key!r})"
    key = bool(column.info["key"])
    options = {"key": key or None, "required": (not key and not column.nullable) or None}
    default = _default(column.server_default)
    shown = f", default={default}" if default else ""
    return f"{word}({', '.join(map(repr, arguments))}{_options(options)}{shown})"


def _default(default: Any) -> str | None:
    if not isinstance(default, DefaultClause | ColumnDefault):
        return None
    argument = default.arg
    if isinstance(argument, Instant):
        return argument.name
    return repr(str(argument)) if isinstance(argument, str) else str(argument)


def _seeds() -> Iterator[str]:
    yield "\n\ndef _sow(tables: MetaData) -> None:"
    yield '    named = {table.info["spelling"]: table for table in tables.sorted_tables}'
    yield "    vo = steps.main_vo()"
    for name, rows in seed_rows(_MARK).items():
        listed = ", ".join(repr(row) for row in rows).replace(repr(_MARK), "vo")
        yield f"    steps.sow(named[{name.split('.')[1]!r}], [{listed}])"
    yield "    steps.sow_counters(tables)"


def _canonical(item: Any) -> str:
    return f"{item.schema}.{item.info['spelling']}"


def _options(options: dict[str, Any]) -> str:
    return "".join(f", {name}={value!r}" for name, value in options.items() if value is not None)


if __name__ == "__main__":
    TARGET.write_text(first_revision())
