"""Statements and their values in the log SQLDumper, for whoever has to see what a database was asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pandacommon.pandalogger.PandaLogger import PandaLogger
from pandaserver.taskbuffer.connection_settings import Secret

#: Tables whose texts are nobody's business.
CONFIDENTIAL: Final = ("secrets", "proxykey", "credential", "token")
LONGEST: Final = 200

_logger = PandaLogger().getLogger("SQLDumper")


def dump(text: str, values: Any) -> None:
    """Log a statement as the backend gets it, on one line."""
    hidden = any(word in text.lower() for word in CONFIDENTIAL)
    _logger.debug(f"{' '.join(text.split())} {_shown(values, hidden)}")


def _shown(value: Any, hidden: bool) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}: {_shown(v, hidden)}" for name, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_shown(v, hidden) for v in value[:20]) + (", ...]" if len(value) > 20 else "]")
    if isinstance(value, Secret) or (hidden and isinstance(value, str | bytes)):
        return "<hidden>"
    shown = repr(value)
    return shown if len(shown) <= LONGEST else f"{shown[:LONGEST]}..."
