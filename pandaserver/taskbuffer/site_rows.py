"""What a source says of sites, queues, storage or networks, as rows to be stored, and how its entries are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pandaserver.srvcore.errors import ExternalError

#: Key columns of a row -> its other columns.
Rows = dict[tuple[str, ...], dict[str, Any]]

#: Rows that come from one entry. ValueError: the entry cannot be read.
ReadEntry = Callable[[str, Mapping[str, Any]], Rows]

#: How many unreadable entries are told one by one.
TOLD: Final = 5

#: What an entry of a list may call itself.
_NAMES: Final = ("name", "panda_queue", "nickname", "panda_resource", "rse")


@dataclass(frozen=True, slots=True)
class Reading:
    """The rows of one kind. Those that are missing are deleted, except of names whose entry could not be read."""

    rows: Rows
    kept: frozenset[str] = field(default_factory=frozenset)
    findings: tuple[str, ...] = ()


def read_entries(document: Any, read: ReadEntry) -> Reading:
    """Read an object of entries by name, or a list of entries that have one.

    ExternalError: it is empty, or nothing in it can be read, so it tells nothing about what does not exist.
    """
    rows: Rows = {}
    problems: dict[str, str] = {}
    total = 0
    for name, entry in entries(document):
        total += 1
        try:
            if not isinstance(entry, Mapping):
                raise ValueError("is no object")
            rows.update(read(name, entry))
        except ValueError as error:
            problems[name] = str(error)
    if len(problems) == total:
        name, problem = next(iter(problems.items()))
        raise ExternalError(f"none of its {total} entries can be read; {name}: {problem}")
    return Reading(rows, frozenset(problems), told(problems))


def entries(document: Any) -> Iterator[tuple[str, Any]]:
    """Yield name and entry of each; ExternalError: the document has none, or a name twice."""
    if isinstance(document, Mapping):
        found = list(document.items())
    elif isinstance(document, list):
        found = [(_name_of(entry, number), entry) for number, entry in enumerate(document)]
    else:
        raise ExternalError(f"it is neither an object nor a list, but {type(document).__name__}")
    if not found:
        raise ExternalError("it is empty")
    seen: set[str] = set()
    for name, entry in found:
        if name in seen:
            raise ExternalError(f"{name} stands there twice")
        seen.add(name)
        yield name, entry


def told(problems: Mapping[str, str]) -> tuple[str, ...]:
    """Return the first problems in words, and how many more there are."""
    first = tuple(f"{name}: {problem}" for name, problem in list(problems.items())[:TOLD])
    return (*first, f"and {len(problems) - TOLD} more") if len(problems) > TOLD else first


def is_active(entry: Mapping[str, Any]) -> bool:
    """Tell whether the state is ACTIVE; an entry without a state says nothing that could be relied on."""
    return text(entry, "state", 52) == "ACTIVE"


def text(entry: Mapping[str, Any], key: str, longest: int) -> str:
    """Return a text that must be there and fit its column."""
    return fitting(key, entry.get(key), longest)


def fitting(what: str, value: Any, longest: int) -> str:
    """Return a value if it is a text that fits a column."""
    if value is None or value == "":
        raise ValueError(f"has no {what}")
    if not isinstance(value, str) or not value.isprintable():
        raise ValueError(f"{what} is {value!r:.60}, which is no plain text")
    if len(value) > longest:
        raise ValueError(f"{what} is longer than {longest} characters")
    return value


def _name_of(entry: Any, number: int) -> str:
    names = [entry[key] for key in _NAMES if entry.get(key)] if isinstance(entry, Mapping) else []
    return str(names[0]) if names else f"entry {number}"
