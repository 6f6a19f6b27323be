"""What can be said about an Oracle text without an Oracle: it parses, its names exist, and it avoids known refusals."""

from __future__ import annotations

import re
from functools import cache

import sqlglot
from sqlglot import exp

from pandaserver.taskbuffer import schema
from pandaserver.taskbuffer.connection_settings import ConnectionSettings
from pandaserver.taskbuffer.dialects import dialect_for
from pandaserver.taskbuffer.dialects.compiler import compile_statement

ORACLE = dialect_for(ConnectionSettings("oracle", "panda"))

#: What Oracle refuses (before release 23), as it looks in a text whose strings and comments are gone.
REFUSED = {
    "FETCH FIRST with FOR UPDATE": r"FETCH FIRST .* FOR UPDATE",
    "LIMIT": r"\bLIMIT\b",
    "a truth value": r"\b(TRUE|FALSE)\b",
    "AS before a table alias": r"\b(FROM|JOIN|UPDATE) [\w.]+ AS\b",
    "AS after a subquery": r"\) AS (?!\w+ ?[,)]|\w+ FROM\b)\w+ (ON|WHERE|LEFT|INNER|GROUP|ORDER)\b",
    "an empty string": r"''",
    "a SELECT without FROM": r"SELECT (?:(?!\bFROM\b|\bSELECT\b).)*$",
    "several rows of VALUES": r"VALUES \([^()]*(?:\([^()]*\)[^()]*)*\) ?, ?\(",
    "ON CONFLICT": r"\bON CONFLICT\b",
    "RETURNING": r"\bRETURNING\b",
    "a cast with ::": r"::",
    "a foreign placeholder": r"%s|%\(|\?",
    "an INTERVAL of PostgreSQL": r"INTERVAL '\d+ \w+'",
    "EXCEPT": r"\bEXCEPT\b",
    "an empty list": r"\bIN \( ?\)",
    "LOCALTIMESTAMP": r"\b(LOCALTIMESTAMP|UTC_TIMESTAMP|STRFTIME)\b",
}


def complaints(text: str) -> list[str]:
    """Return what Oracle would not like about a text."""
    plain = " ".join(re.sub(r"('(?:[^']|'')+')|--[^\n]*|/\*.*?\*/", _without, text, flags=re.DOTALL).split())
    found = [name for name, pattern in REFUSED.items() if re.search(pattern, plain, re.IGNORECASE)]
    found += [
        f"{len(m.split(','))} members in a list" for m in re.findall(r"IN \(([^()]*)\)", plain) if m.count(",") >= 1000
    ]
    try:
        tree = sqlglot.parse_one(re.sub(r":(\d+)", r":p\1", text), dialect="oracle")  # sqlglot takes names only
    except sqlglot.errors.ParseError as error:
        return [*found, f"sqlglot: {error}"]
    return found + unknown_names(tree)


def _without(found: re.Match[str]) -> str:
    return "'x'" if found.group(1) else " "


def unknown_names(tree: exp.Expression) -> list[str]:
    """Return tables and columns of the statement that the schema does not have."""
    known = tables()
    local = {cte.alias_or_name.upper() for cte in tree.find_all(exp.CTE)} | {"DUAL"}
    derived = {query.alias.upper() for query in tree.find_all(exp.Subquery) if query.alias}
    made = {alias.alias.upper() for alias in tree.find_all(exp.Alias)}
    aliases: dict[str, str] = {}
    wrong: list[str] = []
    for table in tree.find_all(exp.Table):
        name = f"{table.db}.{table.name}".upper() if table.db else table.name.upper()
        if name in local:
            continue
        if name not in known:
            wrong.append(f"table {name}")
            continue
        aliases[(table.alias or table.name).upper()] = name
    reachable = made.union({"LEVEL", "NEXTVAL"}, *(known[name] for name in aliases.values()))
    for column in tree.find_all(exp.Column):
        name, qualifier = column.name.upper(), column.table.upper()
        if qualifier in aliases:
            if name not in known[aliases[qualifier]]:
                wrong.append(f"column {qualifier}.{name}")
        elif qualifier and qualifier not in local | derived and name != "NEXTVAL":
            wrong.append(f"alias {qualifier}")
        elif name not in reachable:
            wrong.append(f"column {name}")
    for target in tree.find_all(exp.Schema):
        name = f"{target.this.db}.{target.this.name}".upper()
        wrong += [f"column {name}.{c.name}" for c in target.expressions if c.name.upper() not in known.get(name, ())]
    return wrong


@cache
def tables() -> dict[str, frozenset[str]]:
    """Return the columns of each table of the schema, all in upper case."""
    return {
        f"{table.schema}.{table.name}".upper(): frozenset(column.name.upper() for column in table.columns)
        for table in schema.metadata.tables.values()
    }


@cache
def check_canonical(sql: str) -> None:
    """Compile a canonical statement for Oracle and refuse what Oracle would; lists are given two members."""
    statement = compile_statement(sql, ORACLE)
    values = {name: [1, 2] if name in statement.lists else 1 for name in (*statement.binds, *statement.lists)}
    text = ORACLE.bound(statement, values, id)[0]
    found = complaints(text)
    assert not found, f"Oracle would refuse {'; '.join(found)}: {' '.join(text.split())}"
