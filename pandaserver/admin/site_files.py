"""Files in which operators describe queues, shares and resource types: read, checked, and turned into rows."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final

from pandaserver.brokerage.site_reader import site_from
from pandaserver.srvcore.errors import BadRequest
from pandaserver.taskbuffer.SiteSpec import QUEUE_STATUSES, QUEUE_TYPES

#: Longest names that the columns take.
QUEUE_NAME: Final = 50
SITE_NAME: Final = 52

#: Limits of texts in GLOBAL_SHARES, and which of them are regular expressions.
SHARE_TEXTS: Final[dict[str, int]] = {
    "name": 32,
    "parent": 32,
    "prodSourceLabel": 100,
    "workingGroup": 100,
    "campaign": 100,
    "processingType": 100,
    "vo": 32,
    "throttled": 1,
    "transpath": 128,
    "rtype": 32,
}
SHARE_NUMBERS: Final = ("value", "queue_ID")
EXPRESSIONS: Final = frozenset({"prodSourceLabel", "workingGroup", "campaign", "processingType", "transpath", "rtype"})

TYPE_NUMBERS: Final = ("mincore", "maxcore", "minrampercore", "maxrampercore")
TYPE_NAME: Final = 56

#: Keys of a queue that hold its name, the first one found counts.
_NAMES: Final = ("panda_queue", "nickname", "panda_resource", "name", "siteid")


class Problems:
    """Everything that is wrong with a file, to be told at once."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def add(self, place: str, problem: str) -> None:
        """Note one problem."""
        self.found.append(f"{place}: {problem}" if place else problem)

    def require_none(self) -> None:
        """Raise BadRequest with all of them, if there are any."""
        if self.found:
            raise BadRequest("\n".join(self.found))


def read_queues(text: str) -> dict[str, dict[str, Any]]:
    """Return queue name -> description: from one description, a list of them, or an object of them by name."""
    document = _parsed(text)
    problems = Problems()
    queues: dict[str, dict[str, Any]] = {}
    for number, (name, data) in enumerate(_named_queues(document)):
        place = f"queue {name}" if name else f"entry {number}"
        if not isinstance(data, dict):
            problems.add(place, "a queue is described by an object")
        elif not name:
            problems.add(place, f"has no name; write it as {' or '.join(_NAMES[:2])}")
        elif name in queues:
            problems.add(place, "is described twice")
        else:
            queues[name] = data
            _check_queue(name, data, partial(problems.add, place))
    problems.require_none()
    if not queues:
        raise BadRequest("the file describes no queue")
    return queues


