"""Times in SQLite: text of one fixed width, so that texts compare as the times do."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, Final

_SHAPE: Final = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}", re.ASCII)


def text_of_time(value: datetime) -> str:
    """Return the stored form of a naive UTC time."""
    return value.isoformat(" ", "microseconds")


def time_of_text(stored: bytes) -> datetime:
    """Return the time that a column of times holds."""
    return datetime.fromisoformat(stored.decode())


def time_if_text_of_one(value: Any) -> Any:
    """Return the time that a text spells, anything else as it is.

    Only for results of expressions: SQLite knows the type of a column, not that of ``MAX(modificationTime)``.
    """
    if isinstance(value, str) and len(value) == 26 and _SHAPE.fullmatch(value):
        return datetime.fromisoformat(value)
    return value
