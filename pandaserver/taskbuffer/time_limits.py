"""How long jobs may stay as they are: the limits of copyArchive's rules, as the table CONFIG may change them."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any, Final, TypeGuard

HOUR: Final = 60.0  # minutes
DAY: Final = 24 * HOUR

#: Component of the table CONFIG; a limit is its parameter ``TIMEOUT_<name>``, in hours.
COMPONENT: Final = "job_timeout"

#: Parameters of the component ``watcher`` begin like this; the rest is a kind of jobs or a workflow of queues.
HEARTBEAT: Final = "HEARTBEAT_TIMEOUT_"

#: Name of each limit -> minutes without such a parameter.
DEFAULTS: Final[Mapping[str, float]] = {
    "sent": 30,
    "holding_analysis": 3 * HOUR,
    "holding_priority": 3 * HOUR,
    "holding": 48 * HOUR,
    "old_defined": 7 * DAY,
    "old_activated": 7 * DAY,
    "inactive_job": 4 * HOUR,
    "inactive_queue": 2 * HOUR,
    "defined": 4 * HOUR,
    "long_defined": 12 * HOUR,
    "long_activated": 48 * HOUR,
    "long_starting": 48 * HOUR,
    "old_analysis": 7 * DAY,
    "pending": HOUR,
    "waiting_merge": 10,
    "waiting": HOUR,
    "long_event_service": 24 * HOUR,
    "long_event_service_merge": 24 * HOUR,
    "old_waiting": 7 * DAY,
    "too_old": 21 * DAY,
    "ddm": 5 * DAY,
    "throttled": 7 * DAY,
    "invalid_merge": 30,
    "merging": 2 * HOUR,
}


def limits(parameters: Mapping[str, Any]) -> dict[str, float]:
    """Return every limit in minutes; ``parameters`` are those of the component.

    A name may end with ``_hours``, to tell it from the minutes that some installations brought along.
    """
    found: dict[str, float] = {}
    for name, minutes in DEFAULTS.items():
        hours = parameters.get(f"TIMEOUT_{name}_hours", parameters.get(f"TIMEOUT_{name}"))
        found[name] = float(hours) * HOUR if is_limit(hours) else minutes
    return found


def heartbeat_hours(parameters: Mapping[str, Any]) -> dict[str, float]:
    """Return how long jobs may be silent, by kind, as far as the component ``watcher`` says."""
    return {
        name.removeprefix(HEARTBEAT): float(hours)
        for name, hours in parameters.items()
        if name.startswith(HEARTBEAT) and is_limit(hours)
    }


def unusable(parameters: Mapping[str, Any]) -> list[str]:
    """Return the parameters that are no limit: their default holds, since a limit of nothing would end every job."""
    names = {f"TIMEOUT_{name}{unit}" for name in DEFAULTS for unit in ("", "_hours")} | {"transtimelo", "transtimehi"}
    return sorted(
        name
        for name, value in parameters.items()
        if (name in names or name.startswith(HEARTBEAT)) and not is_limit(value)
    )


def transfer_hours(parameters: Mapping[str, Any]) -> tuple[float, float]:
    """Return how long outputs may be under way, and those of jobs with a priority of 800 or more.

    The parameters ``transtimelo`` and ``transtimehi`` are days.
    """
    low, high = parameters.get("transtimelo"), parameters.get("transtimehi")
    return (float(low) if is_limit(low) else 2.0) * 24, (float(high) if is_limit(high) else 1.0) * 24


def is_limit(value: Any) -> TypeGuard[float]:
    """Tell whether a value of CONFIG is a number above 0."""
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value) and value > 0
