"""What harvesters send, into plain data. An item that cannot be used costs nobody else anything.

A harvester sends a whole batch again until it is taken, so one odd value must not stop the others: it counts as absent.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from pandacommon.pandautils.PandaUtils import naive_utcnow
from pandaserver.api.casting import repaired
from pandaserver.taskbuffer.worker_reports import NUMBER_COLUMNS, TEXT_COLUMNS, TIME_COLUMNS, WorkerUpdate
from pandaserver.taskbuffer.WorkerSpec import WORKER_TEXT_LIMITS

#: What stands before the times of workers and heartbeats.
TIME_PREFIX: Final = "datetime/"

_INT_LIMIT: Final = 2**31 - 1
_BIG_LIMIT: Final = 2**63 - 1

#: Longest measurement that is kept; half a JSON object is none.
METRIC_LIMIT: Final = 4000

_DIALOG_TEXTS: Final = {"moduleName": 100, "identifier": 100, "messageLevel": 10, "diagMessage": 500}

#: Words in worker statistics that say nothing: `ANY` is the total of a queue in place of a resource type.
_NO_TYPES: Final = ("Undefined", "ANY")
_NAME_LIMITS: Final = {"jobType": 52, "resourceType": 56, "status": 80}


def time_of(value: Any) -> datetime | None:
    """Return a time as harvesters write it, with or without its prefix, as naive UTC."""
    if not isinstance(value, str):
        return None
    text = value.removeprefix(TIME_PREFIX)
    for form in ("%Y-%m-%d %H:%M:%S.%f", "%Y-%m-%d %H:%M:%S"):
        try:
            return datetime.strptime(text, form)
        except ValueError:
            continue
    return None


def number_of(value: Any, limit: int = _INT_LIMIT) -> int | None:
    """Return a whole number, also out of text; what is none, or too large, is nothing."""
    try:
        number = int(value) if isinstance(value, int | str) else int(float(value))
    except (TypeError, ValueError, OverflowError):
        return None
    return number if abs(number) <= limit else None


def text_of(value: Any, limit: int) -> str | None:
    """Return a text of limited length; numbers become text, and what is neither is nothing."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    return repaired(value)[:limit] or None if isinstance(value, str) else None


def worker_update(item: Any) -> WorkerUpdate | None:
    """Return what an element of a list says about a worker, None if it names no worker."""
    worker_id = number_of(item.get("workerID"), _BIG_LIMIT) if isinstance(item, Mapping) else None
    if worker_id is None:
        return None
    columns: dict[str, Any] = {name: text_of(item.get(name), WORKER_TEXT_LIMITS[name]) for name in TEXT_COLUMNS}
    columns |= {name: number_of(item.get(name)) for name in NUMBER_COLUMNS}
    columns |= {name: time_of(item.get(name)) for name in TIME_COLUMNS}
    listed = item.get("pandaid_list")
    jobs = {number_of(pid, _BIG_LIMIT) for pid in listed} if isinstance(listed, list) else set()
    return WorkerUpdate(
        worker_id,
        {name: value for name, value in columns.items() if value is not None},
        tuple(sorted(pid for pid in jobs if pid is not None)),
        number_of(item.get("syncLevel")) or 0,
    )


def dialogs_of(items: Iterable[Any]) -> Iterator[dict[str, Any]]:
    """Return the complaints in a list as rows."""
    for item in items:
        number = number_of(item.get("diagID"), _BIG_LIMIT) if isinstance(item, Mapping) else None
        if number is not None:
            texts = {name: text_of(item.get(name), limit) for name, limit in _DIALOG_TEXTS.items()}
            yield {"diagID": number, "creationTime": time_of(item.get("creationTime")) or naive_utcnow(), **texts}


def metrics_of(items: Iterable[Any]) -> Iterator[dict[str, Any]]:
    """Return the measurements in a list of [time, host, JSON text] as rows."""
    for item in items:
        if not isinstance(item, list) or len(item) != 3:
            continue
        time, host, text = item
        text = json.dumps(text) if isinstance(text, Mapping) else text
        if isinstance(text, str) and len(text) <= METRIC_LIMIT:
            yield {
                "creation_time": time_of(time) or naive_utcnow(),
                "harvester_host": text_of(host, 100),
                "metrics": repaired(text),
            }


def counts_by_job_type(statistics: Mapping[str, Any]) -> list[tuple[str, str, str, int]]:
    """Return (job type, resource type, status, workers) out of three nested objects."""
    return [row for job_type, types in statistics.items() for row in counts_of(types, job_type)]


def counts_of(types: Any, job_type: str) -> Iterator[tuple[str, str, str, int]]:
    """Return the same out of two nested objects, of one job type."""
    job_type = text_of(job_type, _NAME_LIMITS["jobType"]) or ""
    for kind, statuses in _items(types):
        name = text_of(kind, _NAME_LIMITS["resourceType"])
        if not job_type or not name or name in _NO_TYPES:
            continue
        for status, number in _items(statuses):
            word, count = text_of(status, _NAME_LIMITS["status"]), number_of(number)
            if word and count is not None:
                yield job_type, name, word, count


def announced_commands(value: Any) -> Iterator[tuple[str, str, str]]:
    """Return (queue, resource type, command) out of what a heartbeat announces."""
    for item in value if isinstance(value, list) else ():
        if isinstance(item, Mapping):
            names = [
                text_of(item.get(key), limit)
                for key, limit in (("computingSite", 128), ("resourceType", 56), ("command", 200))
            ]
            if all(names):
                yield names[0] or "", names[1] or "", names[2] or ""


def _items(value: Any) -> Iterable[tuple[Any, Any]]:
    return value.items() if isinstance(value, Mapping) else ()
