"""The daemons of the shipped configuration: every script of ``pandaserver/daemons/scripts``, with its usual period."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

#: Name of the daemon -> its attributes in the setting ``config`` of section ``[daemon]``.
SHIPPED_DAEMONS: Final[Mapping[str, Mapping[str, Any]]] = {
    "dummy_test": {"enable": False, "period": 120},
    "share_statistics": {"period": 60, "sync": True},
}


def sample_config() -> str:
    """Return the JSON text, one daemon a line, indented so that the lines continue a value."""
    lines = ",\n".join(f"    {json.dumps(name)}: {json.dumps(daemon)}" for name, daemon in SHIPPED_DAEMONS.items())
    return f"{{\n{lines}\n  }}"
