"""A compiled statement: its text for one backend, what it binds and what its result columns are called."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from pandaserver.taskbuffer.dialects.subset import LONGEST_LIST


class Gap(NamedTuple):
    """The place of an expanded list in a text."""

    bind: str
    negated: bool


class Instant(NamedTuple):
    """A moment ``sign amount unit`` from now, computed by us where the backend's clock is our own."""

    bind: str
    sign: int  # 0: now itself
    amount: str  # name of a bind, or a number
    unit: str


@dataclass
class Statement:
    """The result of compiling one canonical text for one dialect."""

    parts: list[str | Gap]
    binds: tuple[str, ...]
    lists: tuple[str, ...]
    instants: tuple[Instant, ...] = ()
    columns: tuple[str, ...] = ()  # as written; () when it returns no rows
    expressions: frozenset[int] = frozenset()  # positions of result columns that are not plainly a column of a table
    nowait: bool = False
    texts: dict[tuple[int, ...], str] = field(default_factory=dict)  # by the sizes of the lists

    def __post_init__(self) -> None:
        #: The text of a statement whose lists, if any, are each one value.
        self.text = "".join(part for part in self.parts if isinstance(part, str))


def padded(count: int) -> int:
    """Return the size to which a list grows by repeating its last member, so that few different texts exist."""
    return count if count < 3 else min(LONGEST_LIST, 1 << (count - 1).bit_length())
