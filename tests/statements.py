"""The SQL of every operation, collected from the module constants, for tests that compile all of it."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from typing import Any

from pandaserver.taskbuffer import db_proxy_mods

STARTS = ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH")
#: Modules outside db_proxy_mods that hold SQL.
OTHERS = (
    "pandaserver.taskbuffer.OraDBProxy",
    "pandaserver.taskbuffer.process_lock",
    "pandaserver.taskbuffer.dialects.sqlite",
)


def statements() -> list[tuple[str, str]]:
    """Return (name, SQL) of every module constant that looks like SQL, constants inside containers included."""
    modules = [m.name for m in pkgutil.iter_modules(db_proxy_mods.__path__, f"{db_proxy_mods.__name__}.")]
    found: dict[str, str] = {}
    for name in (*modules, *OTHERS):
        for attribute, value in vars(importlib.import_module(name)).items():
            for path, sql in _texts(f"{name.rpartition('.')[2]}.{attribute}", value):
                found.setdefault(sql, path)
    return [(path, sql) for sql, path in found.items()]


def _texts(path: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        if value.lstrip().startswith(STARTS) and " " in value.strip():
            yield path, value
    elif isinstance(value, Mapping):
        for key, member in value.items():
            yield from _texts(f"{path}[{key}]", member)
    elif isinstance(value, list | tuple):
        for n, member in enumerate(value):
            yield from _texts(f"{path}[{n}]", member)
