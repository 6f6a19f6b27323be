"""Plug-ins of experiments: reading their list, and finding the class for a VO."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

from pandaserver.config.finding import ConfigurationError
from pandaserver.config.report import Report
from pandaserver.config.values import PluginEntry

ANY_VO: Final = "any"

#: Names that older configurations use for the plug-ins of a VO without special wishes.
_DUMMY: Final = re.compile(r"\b(Adder|Setupper)DummyPlugin$")


def read_plugins(entries: Iterable[str], report: Report) -> tuple[PluginEntry, ...]:
    """Return the plug-ins of a list of ``vo[|vo...]:module:Class[:group]``; each bad entry is reported and left out."""
    found: list[PluginEntry] = []
    for entry in entries:
        parts = [part.strip() for part in entry.split(":")]
        if len(parts) not in (3, 4) or not all(parts):
            report(f"{entry!r} is not a plug-in", "write vo[|vo...]:module:Class[:group]")
            continue
        group = parts[3] if len(parts) == 4 else None
        module, class_name = _current_name(parts[1]), _DUMMY.sub(r"\1SimplePlugin", parts[2])
        found += [PluginEntry(vo.strip(), module, class_name, group) for vo in parts[0].split("|") if vo.strip()]
    return tuple(found)


def plugin_for(plugins: Sequence[PluginEntry], vo: str, group: str | None = None) -> type[Any] | None:
    """Return the class for a VO and group: that of both, of the VO, of any VO, or None.

    Raises ConfigurationError if the class cannot be imported.
    """
    by_vo = {(entry.vo, entry.group): entry for entry in plugins}
    for wanted in ((vo, group), (vo, None), (ANY_VO, None)):
        if wanted in by_vo:
            return plugin_class(by_vo[wanted])
    return None


def plugin_class(entry: PluginEntry) -> type[Any]:
    """Import the class of a plug-in, or raise ConfigurationError with the reason."""
    try:
        found = getattr(importlib.import_module(entry.module), entry.class_name, None)
    except Exception as error:  # a plug-in is foreign code, whose import may fail in any way
        raise ConfigurationError(f"plug-in {entry.module} does not import: {error!r}") from error
    if not isinstance(found, type):
        raise ConfigurationError(f"plug-in module {entry.module} has no class {entry.class_name}")
    return found


def _current_name(module: str) -> str:
    # Older configurations relied on the package's own directory being in PYTHONPATH.
    full = f"pandaserver.{module}" if module.startswith("dataservice.") else module
    return _DUMMY.sub(r"\1SimplePlugin", full) if full.startswith("pandaserver.") else full
