"""How many values a JSON text has, before it is read: three characters can become an object of two hundred bytes."""

from __future__ import annotations

import re
from typing import Final

from pandaserver.srvcore.errors import BadRequest

#: Most values of one text. Each may take a hundred bytes of memory and more.
MOST: Final = 2_000_000

# Possessive, because the matcher would otherwise note every place that it could go back to.
_STRING: Final = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_STRING_BYTES: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)


def refuse_many_values(text: str | bytes, most: int = MOST) -> None:
    """Raise BadRequest if a text has more than so many members and containers; short texts cost nothing."""
    if len(text) <= most or _count(text) <= most:
        return
    # Most of what was counted may stand in texts, such as the parameters of jobs.
    bare = _STRING.sub("", text) if isinstance(text, str) else _STRING_BYTES.sub(b"", text)
    if _count(bare) > most:
        raise BadRequest(f"JSON with more than {most} values is not read")


def _count(text: str | bytes) -> int:
    if isinstance(text, str):
        return text.count(",") + text.count("[") + text.count("{")
    return text.count(b",") + text.count(b"[") + text.count(b"{")
