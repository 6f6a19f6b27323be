"""From what stands in a file to a typed value, by the type of the setting."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from pandaserver.config.daemon_config import read_daemons
from pandaserver.config.finding import did_you_mean
from pandaserver.config.plugins import read_plugins
from pandaserver.config.report import Report, Unreadable
from pandaserver.config.values import About, DaemonSpec, PluginEntry
from pandaserver.taskbuffer.connection_settings import Secret


def read(content: Any, kind: Any, about: About, report: Report) -> Any:
    """Return the value of that type, or raise Unreadable; ``content`` is text or a JSON value."""
    if about.words is not None:
        return _word(content, kind, about)
    return _READERS[kind](content, about, report)


def _word(content: Any, kind: type, about: About) -> Any:
    accepted = {word.lower(): value for word, value in (about.words or {}).items()}
    text = str(content).lower()
    if text not in accepted:
        known = ", ".join(about.words or ())
        raise Unreadable(f"{content!r} is not one of {known}", did_you_mean(text, about.words or ()))
    return kind(accepted[text])


def _bool(content: Any, _about: About, _report: Report) -> bool:
    if isinstance(content, bool):
        return content
    if (text := str(content).lower()) in ("true", "false"):
        return text == "true"
    raise Unreadable(f"{content!r} is neither True nor False", _without_comment(content))


def _int(content: Any, about: About, _report: Report) -> int:
    pattern, base = (r"[0-7]+", 8) if about.octal else (r"-?[0-9]+", 10)
    text = "" if isinstance(content, bool) else str(content)
    if not re.fullmatch(pattern, text):
        raise Unreadable(f"{content!r} is not a whole number", _without_comment(content))
    number = int(text, base)
    if about.at_least is not None and number < about.at_least:
        raise Unreadable(f"{number} is too small", f"at least {about.at_least}")
    return number


def _str(content: Any, _about: About, _report: Report) -> str:
    return "" if content in (None, "None") else _scalar(content)


def _secret(content: Any, _about: About, _report: Report) -> Secret:
    return Secret("" if content is None else _scalar(content))


def _path(content: Any, _about: About, _report: Report) -> Path:
    if not (text := _str(content, _about, _report)):
        raise Unreadable("is empty", "give a path, or remove the line for the default")
    return Path(text)


def _optional_path(content: Any, _about: About, _report: Report) -> Path | None:
    text = _str(content, _about, _report)
    return Path(text) if text else None


def _list(content: Any, _about: About, _report: Report) -> tuple[str, ...]:
    if isinstance(content, list):
        return tuple(_scalar(item) for item in content)
    return tuple(item.strip() for item in _str(content, _about, _report).split(",") if item.strip())


def _plugins(content: Any, _about: About, report: Report) -> tuple[PluginEntry, ...]:
    return read_plugins(_list(content, _about, report), report)


def _daemons(content: Any, _about: About, report: Report) -> tuple[DaemonSpec, ...]:
    return read_daemons(content, report)


def _scalar(content: Any) -> str:
    if isinstance(content, list | dict):
        raise Unreadable("is a JSON list or map, where a text is expected")
    return str(content)


def _without_comment(content: Any) -> str:
    # The parser has no comments behind values, which surprises everybody once.
    return "put the comment on a line of its own" if re.search(r"\s[#;]", str(content)) else ""


_READERS: Final[Mapping[Any, Callable[[Any, About, Report], Any]]] = {
    bool: _bool,
    int: _int,
    str: _str,
    Secret: _secret,
    Path: _path,
    Path | None: _optional_path,
    tuple[str, ...]: _list,
    tuple[PluginEntry, ...]: _plugins,
    tuple[DaemonSpec, ...]: _daemons,
}
