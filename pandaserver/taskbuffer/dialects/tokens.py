"""Canonical SQL as tokens, so that strings, comments and quoted identifiers are never mistaken for code."""

from __future__ import annotations

import re
from enum import Enum
from typing import Final, NamedTuple


class SqlRefused(ValueError):
    """A statement is outside the canonical subset; the message says what to write instead."""


class Kind(Enum):
    """What a token is."""

    NAME = "name"  # keywords too
    STRING = "string"
    QUOTED = "quoted"
    BIND = "bind"  # :name
    LIST = "list"  # :name[]
    NUMBER = "number"
    OPERATOR = "operator"
    END = "end"


class Token(NamedTuple):
    """One token and the blanks and comments in front of it."""

    kind: Kind
    text: str
    before: str
    word: str  # upper case of a name, the text of an operator, "" of everything else

    @property
    def bind(self) -> str:
        """Name of the bind that this token stands for."""
        return self.text.removeprefix(":").removesuffix("[]")


_SPACE: Final = re.compile(r"(?:\s+|--[^\n]*|/\*.*?\*/)+", re.DOTALL)
_TOKEN: Final = re.compile(
    r"""
      (?P<string>'(?:[^']|'')*')
    | (?P<quoted>"(?:[^"]|"")+")
    | (?P<list>:[A-Za-z_]\w*\[\])
    | (?P<bind>:[A-Za-z_]\w*)
    | (?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?(?!\w))
    | (?P<name>[A-Za-z_]\w*)
    | (?P<operator><=|>=|<>|!=|\|\||[-+*/%=<>(),.])
    """,
    re.VERBOSE | re.ASCII,
)
_COMMENT: Final = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)


def tokenise(sql: str) -> list[Token]:
    """Split a statement; the last token is END and carries what follows the statement."""
    tokens: list[Token] = []
    position = 0
    while True:
        space = _SPACE.match(sql, position)
        before = space.group() if space else ""
        position += len(before)
        _check_comments(before, sql)
        if position == len(sql):
            tokens.append(Token(Kind.END, "", before, ""))
            return tokens
        found = _TOKEN.match(sql, position)
        if found is None:
            raise SqlRefused(_unreadable(sql, position))
        text = found.group()
        kind = Kind(found.lastgroup)
        if kind is Kind.STRING and not before and tokens and tokens[-1].kind is Kind.NAME:
            raise SqlRefused(f"{tokens[-1].text}{text}: a prefixed string; write a bind instead: {sql}")
        word = text.upper() if kind is Kind.NAME else text if kind is Kind.OPERATOR else ""
        tokens.append(Token(kind, text, before, word))
        position = found.end()


def _check_comments(before: str, sql: str) -> None:
    """Refuse comments that MySQL executes or takes for an expression, and those that PostgreSQL nests."""
    for found in _COMMENT.finditer(before):
        comment = found.group()
        odd = comment[2:3].strip() if comment.startswith("--") else comment.startswith("/*!") or "/*" in comment[2:]
        if odd:
            raise SqlRefused(f"backends read {comment!r} differently; write '-- ' or a plain comment: {sql}")


def _unreadable(sql: str, position: int) -> str:
    rest = sql[position : position + 20]
    if rest.startswith("::"):
        return f"'::' is PostgreSQL only; convert in Python: {sql}"
    if rest.startswith(";"):
        return f"';' found; write one statement a call: {sql}"
    if rest[0] in "'\"" or rest.startswith("/*"):
        return f"what begins at {rest!r} never ends: {sql}"
    if rest[0] in "?%$@":
        return f"{rest!r} found; write binds as :name: {sql}"
    return f"{rest!r} is not canonical SQL: {sql}"
