"""What is measured between pairs of sites: from the documents of network metrics and closeness to rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from pandaserver.srvcore.errors import ExternalError
from pandaserver.taskbuffer.site_dumps import moment, whole
from pandaserver.taskbuffer.site_rows import Reading, Rows, fitting, read_entries, told

#: Metric of the distance between two sites that administrators give; all others are measured.
CLOSENESS: Final = "closeness"

#: A measurement that is older says nothing about now.
FRESH: Final = timedelta(minutes=30)

#: Width of the columns src, dst and key.
WIDTH: Final = 256

#: State of files -> window of the source -> end of the metric's name.
_FILES: Final = {"done": {"1h": "_1h", "6h": "_6h"}, "queued": {"latest": ""}}
_SPEEDS: Final = ("1h", "1d", "1w")
_PACKETS: Final = ("latency", "packetloss")

Metrics = Iterator[tuple[str, Any, Any]]


def read_metrics(document: Any, now: datetime) -> Reading:
    """Return rows of what was measured lately between ``SOURCE:DESTINATION`` pairs, each with its own time."""
    return read_entries(document, lambda pair, entry: _rows(pair, entry, now))


def _rows(pair: str, entry: Mapping[str, Any], now: datetime) -> Rows:
    source, _, destination = pair.partition(":")
    rows: Rows = {}
    for key, value, measured in _metrics(entry):
        time = moment(measured)
        number = whole(key, value)
        if number is not None and now - time < FRESH:
            ends = fitting("source", source, WIDTH), fitting("destination", destination, WIDTH)
            rows[(*ends, fitting("metric", key, WIDTH))] = {"value": number, "ts": time}
    return rows


def _metrics(entry: Mapping[str, Any]) -> Metrics:
    """Yield metric, value and time of measurement of one pair."""
    files = _inner(entry, "files")
    for state, windows in _FILES.items():
        for activity, numbers in _inner(files, state).items():
            yield from _values(numbers, {window: f"{activity}_{state}{end}" for window, end in windows.items()})
    for system, numbers in _inner(entry, "mbps").items():
        yield from _values(numbers, {window: f"{system}_mbps_{window}" for window in _SPEEDS})
    for name in _PACKETS:
        if entry.get(name) is not None:
            yield from _values(entry[name], {"latest": name})


def _values(numbers: Any, metrics: Mapping[str, str]) -> Metrics:
    """Yield what is there of the numbers that have a metric; they share one time."""
    if not isinstance(numbers, Mapping):
        raise ValueError(f"what should tell {' and '.join(metrics.values())} is no object")
    for window, metric in metrics.items():
        if numbers.get(window) is not None:
            yield metric, numbers[window], numbers.get("timestamp")


def _inner(entry: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = entry.get(key) or {}
    if not isinstance(found, Mapping):
        raise ValueError(f"{key} is no object")
    return found


def read_closeness(document: Any) -> Reading:
    """Return rows of a list of ``src``, ``dst``, ``closeness``; ExternalError: it is none, or nothing of it serves."""
    if not isinstance(document, list):
        raise ExternalError(f"it is no list, but {type(document).__name__}")
    if not document:
        raise ExternalError("it is empty")
    rows: Rows = {}
    problems: dict[str, str] = {}
    for number, entry in enumerate(document):
        try:
            if not isinstance(entry, Mapping):
                raise ValueError("is no object")
            ends = fitting("src", entry.get("src"), WIDTH), fitting("dst", entry.get("dst"), WIDTH)
            value = whole(CLOSENESS, entry.get(CLOSENESS))
            if value is None:
                raise ValueError(f"has no {CLOSENESS}")
        except ValueError as error:
            problems[f"entry {number}"] = str(error)
            continue
        if ends in rows:
            raise ExternalError(f"the pair {' '.join(ends)} stands there twice")
        rows[ends] = {"value": value}
    if not rows:
        raise ExternalError(f"none of its {len(document)} entries can be read")
    kept = frozenset(_source_of(document[int(name.removeprefix("entry "))]) for name in problems)
    return Reading(rows, kept, told(problems))


def _source_of(entry: Any) -> str:
    return str(entry.get("src")) if isinstance(entry, Mapping) else ""
