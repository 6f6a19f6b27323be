"""The setting ``config`` of section ``[daemon]``: a JSON map of daemons, read into a tuple of DaemonSpec.

A bad entry is skipped with a warning, so that one mistake stops one script; only a map that cannot be read at all is
an error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from pandaserver.config.finding import Severity, did_you_mean
from pandaserver.config.report import Report, Unreadable
from pandaserver.config.values import DaemonSpec

__all__ = ["DaemonSpec", "default_timeout", "read_daemons"]


def default_timeout(period: int) -> int:
    """Return the time after which a run is killed, unless the daemon has its own ``timeout``."""
    return min(3 * period, period + 3600)


def read_daemons(content: Any, report: Report) -> tuple[DaemonSpec, ...]:
    """Return the enabled daemons in their order; ``module`` still lacks the package."""
    entries = _parsed(content, report) if isinstance(content, str) else content
    if not isinstance(entries, dict):
        raise Unreadable("is not a JSON map of daemons", 'write {"name": {"period": 60}}')
    found = (_read_one(name, attributes, report, _line_of(content, name)) for name, attributes in entries.items())
    return tuple(spec for spec in found if spec is not None)


def _parsed(text: str, report: Report) -> Any:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        for name in sorted({name for name in names if names.count(name) > 1}):
            message, hint = f"{name!r} is given twice", "the last one counts; remove the others"
            report(message, hint, severity=Severity.warning, line=_line_of(text, name))
        return dict(pairs)

    try:
        return json.loads(text, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        hint = f"see line {error.lineno}, column {error.colno} of the value"
        raise Unreadable(f"is not valid JSON: {error.msg}", hint) from error


def _read_one(name: str, attributes: Any, report: Report, line: int) -> DaemonSpec | None:
    def warn(message: str, suggestion: str = "") -> None:
        report(message, suggestion, severity=Severity.warning, part=name, line=line)

    if not isinstance(attributes, dict):
        warn("is not a map of attributes, so this daemon does not run", 'write {"period": 60}')
        return None
    for key in attributes.keys() - _ATTRIBUTES.keys():
        warn(f"attribute {key!r} is not known", did_you_mean(key, _ATTRIBUTES))
    mistakes = [f"{key} must be {_ATTRIBUTES[key][0]}" for key in _ATTRIBUTES if not _fits(attributes, key)]
    if mistakes:
        warn(f"{', '.join(mistakes)}; this daemon does not run")
        return None
    if not attributes.get("enable", True):
        return None
    period = int(attributes["period"])
    return DaemonSpec(
        name,
        attributes.get("module", name),
        period,
        tuple(attributes.get("arguments", ())),
        float(attributes.get("timeout", default_timeout(period))),
        attributes.get("sync", False),
        attributes.get("loop", False),
    )


def _fits(attributes: Mapping[str, Any], key: str) -> bool:
    if key not in attributes:
        return key != "period"
    return _ATTRIBUTES[key][1](attributes[key])


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool)


#: Attribute of a daemon -> what it must be, in words and as a test.
_ATTRIBUTES: Final[Mapping[str, tuple[str, Callable[[Any], bool]]]] = {
    "enable": ("true or false", _is_bool),
    "module": ("a name", lambda value: isinstance(value, str) and value != ""),
    "period": ("a whole number of seconds above 0", lambda value: _is_number(value) and value == int(value)),
    "arguments": ("a list", lambda value: isinstance(value, list)),
    "timeout": ("a number of seconds above 0", _is_number),
    "sync": ("true or false", _is_bool),
    "loop": ("true or false", _is_bool),
}


def _line_of(content: Any, name: str) -> int:
    """Return in which line of the value the name of a daemon stands, counted from 0."""
    if not isinstance(content, str):
        return 0
    found = re.search(re.escape(json.dumps(name, ensure_ascii=False)) + r"\s*:", content)
    return content.count("\n", 0, found.start()) if found else 0
