"""Canonical SQL to the text of one backend, by walking its tokens. What the subset lacks is refused here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NoReturn

from pandaserver.taskbuffer.connection_settings import SCHEMA_SETTINGS
from pandaserver.taskbuffer.dialects import subset
from pandaserver.taskbuffer.dialects.phrases import PHRASES
from pandaserver.taskbuffer.dialects.result_columns import result_columns
from pandaserver.taskbuffer.dialects.statement import Gap, Instant, Statement
from pandaserver.taskbuffer.dialects.tokens import Kind, SqlRefused, Token, tokenise

if TYPE_CHECKING:
    from pandaserver.taskbuffer.dialects.base import Dialect


@dataclass(slots=True)
class _Level:
    """What is known about the query or bracket that is being walked."""

    clause: str = ""
    from_seen: bool = False
    merged: str = ""  # DISTINCT, GROUP or UNION: result rows that are no table rows
    limited: bool = False


def compile_statement(sql: str, dialect: Dialect) -> Statement:
    """Return the statement for ``dialect``; raises :class:`SqlRefused` with the phrase to write instead."""
    return Walk(sql, dialect).run()


class Walk:
    """One pass over the tokens of one statement."""

    def __init__(self, sql: str, dialect: Dialect) -> None:
        self.sql = sql
        self.dialect = dialect
        self.tokens = tokenise(sql)
        self.at = 0
        self.parts: list[str | Gap] = []
        self.levels = [_Level()]
        self.binds: dict[str, None] = {}
        self.lists: dict[str, None] = {}
        self.instants: dict[str, Instant] = {}
        self.kept: list[str] = []  # comments inside a phrase; they follow it
        self.assigned: dict[str, None] = {}  # columns that this UPDATE sets, in order
        self.nowait = False
        self.expect_table = False
        self.tables = self._tables()
        self.ctes = {
            a.word
            for a, b, c in zip(self.tokens, self.tokens[1:], self.tokens[2:], strict=False)
            if (b.word, c.word) == ("AS", "(")
        }

    def run(self) -> Statement:
        first = self.tokens[0]
        if first.word not in subset.STARTS:
            self.refuse(f"a statement starts with {', '.join(sorted(subset.STARTS))}")
        while (token := self.tokens[self.at]).kind is not Kind.END:
            self.at += 1
            self._take(token)
            if self.kept:
                self.parts.append(self.dialect.verbatim("".join(self.kept)))
                self.kept.clear()
        self.put(self.tokens[-1].before, "")
        if len(self.levels) != 1:
            self.refuse("a bracket is not closed")
        if first.word in ("SELECT", "WITH") and not self.levels[0].from_seen:
            self.refuse("a query without FROM; compute the value in Python")
        columns, expressions = result_columns(self.tokens) if first.word in ("SELECT", "WITH") else ((), frozenset())
        return Statement(
            parts=_joined(self.parts),
            binds=tuple(self.binds),
            lists=tuple(self.lists),
            instants=tuple(self.instants.values()),
            columns=columns,
            expressions=expressions,
            nowait=self.nowait,
        )

    # -- helpers --------------------------------------------------------------------------------------------------

    def put(self, before: str, text: str) -> None:
        """Append text to the result, with the blanks and comments that stood before it."""
        if before:
            self.parts.append(self.dialect.verbatim(before))
        self.parts.append(text)

    def refuse(self, why: str) -> NoReturn:
        raise SqlRefused(f"{why}: {self.sql.strip()}")

    def peek(self, ahead: int = 0) -> Token:
        """Return a token that comes next, END beyond the last one."""
        return self.tokens[min(self.at + ahead, len(self.tokens) - 1)]

    def words(self, count: int) -> tuple[str, ...]:
        """Return the next words without taking them."""
        return tuple(self.peek(n).word for n in range(count))

    def skip(self, count: int) -> None:
        """Pass over tokens that a phrase is made of, keeping the comments between them."""
        self.kept += [t.before for t in self.tokens[self.at : self.at + count] if t.before.strip()]
        self.at += count

    def previous(self) -> Token | None:
        return self.tokens[self.at - 2] if self.at > 1 else None

    @property
    def level(self) -> _Level:
        return self.levels[-1]

    def bind(self, token: Token) -> str:
        """Note a bind and return its placeholder; a number stands for itself."""
        if token.kind is Kind.NUMBER:
            return token.text
        if token.kind is not Kind.BIND:
            self.refuse(f"a bind or a number is expected before {token.text!r}")
        self.note(token, self.binds, self.lists)
        return self.dialect.bind(token.bind)

    def note(self, token: Token, group: dict[str, None], other: dict[str, None]) -> None:
        """Note the name of a bind among the values or among the lists."""
        if "__" in token.bind:
            self.refuse(f"{token.text}: two underscores in the name of a bind are ours")
        if token.bind in other:
            self.refuse(f"{token.bind} is a value and a list")
        group[token.bind] = None

    def _tables(self) -> set[str]:
        t = self.tokens
        return {t[n + 2].word for n in range(len(t) - 2) if t[n].word in SCHEMA_SETTINGS and t[n + 1].text == "."}

    # -- the walk -------------------------------------------------------------------------------------------------

    def _take(self, token: Token) -> None:
        if (
            self.expect_table
            and token.text != "("
            and token.word not in SCHEMA_SETTINGS
            and token.word not in self.ctes
        ):
            self.refuse(f"write the schema before table {token.text!r}, such as ATLAS_PANDA.{token.text}")
        if token.kind is Kind.NAME:
            self._name(token)
        elif token.kind is Kind.OPERATOR:
            self._operator(token)
        elif token.kind is Kind.BIND:
            self.put(token.before, self.bind(token))
        elif token.kind is Kind.LIST:
            self.refuse(f"a list is written IN ({token.text})")
        elif token.kind is Kind.STRING:
            if token.text == "''":
                self.refuse("'' is NULL in Oracle and in our tables; write IS NULL")
            self.put(token.before, self.dialect.verbatim(token.text))
        else:
            self.put(token.before, self.dialect.verbatim(token.text))

    def _name(self, token: Token) -> None:
        word = token.word
        handler = _HANDLERS.get(word)
        previous = self.previous()
        if previous is not None and previous.text == ".":
            self.put(token.before, self.dialect.column(token.text) if word in subset.RESERVED_COLUMNS else token.text)
        elif word in SCHEMA_SETTINGS and self.peek().text == ".":
            self._table(token)
        elif handler is not None:
            handler(self, token)
        elif word in subset.KEYWORDS:
            self.put(token.before, token.text)
        elif word in subset.INSTEAD:
            self.refuse(f"{token.text} is not canonical; {subset.INSTEAD[word]}")
        elif self.peek().text == "(" and not self._names_columns(previous):
            self._call(token)
        else:
            self._other_name(token)

    def _names_columns(self, previous: Token | None) -> bool:
        """Tell whether the bracket after a name lists columns, as in WITH x (a, b)."""
        return previous is not None and (previous.word == "WITH" or self.expect_table)

    def _other_name(self, token: Token) -> None:
        word = token.word
        if self.levels[0].clause == "SET":
            self._assignment(token)
        if word in subset.RESERVED_COLUMNS:
            self.put(token.before, self.dialect.column(token.text))
            return
        if word in subset.ORACLE_RESERVED:
            self.refuse(f"{token.text} is reserved in Oracle; choose another name")
        if self.peek().kind is Kind.STRING and self.peek().word == "":
            self.refuse(f"{token.text} {self.peek().text}: write a bind")
        self.expect_table = False
        is_table = self.peek().text == "." and word in self.tables
        self.put(token.before, self.dialect.table_name(token.text) if is_table else token.text)

    def _assignment(self, token: Token) -> None:
        """Refuse ``SET a = 1, b = a``: MySQL reads the new value there, all others the old one."""
        previous = self.tokens[self.at - 2]
        if len(self.levels) == 1 and previous.word in ("SET", ",") and self.peek().text == "=":
            self.assigned[token.word] = None
        elif token.word in list(self.assigned)[:-1]:
            self.refuse(f"{token.text} is set before it is read, which MySQL reads as the new value; swap them")

    def _call(self, token: Token) -> None:
        if token.word not in subset.FUNCTIONS:
            self.refuse(f"function {token.text} is not canonical; compute it in Python")
        spelt = self.dialect.FUNCTIONS.get(token.word, token.text)
        self.put(token.before, spelt)

    def _table(self, token: Token) -> None:
        if not self.expect_table:
            self.refuse(f"columns are qualified by an alias, not by {token.text}.{self.peek(1).text}")
        name = self.peek(1)
        if name.kind is not Kind.NAME:
            self.refuse(f"a table is expected after {token.text}.")
        self.skip(2)
        self.expect_table = False
        self.put(token.before, self.dialect.table(token.word, name.text))
        after = self.peek()
        if after.word == "AS":
            self.refuse(f"Oracle takes no AS before a table alias; write {name.text} {self.peek(1).text}")
        if (
            self.level.clause in ("UPDATE", "DELETE")
            and after.word not in ("SET", "WHERE")
            and after.kind is not Kind.END
        ):
            self.refuse(f"no alias or second table after {self.level.clause}; write a subquery")

    def _operator(self, token: Token) -> None:
        is_ratio = (
            token.text == "/" and "." in self.tokens[self.at - 2].text and self.tokens[self.at - 2].kind is Kind.NUMBER
        )
        if token.text in subset.OPERATORS_INSTEAD and not is_ratio:
            self.refuse(f"{token.text} is not canonical; {subset.OPERATORS_INSTEAD[token.text]}")
        if token.text == "(":
            self._open(token)
            return
        if token.text == ")":
            if len(self.levels) == 1:
                self.refuse("a bracket closes that was never opened")
            closed = self.levels.pop()
            if closed.clause == "SELECT":
                self.refuse("a query without FROM; compute the value in Python")
        elif token.text == ",":
            self._comma()
        elif token.text == "*":
            previous = self.tokens[self.at - 2]
            if previous.word in ("SELECT", "DISTINCT", ",", "."):
                self.refuse("name the columns instead of *")
        self.put(token.before, token.text)

    def _comma(self) -> None:
        if self.level.clause == "FROM":
            self.expect_table = True
        elif self.level.clause == "VALUES" and self.peek().text == "(":
            self.refuse("one row a statement; write tx.insert(table, rows)")

    def _open(self, token: Token) -> None:
        inner = self.peek()
        if self.expect_table and inner.word != "SELECT":
            self.refuse("a bracket after FROM holds a query")
        if self.tokens[self.at - 2].word in ("UNION", "ALL"):
            self.refuse("no brackets around the parts of a UNION")
        self.expect_table = False
        self.levels.append(_Level())
        self.put(token.before, "(")

    # -- words with a meaning of their own ------------------------------------------------------------------------

    def on_select(self, token: Token) -> None:
        self.level.clause = "SELECT"
        self.level.from_seen = False
        if self.peek().word == "DISTINCT":
            self.level.merged = "DISTINCT"
        self.put(token.before, token.text)

    def on_from(self, token: Token) -> None:
        self.level.from_seen = True
        if self.level.clause != "DELETE":
            self.level.clause = "FROM"
        self.expect_table = True
        self.put(token.before, token.text)

    def on_table_next(self, token: Token) -> None:
        """JOIN and INTO: a table follows."""
        self.expect_table = True
        self.put(token.before, token.text)

    def on_start(self, token: Token) -> None:
        """INSERT, UPDATE, DELETE: what kind of statement this is."""
        if self.at != 1:
            self.refuse(f"{token.text} stands at the start of a statement")
        self.level.clause = token.word
        self.expect_table = token.word == "UPDATE"
        self.put(token.before, token.text)

    def on_clause(self, token: Token) -> None:
        if token.word == "GROUP" and self.peek(1).kind is Kind.NUMBER:
            self.refuse("GROUP BY takes columns, not positions")
        if token.word in ("GROUP", "UNION"):
            self.level.merged = token.word
        if not self._in_window(token):
            self.level.clause = token.word
        self.put(token.before, token.text)

    def _in_window(self, token: Token) -> bool:
        return token.word == "ORDER" and self.level.clause == ""

    def on_order(self, token: Token) -> None:
        if self.level.clause not in ("", "SELECT"):
            self.level.clause = "ORDER"
        self.put(token.before, token.text)

    def on_as(self, token: Token) -> None:
        if self.level.clause == "FROM":
            self.refuse(f"Oracle takes no AS before a table alias; leave it out before {self.peek().text}")
        self.put(token.before, token.text)


_Handler = Callable[[Walk, Token], None]
_HANDLERS: Final[dict[str, _Handler]] = {
    "SELECT": Walk.on_select,
    "FROM": Walk.on_from,
    "JOIN": Walk.on_table_next,
    "INTO": Walk.on_table_next,
    "INSERT": Walk.on_start,
    "UPDATE": Walk.on_start,
    "DELETE": Walk.on_start,
    "WHERE": Walk.on_clause,
    "GROUP": Walk.on_clause,
    "HAVING": Walk.on_clause,
    "UNION": Walk.on_clause,
    "VALUES": Walk.on_clause,
    "SET": Walk.on_clause,
    "ORDER": Walk.on_order,
    "AS": Walk.on_as,
    **PHRASES,
}


def _joined(parts: list[str | Gap]) -> list[str | Gap]:
    """Merge neighbouring texts."""
    merged: list[str | Gap] = []
    for part in parts:
        if merged and isinstance(part, str) and isinstance(merged[-1], str):
            merged[-1] += part
        else:
            merged.append(part)
    return merged
