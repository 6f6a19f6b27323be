"""Typed parameters of the table CONFIG, which operators change while the server runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.transaction import Transaction

#: Rows without a VO of their own; the column is part of the key, so it is never NULL.
EVERY_VO: Final = "default"

READ_PARAMETER = """
    SELECT value, type, VO, value_json FROM ATLAS_PANDA.Config
    WHERE app = :app AND component = :component AND key = :key
"""

READ_PARAMETERS = """
    SELECT key, value, type, VO, value_json FROM ATLAS_PANDA.Config
    WHERE app = :app AND component = :component
"""

READ_APP = """
    SELECT VO, component, key, value, type, value_json FROM ATLAS_PANDA.Config
    WHERE app = :app
"""

_CASTS: Final[dict[str, Callable[[str], Any]]] = {
    "str": str,
    "int": int,
    "float": float,
    "bool": lambda text: {"true": True, "false": False}[text.strip().lower()],
}


@operation(timeout=30, repeatable=True)
def get_config_value(tx: Transaction, component: str, key: str, app: str = "pandaserver", vo: str | None = None) -> Any:
    """Return a parameter: the row of that VO, else the one for every VO, else None. An uncastable value is None."""
    found = {row[2]: row for row in tx.rows(READ_PARAMETER, app=app, component=component, key=key)}
    row = found.get(vo) or found.get(EVERY_VO) or (next(iter(found.values())) if found and vo is None else None)
    return None if row is None else _cast(row[0], row[1], row[3])


@operation(timeout=30, repeatable=True)
def get_config_values(tx: Transaction, component: str, app: str = "pandaserver") -> dict[str, Any]:
    """Return all parameters of a component by key; uncastable values are left out.

    Where only some VO has a row, that row serves everybody.
    """
    rows = sorted(tx.rows(READ_PARAMETERS, app=app, component=component), key=lambda row: row[3] == EVERY_VO)
    values = {key: _cast(value, kind, text) for key, value, kind, _, text in rows}
    return {key: value for key, value in values.items() if value is not None}


@operation(timeout=30, repeatable=True)
def get_config_of_app(tx: Transaction, app: str) -> dict[str, dict[str, dict[str, Any]]]:
    """Return all parameters of another program by VO, component and key; uncastable values are None."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for vo, component, key, value, kind, text in tx.rows(READ_APP, app=app):
        found.setdefault(vo, {}).setdefault(component, {})[key] = _cast(value, kind, text)
    return found


def _cast(value: str | None, kind: str, text: str | None) -> Any:
    try:
        if kind == "json":
            return json.loads(text or "null")
        return None if value is None else _CASTS[kind](value)
    except (ValueError, KeyError):
        return None
