"""The backends. A driver is imported only when a connection is opened."""

from __future__ import annotations

import importlib
from typing import Final

from pandaserver.taskbuffer.connection_settings import ConnectionSettings
from pandaserver.taskbuffer.dialects.base import Dialect

_HOMES: Final = {
    "sqlite": ("sqlite", "SQLite"),
    "postgres": ("postgres", "Postgres"),
    "mysql": ("mysql", "MySQL"),
    "oracle": ("oracle", "Oracle"),
}


def dialect_for(settings: ConnectionSettings) -> Dialect:
    """Return the dialect of a backend; raises ValueError for one that is unknown."""
    try:
        module, name = _HOMES[settings.backend]
    except KeyError:
        raise ValueError(f"backend {settings.backend!r} is none of {', '.join(_HOMES)}") from None
    made: Dialect = getattr(importlib.import_module(f"{__name__}.{module}"), name)(settings)
    return made
