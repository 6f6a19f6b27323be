"""Every setting that is declared is read by somebody: a setting without effect is a trap for operators."""

from __future__ import annotations

import ast
from dataclasses import fields
from pathlib import Path

import pytest

from pandaserver.config.settings import DaemonSettings, LoggerSettings, ServerSettings

ROOT = Path(__file__).resolve().parents[2]

#: What code calls an object with settings. ``self`` counts only where settings derive something from each other.
HOLDERS = {"server", "settings", "_settings", "daemon", "logger", "values", "_values", "config"}

#: Reads a setting to judge it, not to act on it.
JUDGES = {"pandaserver/config/checks.py"}


def modules() -> list[Path]:
    found = [path for package in ("pandaserver", "pandacommon") for path in (ROOT / package).rglob("*.py")]
    return [path for path in found if str(path.relative_to(ROOT)) not in JUDGES]


def attributes_read() -> set[str]:
    """The names of all attributes that are read from something that holds settings."""
    names: set[str] = set()
    for path in modules():
        holders = HOLDERS | {"self"} if path.name == "logger_settings.py" else HOLDERS
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                holder = node.value
                name = holder.attr if isinstance(holder, ast.Attribute) else getattr(holder, "id", "")
                if name in holders:
                    names.add(node.attr)
    return names


READ = attributes_read()


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(field.name, id=f"{settings.SECTION}-{field.name}")
        for settings in (ServerSettings, DaemonSettings, LoggerSettings)
        for field in fields(settings)
    ],
)
def test_a_setting_is_read(name: str) -> None:
    assert name in READ, "wire it, or move it to config/unused_settings.py with the reason"
