"""Settings as text: what one writes into a file to get a value."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, get_type_hints

from pandaserver.config.settings import DaemonSettings, LoggerSettings, ServerSettings
from pandaserver.config.values import ABOUT, About, DaemonSpec, PluginEntry
from pandaserver.taskbuffer.connection_settings import Secret

Settings = ServerSettings | DaemonSettings | LoggerSettings


def settings_of(settings: Settings) -> Iterator[tuple[str, About, Any]]:
    """Return key, facts and value of each setting that has a key of its own."""
    for field in fields(settings):
        about: About = field.metadata[ABOUT]
        if not about.section:
            yield about.key or field.name, about, getattr(settings, field.name)


def text_of(value: Any, about: About) -> str:
    """Return the value as it is written in a file; a secret is hidden."""
    if about.octal:
        return f"{value:03o}"
    if isinstance(value, tuple):
        return _list_text(value)
    if isinstance(value, Secret):
        return "<hidden>" if value else ""
    return str(value)


def type_text(settings: type[Settings], name: str, about: About) -> str:
    """Return in words what may be written for a setting."""
    kind = get_type_hints(settings)[name]
    unit = f" ({about.unit})" if about.unit else ""
    if about.words is not None:
        return ", ".join(about.words)
    if about.octal:
        return "octal number"
    return f"{_TYPE_TEXT[kind]}{unit}"


_TYPE_TEXT: dict[Any, str] = {
    bool: "True, False",
    int: "number",
    str: "text",
    Secret: "secret",
    Path: "path",
    Path | None: "path",
    tuple[str, ...]: "list",
    tuple[PluginEntry, ...]: "plug-ins",
    tuple[DaemonSpec, ...]: "JSON",
}


def _list_text(value: tuple[Any, ...]) -> str:
    if value and isinstance(value[0], DaemonSpec):
        return json.dumps({spec.name: {k: v for k, v in asdict(spec).items() if k != "name"} for spec in value})
    return ", ".join(_plugin_text(item) if isinstance(item, PluginEntry) else item for item in value)


def _plugin_text(entry: PluginEntry) -> str:
    return ":".join(filter(None, (entry.vo, entry.module, entry.class_name, entry.group)))
