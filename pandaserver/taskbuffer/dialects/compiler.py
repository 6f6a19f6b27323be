"""Canonical SQL to the text of one backend, by walking its tokens. What the subset lacks is refused here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NoReturn

from pandaserver.taskbuffer.connection_settings import SCHEMA_SETTINGS
from pandaserver.taskbuffer.dialects import subset
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
    return _Walk(sql, dialect).run()


class _Walk:
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
        self.binds[token.bind] = None
        return self.dialect.bind(token.bind)

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
        self.at += 2
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
        if token.text in subset.OPERATORS_INSTEAD:
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

    def on_not(self, token: Token) -> None:
        if self.peek().word == "IN" and self.peek(2).kind is Kind.LIST:
            self.at += 1
            self._list(token, negated=True)
        else:
            self.put(token.before, token.text)

    def on_in(self, token: Token) -> None:
        if self.peek(1).kind is Kind.LIST:
            self._list(token, negated=False)
        else:
            self.put(token.before, token.text)

    def _list(self, first: Token, *, negated: bool) -> None:
        """Take ``[NOT] IN (:ids[])`` as one operator: PostgreSQL's takes an array instead."""
        bracket, token, end = self.peek(), self.peek(1), self.peek(2)
        if bracket.text != "(" or end.text != ")":
            self.refuse(f"a list is written IN ({token.text})")
        between = "".join(t.before for t in self.tokens[self.at - negated : self.at + 3])
        self.at += 3
        self.lists[token.bind] = None
        whole = self.dialect.whole_list(token.bind, negated)
        self.put(first.before, whole or ("NOT IN " if negated else "IN "))
        if whole is None:
            self.parts.append(Gap(token.bind, negated))
        if between.strip():  # comments only
            self.parts.append(self.dialect.verbatim(between))

    def on_now(self, token: Token) -> None:
        sign = {"+": 1, "-": -1}.get(self.peek().text, 0)
        if sign == 0:
            self.put(token.before, self._instant(0, "0", "0", "SECOND"))
            return
        self.at += 1
        amount, factor = self.peek(), self.words(6)
        if amount.word == "INTERVAL":
            quoted, unit, self.at = self.peek(1), self.peek(2).word, self.at + 3
            number = quoted.text.strip("'")
            placeholder = number
            well_formed = number.isdigit()
        else:
            placeholder = self.bind(amount)
            number = amount.bind if amount.kind is Kind.BIND else amount.text
            well_formed = factor[1:3] == ("*", "INTERVAL") and self.peek(3).text == "'1'"
            unit, self.at = self.peek(4).word, self.at + 5
        if not well_formed or unit not in subset.UNITS:
            self.refuse(f"a span of time is not canonical; {subset.INSTEAD['INTERVAL']}")
        self.put(token.before, self._instant(sign, number, placeholder, unit))

    def _instant(self, sign: int, amount: str, placeholder: str, unit: str) -> str:
        if self.dialect.clock_is_ours:
            name = (
                f"now__{('minus', '', 'plus')[sign + 1]}_{amount.replace('.', '_')}_{unit}".lower() if sign else "now__"
            )
            self.instants[name] = Instant(name, sign, amount, unit)
            return self.dialect.bind(name)
        return self.dialect.shifted_now("-" if sign < 0 else "+", placeholder, unit) if sign else self.dialect.now

    def on_extract(self, token: Token) -> None:
        bracket, part, word = self.words(3)
        if bracket != "(" or word != "FROM" or part not in subset.PARTS:
            self.refuse(f"write EXTRACT(part FROM column), part one of {', '.join(sorted(subset.PARTS))}")
        self.at += 3
        operand = ""
        while self.peek().text != ")":
            if self.peek().kind is not Kind.NAME and self.peek().text != ".":
                self.refuse("EXTRACT takes a column")
            operand += self.peek().text
            self.at += 1
        self.at += 1
        self.put(token.before, self.dialect.extract(part, operand))

    def on_fetch(self, token: Token) -> None:
        amount = self.peek(1)
        first, _, rows, only = self.words(4)
        if first not in ("FIRST", "NEXT") or rows not in ("ROW", "ROWS") or only != "ONLY":
            self.refuse("write FETCH FIRST :n ROWS ONLY")
        self.at += 4
        self.level.limited = True
        self.level.clause = "FETCH"
        self.put(token.before, self.dialect.limit(self.bind(amount)))

    def on_for(self, token: Token) -> None:
        if self.peek().word != "UPDATE":
            self.refuse("write FOR UPDATE, FOR UPDATE NOWAIT or FOR UPDATE SKIP LOCKED")
        mode = {("NOWAIT",): "NOWAIT", ("SKIP", "LOCKED"): "SKIP LOCKED"}
        self.at += 1
        lock = mode.get(self.words(1)) or mode.get(self.words(2)) or ""
        self.at += len(lock.split())
        if self.peek().kind is not Kind.END or len(self.levels) > 1:
            self.refuse("a row lock ends the statement: FOR UPDATE [NOWAIT | SKIP LOCKED]")
        if self.level.limited:
            self.refuse("Oracle forbids FETCH FIRST with FOR UPDATE; write tx.claim(...)")
        if self.level.merged:
            self.refuse(f"a result of {self.level.merged} has no rows to lock; lock by key")
        self.nowait = lock == "NOWAIT"
        self.put(token.before, self.dialect.row_lock(lock))

    def on_like(self, token: Token) -> None:
        pattern = self.peek()
        if pattern.kind not in (Kind.BIND, Kind.STRING):
            self.refuse("LIKE takes one bind or string")
        self.at += 1
        text = self.bind(pattern) if pattern.kind is Kind.BIND else self.dialect.verbatim(pattern.text)
        escape = "" if self.peek().word == "ESCAPE" else self.dialect.no_escape
        self.put(token.before, f"{token.text}{self.dialect.verbatim(pattern.before)}{text}{escape}")


_Handler = Callable[[_Walk, Token], None]
_HANDLERS: Final[dict[str, _Handler]] = {
    "SELECT": _Walk.on_select,
    "FROM": _Walk.on_from,
    "JOIN": _Walk.on_table_next,
    "INTO": _Walk.on_table_next,
    "INSERT": _Walk.on_start,
    "UPDATE": _Walk.on_start,
    "DELETE": _Walk.on_start,
    "WHERE": _Walk.on_clause,
    "GROUP": _Walk.on_clause,
    "HAVING": _Walk.on_clause,
    "UNION": _Walk.on_clause,
    "VALUES": _Walk.on_clause,
    "SET": _Walk.on_clause,
    "ORDER": _Walk.on_order,
    "AS": _Walk.on_as,
    "NOT": _Walk.on_not,
    "IN": _Walk.on_in,
    "CURRENT_TIMESTAMP": _Walk.on_now,
    "EXTRACT": _Walk.on_extract,
    "FETCH": _Walk.on_fetch,
    "FOR": _Walk.on_for,
    "LIKE": _Walk.on_like,
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
