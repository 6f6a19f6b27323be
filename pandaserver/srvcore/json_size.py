"""How many values a JSON text has, before it is read: three characters can become an object of two hundred bytes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from pandaserver.srvcore.errors import BadRequest

#: Most values of one text. Each may take a hundred bytes of memory and more.
MOST: Final = 2_000_000

#: Characters that are looked at in one step, because removing texts notes each of them.
_BLOCK: Final = 2**18

# Possessive, because the matcher would otherwise note every place that it could go back to.
_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)


def refuse_many_values(text: str | bytes, most: int = MOST) -> None:
    """Raise BadRequest if a text has more than so many members and containers; short texts cost nothing."""
    if len(text) <= most or _count(text) <= most:
        return
    # Most of what was counted may stand in texts, such as the parameters of jobs.
    found = 0
    for block in _without_texts(text if isinstance(text, bytes) else text.encode(errors="surrogatepass")):
        found += _count(block)
        if found > most:
            raise BadRequest(f"JSON with more than {most} values is not read")


def _count(text: str | bytes) -> int:
    if isinstance(text, str):
        return text.count(",") + text.count("[") + text.count("{")
    return text.count(b",") + text.count(b"[") + text.count(b"{")


def _without_texts(data: bytes) -> Iterator[bytes]:
    """Yield JSON without its texts, as far as it is JSON."""
    place = 0
    while place < len(data):
        end = min(place + _BLOCK, len(data))
        bare = _STRING.sub(b"", data[place:end])
        begun = bare.find(b'"')
        if begun < 0:
            yield bare
            place = end
            continue
        yield bare[:begun]
        whole = _STRING.match(data, end - (len(bare) - begun))  # a text that goes on beyond the block
        if whole is None:
            return
        place = whole.end()
