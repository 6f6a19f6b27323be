"""Compiling touches code only: strings, comments and quoted names arrive as they were written, binds survive."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from pandaserver.taskbuffer.connection_settings import ConnectionSettings
from pandaserver.taskbuffer.dialects import dialect_for
from pandaserver.taskbuffer.dialects.outgoing import Outgoing
from pandaserver.taskbuffer.dialects.statement import Gap
from pandaserver.taskbuffer.dialects.tokens import tokenise

DIALECTS = [dialect_for(ConnectionSettings(backend, "panda")) for backend in ("sqlite", "postgres", "mysql", "oracle")]

#: Text that looks like code: it must not matter where it stands.
TRAPS = [
    "SYSDATE",
    ":id",
    ":ids[]",
    "%",
    "%s",
    "%(x)s",
    "LIMIT 3",
    "ATLAS_PANDA.x",
    ";",
    "?",
    "''",
    "KEY",
    "\\",
    "é",
    "'",
    '"',
]
inner = st.lists(
    st.sampled_from(TRAPS) | st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5)
).map(" ".join)

strings = inner.map(lambda text: "'x" + text.replace("'", "''") + "'")
quoted = inner.map(lambda text: '"x' + text.replace('"', '""') + '"')
blocks = inner.map(lambda text: "/* " + re.sub(r"[*/]", "", text) + " */")
lines = inner.map(lambda text: "-- " + re.sub(r"[\r\n]", " ", text) + "\n")
blanks = st.sampled_from([" ", "\n", "\t", "  "])
gaps = st.lists(blanks | blocks | lines, max_size=3).map(lambda parts: " " + "".join(parts))
names = st.from_regex(r"[a-z](_?[a-z0-9])*", fullmatch=True).filter(lambda name: len(name) < 20)

conditions = st.one_of(
    st.tuples(st.just("a ="), gaps, strings).map("".join),
    st.tuples(quoted, gaps, st.just("="), gaps, names.map(":v{}".format)).map("".join),
    st.tuples(st.just("a NOT"), gaps, st.just("IN"), gaps, names.map("(:list_{}[])".format)).map("".join),
    st.tuples(st.just("t < CURRENT_TIMESTAMP"), gaps, st.just("- :v"), names, gaps, st.just("* INTERVAL '1' HOUR")).map(
        "".join
    ),
    st.tuples(st.just("a LIKE"), gaps, strings).map("".join),
)
queries = st.lists(st.tuples(gaps, conditions, gaps).map("".join), min_size=1, max_size=5).map(
    lambda parts: f"SELECT a FROM ATLAS_PANDA.Config WHERE{' AND'.join(parts)} FETCH FIRST 3 ROWS ONLY"
)


def literals(sql: str) -> list[str]:
    """Strings and quoted names, those of our own spelling left out."""
    return [t.text for t in tokenise(sql) if t.text.startswith(("'x", '"x'))]


def comments(sql: str) -> list[str]:
    return [c for t in tokenise(sql) for c in re.findall(r"-- [^\n]*|/\* .*?\*/", t.before, re.DOTALL)]


def binds(sql: str) -> tuple[set[str], set[str]]:
    tokens = [t for t in tokenise(sql) if t.kind.value in ("bind", "list")]
    return {t.bind for t in tokens if t.kind.value == "bind"}, {t.bind for t in tokens if t.kind.value == "list"}


def as_sent(backend: str, text: str, values: dict[str, object]) -> str:
    """What the server reads: psycopg2 and mysqlclient put the values into the text."""
    return text % dict.fromkeys(values, "0") if backend in ("postgres", "mysql") else text


@given(queries)
def test_compiling_leaves_strings_comments_and_quoted_names_alone(sql: str) -> None:
    scalars, lists = binds(sql)
    values = {name: [1, 2] if name in lists else 1 for name in scalars | lists}
    for dialect in DIALECTS:
        statement = dialect.statement(sql)
        sent = as_sent(dialect.backend, *dialect.bound(statement, values, Outgoing(time=str)))
        assert literals(sent) == literals(sql)
        assert sorted(comments(sent)) == sorted(comments(sql))


@given(queries)
def test_every_bind_survives(sql: str) -> None:
    scalars, lists = binds(sql)
    for dialect in DIALECTS:
        statement = dialect.statement(sql)
        assert set(statement.binds) == scalars
        assert set(statement.lists) == lists
        for name in scalars - {instant.amount for instant in statement.instants}:
            assert dialect.bind(name) in statement.text
        gap_names = {part.bind for part in statement.parts if isinstance(part, Gap)}
        assert all(name in gap_names or f"%({name})s" in statement.text for name in lists)


@given(inner)
def test_tokens_are_the_whole_text(text: str) -> None:
    sql = f"SELECT a FROM ATLAS_PANDA.Config WHERE b = 'x{text.replace(chr(39), chr(39) * 2)}' -- end"
    assert "".join(t.before + t.text for t in tokenise(sql)) == sql
