"""The words in which tables are declared: each column once, with its meaning, for four backends.

Names are written in the spelling of the field and created in lower case, so ``jobsActive4.c.PandaID`` is the column
``pandaid``. Types and defaults that backends spell differently are settled here and nowhere else. Revisions use the
same words, so what a word means never changes: a new need gets a new word.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Identity,
    Index,
    Integer,
    MetaData,
    Numeric,
    PrimaryKeyConstraint,
    Sequence,
    String,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.schema import SchemaItem
from sqlalchemy.types import TIMESTAMP, TypeEngine

#: Every table and sequence of the server. Schemas are the canonical prefixes, translated when a statement is made.
metadata: Final = MetaData()

BIGINT: Final = BigInteger()
INTEGER: Final = Integer()
#: Counts upwards in SQLite only if it is spelled INTEGER.
COUNTED: Final = BigInteger().with_variant(Integer(), "sqlite")
#: Large text without a limit that anybody meets.
CLOB: Final = Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")
#: Naive UTC with microseconds.
TIME: Final = TIMESTAMP().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")

#: Names and values compare by their bytes, as they do on the other backends.
_MYSQL_OPTIONS: Final = {
    f"{prefix}_{option}": value
    for prefix in ("mysql", "mariadb")
    for option, value in (("engine", "InnoDB"), ("default_charset", "utf8mb4"), ("collate", "utf8mb4_bin"))
}


class Instant(ColumnElement[Any]):
    """A default of a time column that each backend spells its own way: ``EPOCH`` or ``NOW_UTC``."""

    inherit_cache = True

    def __init__(self, name: str) -> None:
        self.name = name


EPOCH: Final = Instant("EPOCH")
NOW_UTC: Final = Instant("NOW_UTC")

#: SQLite keeps text of one fixed width; its clock knows milliseconds.
_INSTANTS: Final[dict[str, dict[str, str]]] = {
    "EPOCH": {
        "sqlite": "'1970-01-01 00:00:00.000000'",
        "mysql": "'1970-01-01 00:00:00.000000'",
        "postgresql": "TIMESTAMP '1970-01-01 00:00:00'",
        "oracle": "TIMESTAMP '1970-01-01 00:00:00'",
    },
    "NOW_UTC": {
        "sqlite": "(strftime('%Y-%m-%d %H:%M:%f000', 'now'))",
        "mysql": "(utc_timestamp(6))",
        "postgresql": "timezone('UTC', CURRENT_TIMESTAMP)",
        "oracle": "SYS_EXTRACT_UTC(SYSTIMESTAMP)",
    },
}


@compiles(Instant)
def _compile_instant(element: Instant, compiler: Any, **_: Any) -> str:
    name = compiler.dialect.name
    return _INSTANTS[element.name]["mysql" if name == "mariadb" else name]


def table(name: str, meaning: str, *items: SchemaItem, into: MetaData = metadata, **options: Any) -> Table:
    """Declare a table under its canonical name, such as ``ATLAS_PANDA.jobsActive4``, with its columns and indexes."""
    schema, spelling = name.split(".")
    key = [item.key for item in items if isinstance(item, Column) and item.info.get("key")]
    constraint = [PrimaryKeyConstraint(*key, name=f"pk_{spelling.lower()}")] if key else []
    info = {"spelling": spelling, "meaning": meaning}
    where = _schema(schema, into)
    return Table(spelling.lower(), into, *items, *constraint, schema=where, info=info, **{**_MYSQL_OPTIONS, **options})


def big(name: str, meaning: str = "", **options: Any) -> Column[Any]:
    """A number of eight bytes."""
    return _column(name, BIGINT, meaning, **options)


def number(name: str, meaning: str = "", **options: Any) -> Column[Any]:
    """A number of four bytes."""
    return _column(name, INTEGER, meaning, **options)


def decimal(name: str, precision: int, scale: int, meaning: str = "", **options: Any) -> Column[Any]:
    """A number with digits after the point."""
    return _column(name, Numeric(precision, scale), meaning, **options)


def word(name: str, length: int, meaning: str = "", **options: Any) -> Column[Any]:
    """A text of at most ``length`` characters."""
    return _column(name, String(length), meaning, **options)


def flag(name: str, meaning: str = "", **options: Any) -> Column[Any]:
    """One character, Y or N; NULL means N."""
    return _column(name, String(1), meaning, **options)


def clob(name: str, meaning: str = "", **options: Any) -> Column[Any]:
    """A text without limit; JSON is kept as such."""
    return _column(name, CLOB, meaning, **options)


def time(name: str, meaning: str = "", **options: Any) -> Column[Any]:
    """A moment: naive UTC with microseconds."""
    return _column(name, TIME, meaning, **options)


def counted(name: str, meaning: str = "") -> Column[Any]:
    """A key that the database draws at insert: unique, and rising on all instances of an Oracle cluster, too."""
    identity = Identity(start=1, oracle_order=True)
    return _column(name, COUNTED, meaning, key=True, identity=identity)


def _column(
    name: str,
    type_: TypeEngine[Any],
    meaning: str,
    *,
    key: bool = False,
    required: bool = False,
    default: int | str | Instant | None = None,
    identity: Identity | None = None,
) -> Column[Any]:
    return Column(
        name.lower(),
        type_,
        *([identity] if identity else []),
        key=name,
        nullable=not (key or required),
        autoincrement=identity is not None,
        server_default=_default(default),
        doc=meaning,
        info={"key": key},
    )


def _default(value: int | str | Instant | None) -> Any:
    if value is None or isinstance(value, str):
        return value
    return text(str(value)) if isinstance(value, int) else value


def check(name: str, condition: str) -> CheckConstraint:
    """A condition that every row meets. It has a name, so that the error of a violation can be understood."""
    return CheckConstraint(condition, name=name)


def index(name: str, *columns: str, on: tuple[str, ...] = (), where: str | None = None, unique: bool = False) -> Index:
    """An index that one of our statements uses; ``DESC`` may follow a column.

    ``on`` limits it to some backends, ``where`` makes it partial where the backend can do that. A statement uses a
    partial index only if it repeats the condition literally: a bind in its place hides it from the planner.
    """
    parts = [text(column.lower()) if " " in column else column for column in columns]
    condition: dict[str, Any] = {"postgresql_where": text(where), "sqlite_where": text(where)} if where else {}
    made = Index(name, *parts, unique=unique, info={"columns": columns, "on": on, "where": where}, **condition)
    return made.ddl_if(callable_=lambda *_, dialect, **__: dialect.name in on) if on else made


def indexes_for(table: Table, dialect: str) -> list[Index]:
    """Return the indexes that this backend gets."""
    wanted = [i for i in table.indexes if not i.info["on"] or dialect in i.info["on"]]
    return sorted(wanted, key=lambda i: str(i.name))


def sequence(name: str, *, into: MetaData = metadata, **options: Any) -> Sequence:
    """Declare a sequence under its canonical name, such as ``ATLAS_PANDA.JOBSDEFINED4_PANDAID_SEQ``."""
    schema, spelling = name.split(".")
    made = Sequence(spelling.lower(), start=1, increment=1, schema=_schema(schema, into), metadata=into, **options)
    made.info["spelling"] = spelling
    into.info.setdefault("sequences", []).append(made)
    return made


def sequences_of(declared: MetaData) -> list[Sequence]:
    """Return the sequences among these declarations."""
    return list(declared.info.get("sequences", ()))


def _schema(prefix: str, into: MetaData) -> str | None:
    """Return the name in this database for a revision; elsewhere a prefix is translated when a statement is made."""
    names: dict[str, str | None] = into.info.get("schemas", {prefix: prefix})
    return names[prefix]
