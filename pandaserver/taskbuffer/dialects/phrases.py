"""Phrases of canonical SQL that backends spell differently: lists, moments, parts of dates, limits, locks, patterns."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from pandaserver.taskbuffer.dialects import subset
from pandaserver.taskbuffer.dialects.statement import Gap, Instant
from pandaserver.taskbuffer.dialects.tokens import Kind, Token

if TYPE_CHECKING:
    from pandaserver.taskbuffer.dialects.compiler import Walk


def on_not(walk: Walk, token: Token) -> None:
    """Take ``NOT IN (:ids[])``, or any other NOT."""
    if walk.peek().word == "IN" and walk.peek(2).kind is Kind.LIST:
        _list(walk, token, negated=True)
    else:
        walk.put(token.before, token.text)


def on_in(walk: Walk, token: Token) -> None:
    """Take ``IN (:ids[])``, or IN with a query or with constants."""
    if walk.peek(1).kind is Kind.LIST:
        _list(walk, token, negated=False)
    else:
        walk.put(token.before, token.text)


def _list(walk: Walk, first: Token, *, negated: bool) -> None:
    """Take ``[NOT] IN (:ids[])`` as one operator: PostgreSQL's takes an array instead."""
    walk.skip(1 if negated else 0)
    bracket, token, end = walk.peek(), walk.peek(1), walk.peek(2)
    if bracket.text != "(" or end.text != ")":
        walk.refuse(f"a list is written IN ({token.text})")
    walk.skip(3)
    walk.note(token, walk.lists, walk.binds)
    whole = walk.dialect.whole_list(token.bind, negated)
    walk.put(first.before, whole or ("NOT IN " if negated else "IN "))
    if whole is None:
        walk.parts.append(Gap(token.bind, negated))


def on_now(walk: Walk, token: Token) -> None:
    """Take ``CURRENT_TIMESTAMP``, alone or shifted by a span: ``- :n * INTERVAL '1' MINUTE``."""
    sign = {"+": 1, "-": -1}.get(walk.peek().text, 0)
    if sign == 0:
        walk.put(token.before, _instant(walk, 0, "0", "0", "SECOND"))
        return
    walk.skip(1)
    amount = walk.peek()
    if amount.word == "INTERVAL":
        number = placeholder = walk.peek(1).text.strip("'")
        well_formed, unit, length = number.isdigit(), walk.peek(2).word, 3
    else:
        number, placeholder = amount.text.removeprefix(":"), walk.bind(amount)
        well_formed = walk.words(3)[1:] == ("*", "INTERVAL") and walk.peek(3).text == "'1'"
        unit, length = walk.peek(4).word, 5
    if not well_formed or unit not in subset.UNITS:
        walk.refuse(f"a span of time is not canonical; {subset.INSTEAD['INTERVAL']}")
    walk.skip(length)
    walk.put(token.before, _instant(walk, sign, number, placeholder, unit))


def _instant(walk: Walk, sign: int, amount: str, placeholder: str, unit: str) -> str:
    if walk.dialect.clock_is_ours:
        name = f"now__{('minus', '', 'plus')[sign + 1]}_{amount.replace('.', '_')}_{unit}" if sign else "now__"
        walk.instants[name] = Instant(name, sign, amount, unit)
        return walk.dialect.bind(name)
    return walk.dialect.shifted_now("-" if sign < 0 else "+", placeholder, unit) if sign else walk.dialect.now


def on_extract(walk: Walk, token: Token) -> None:
    """Take ``EXTRACT(HOUR FROM column)``."""
    bracket, part, word = walk.words(3)
    if bracket != "(" or word != "FROM" or part not in subset.PARTS:
        walk.refuse(f"write EXTRACT(part FROM column), part one of {', '.join(sorted(subset.PARTS))}")
    walk.skip(3)
    operand = ""
    while walk.peek().text != ")":
        if walk.peek().kind is not Kind.NAME and walk.peek().text != ".":
            walk.refuse("EXTRACT takes a column")
        operand += walk.peek().text
        walk.skip(1)
    walk.skip(1)
    walk.put(token.before, walk.dialect.extract(part, operand))


def on_fetch(walk: Walk, token: Token) -> None:
    """Take ``FETCH FIRST :n ROWS ONLY``."""
    amount = walk.peek(1)
    first, _, rows, only = walk.words(4)
    if first not in ("FIRST", "NEXT") or rows not in ("ROW", "ROWS") or only != "ONLY":
        walk.refuse("write FETCH FIRST :n ROWS ONLY")
    walk.skip(4)
    walk.level.limited = True
    walk.level.clause = "FETCH"
    walk.put(token.before, walk.dialect.limit(walk.bind(amount)))


def on_for(walk: Walk, token: Token) -> None:
    """Take ``FOR UPDATE [NOWAIT | SKIP LOCKED]``, the end of a statement."""
    if walk.peek().word != "UPDATE":
        walk.refuse("write FOR UPDATE, FOR UPDATE NOWAIT or FOR UPDATE SKIP LOCKED")
    mode = {("NOWAIT",): "NOWAIT", ("SKIP", "LOCKED"): "SKIP LOCKED"}
    walk.skip(1)
    lock = mode.get(walk.words(1)) or mode.get(walk.words(2)) or ""
    walk.skip(len(lock.split()))
    if walk.peek().kind is not Kind.END or len(walk.levels) > 1:
        walk.refuse("a row lock ends the statement: FOR UPDATE [NOWAIT | SKIP LOCKED]")
    if walk.level.limited:
        walk.refuse("Oracle forbids FETCH FIRST with FOR UPDATE; write tx.claim(...)")
    if walk.level.merged:
        walk.refuse(f"a result of {walk.level.merged} has no rows to lock; lock by key")
    walk.nowait = lock == "NOWAIT"
    walk.put(token.before, walk.dialect.row_lock(lock))


def on_like(walk: Walk, token: Token) -> None:
    """Take ``LIKE`` with a pattern in which a backslash means itself, as ESCAPE is not given."""
    pattern = walk.peek()
    if pattern.kind not in (Kind.BIND, Kind.STRING):
        walk.refuse("LIKE takes one bind or string")
    walk.skip(1)
    text = walk.bind(pattern) if pattern.kind is Kind.BIND else walk.dialect.verbatim(pattern.text)
    escape = "" if walk.peek().word == "ESCAPE" else walk.dialect.no_escape
    walk.put(token.before, f"{token.text} {text}{escape}")


#: First word of a phrase -> what takes it.
PHRASES: Final[dict[str, Callable[[Walk, Token], None]]] = {
    "NOT": on_not,
    "IN": on_in,
    "CURRENT_TIMESTAMP": on_now,
    "EXTRACT": on_extract,
    "FETCH": on_fetch,
    "FOR": on_for,
    "LIKE": on_like,
}
