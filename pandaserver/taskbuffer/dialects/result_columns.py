"""What the columns of a query are called, in the spelling of its text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pandaserver.taskbuffer.dialects.tokens import Kind, Token


def result_columns(tokens: Sequence[Token]) -> tuple[tuple[str, ...], frozenset[int]]:
    """Return the names of the result columns and the positions of those that are not plainly a table's column."""
    items = list(_items(tokens))
    nested = sum(t.word == "SELECT" for t in tokens) > 1
    names = tuple(_name(item) for item in items)
    return names, frozenset(n for n, item in enumerate(items) if nested or not _is_plain(item))


def _items(tokens: Sequence[Token]) -> Iterator[list[Token]]:
    """Yield the select list of the outermost query, item by item."""
    depth = 0
    item: list[Token] | None = None
    for token in tokens:
        depth += (token.text == "(") - (token.text == ")")
        if item is None:
            if depth == 0 and token.word == "SELECT":
                item = []
        elif depth == 0 and token.word == "FROM":
            yield item
            return
        elif depth == 0 and token.text == ",":
            yield item
            item = []
        elif item or token.word != "DISTINCT":
            item.append(token)


def _name(item: list[Token]) -> str:
    last = item[-1]
    if last.kind is Kind.NAME and (len(item) == 1 or last.word != "END"):
        return last.text
    return last.text.strip('"') if last.kind is Kind.QUOTED else "".join(t.text for t in item)


def _is_plain(item: list[Token]) -> bool:
    body = [t for t in item if t.word != "AS"]
    if len(body) > 1 and body[-2].text != ".":
        body = body[:-1]
    if len(body) == 1:
        return body[0].kind is Kind.NAME and body[0].word != "CURRENT_TIMESTAMP"
    return len(body) == 3 and body[1].text == "."