def _named_queues(document: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(document, dict) and "status" not in document and "type" not in document:
        return [(str(name), data) for name, data in document.items()]
    described = document if isinstance(document, list) else [document]
    return [(_name_in(data), data) for data in described]


def _name_in(data: Any) -> str:
    names = (data.get(key) for key in _NAMES) if isinstance(data, dict) else ()
    return next((name for name in names if isinstance(name, str) and name), "")


def _check_queue(name: str, data: Mapping[str, Any], report: Callable[[str], None]) -> None:
    if len(name) > QUEUE_NAME:
        report(f"the name is {len(name)} characters, at most {QUEUE_NAME}")
    for key, allowed in (("status", QUEUE_STATUSES), ("type", QUEUE_TYPES)):
        if data.get(key) not in allowed:
            report(f"{key} is {data.get(key)!r}; it must be one of {', '.join(allowed)}")
    if len(str(data.get("atlas_site") or "")) > SITE_NAME:
        report(f"atlas_site is longer than {SITE_NAME} characters")
    try:
        site = site_from(name, data)
    except (ValueError, TypeError) as error:
        report(str(error))
        return
    for low, high in (("minrss", "maxrss"), ("mintime", "maxtime")):
        if getattr(site, high) and getattr(site, low) > getattr(site, high):
            report(f"{low} is {getattr(site, low)}, which is more than {high}")


def read_shares(text: str) -> list[dict[str, Any]]:
    """Return the rows of a whole share tree."""
    problems = Problems()
    rows = _rows(text, {**dict.fromkeys(SHARE_TEXTS, str), **dict.fromkeys(SHARE_NUMBERS, int)}, problems)
    parents = {row["name"]: row["parent"] for row in rows}
    for row in rows:
        place = f"share {row['name']}"
        for column, limit in SHARE_TEXTS.items():
            if len(row[column] or "") > limit:
                problems.add(place, f"{column} is {len(row[column])} characters, at most {limit}")
        if row["value"] is None or row["value"] < 0:
            problems.add(place, "value must be a number from 0 on")
        if row["throttled"] not in (None, "Y", "N"):
            problems.add(place, f"throttled is {row['throttled']!r}, neither Y nor N")
        if row["parent"] is not None and row["parent"] not in parents:
            problems.add(place, f"parent {row['parent']} does not exist{_hint(row['parent'], parents)}")
        elif _is_own_ancestor(row["name"], parents):
            problems.add(place, "is its own ancestor")
        for column in EXPRESSIONS & {name for name, value in row.items() if value}:
            _check_expression(column, row[column], partial(problems.add, place))
    problems.require_none()
    return rows


def _is_own_ancestor(name: str, parents: Mapping[str, str | None]) -> bool:
    seen = set()
    above = parents.get(name)
    while above is not None and above not in seen:
        if above == name:
            return True
        seen.add(above)
        above = parents.get(above)
    return False


def _check_expression(column: str, text: str, report: Callable[[str], None]) -> None:
    try:
        re.compile(text)
    except re.error as error:
        report(f"{column} {text!r} is no regular expression: {error}")


def read_resource_types(text: str) -> list[dict[str, Any]]:
    """Return the rows of all resource types."""
    problems = Problems()
    rows = _rows(text, {"name": str, **dict.fromkeys(TYPE_NUMBERS, int)}, problems, also={"resource_name": "name"})
    for row in rows:
        place = f"resource type {row['name']}"
        if len(row["name"]) > TYPE_NAME:
            problems.add(place, f"the name is {len(row['name'])} characters, at most {TYPE_NAME}")
        for low, high in (("mincore", "maxcore"), ("minrampercore", "maxrampercore")):
            if row[low] is not None and row[high] is not None and row[low] > row[high]:
                problems.add(place, f"{low} is {row[low]}, which is more than {high}, {row[high]}")
    problems.require_none()
    return [{"resource_name": row.pop("name"), **row} for row in rows]


def _rows(
    text: str, columns: Mapping[str, type], problems: Problems, also: Mapping[str, str] | None = None
) -> list[dict[str, Any]]:
    """Return the objects of a list with exactly those columns, each with a name that no other has."""
    document = _parsed(text)
    if not isinstance(document, list):
        raise BadRequest("the file must hold a list of objects")
    by_lower = {name.lower(): name for name in columns} | dict(also or {})
    rows: list[dict[str, Any]] = []
    for number, entry in enumerate(document):
        if not isinstance(entry, dict):
            problems.add(f"entry {number}", "is not an object")
            continue
        row: dict[str, Any] = dict.fromkeys(columns)
        place = f"entry {number} ({entry.get('name') or entry.get('resource_name') or 'without a name'})"
        for key, value in entry.items():
            column = by_lower.get(key.lower())
            if column is None:
                problems.add(place, f"{key} is unknown{_hint(key, columns)}")
            elif value is not None and (not isinstance(value, columns[column]) or isinstance(value, bool)):
                problems.add(place, f"{key} is {value!r}, which is not {_KINDS[columns[column]]}")
            else:
                row[column] = value if value != "" else None
        if not row["name"]:
            problems.add(place, "has no name")
        elif row["name"] in {other["name"] for other in rows}:
            problems.add(place, "is there twice")
        else:
            rows.append(row)
    if not rows:
        problems.add("", "the file has no usable entry")
    problems.require_none()
    return rows


_KINDS: Final[dict[type, str]] = {str: "text", int: "a whole number"}


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise BadRequest(f"the file is not JSON: {error}") from error


def _hint(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""
