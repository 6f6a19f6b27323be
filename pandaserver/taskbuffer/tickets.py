"""What an idempotency key says: whose it is, and for which request it stands."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Final

from pandaserver.srvcore.errors import BadRequest

#: Longest key; the column that keeps it is as wide.
KEY_LIMIT: Final = 128
_OWNER_LIMIT: Final = 250

_KEY: Final = re.compile(rf"[!-~]{{1,{KEY_LIMIT}}}")


@dataclass(frozen=True, slots=True)
class Ticket:
    """One request that may come again: its owner, the key it came with, and a digest of what it asks for."""

    owner: str
    key: str
    request_hash: str


def checked_key(text: str) -> str:
    """Return a key as it came, or refuse it: databases disagree about blanks and letters beyond ASCII."""
    key = text.strip(" \t")
    if not _KEY.fullmatch(key):
        raise BadRequest(
            f"Idempotency-Key must have 1 to {KEY_LIMIT} visible ASCII characters, such as those of a UUID, "
            f"got {len(key)}: {key[:40]!r}"
        )
    return key


def owner_of(dn: str) -> str:
    """Return a DN as it stands in the table: itself, or if it is too long or not ASCII, its beginning and a digest."""
    if len(dn) <= _OWNER_LIMIT and dn.isascii():
        return dn
    digest = hashlib.sha256(dn.encode(errors="surrogatepass")).hexdigest()
    return f"{dn.encode('ascii', 'replace').decode()[: _OWNER_LIMIT - 65]}#{digest}"
