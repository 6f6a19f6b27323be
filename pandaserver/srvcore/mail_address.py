"""Mail addresses of users: what is one, and who wants no mail."""

from __future__ import annotations

import re
from typing import Final

#: In place of the address of a user who wants no mail.
NO_MAIL: Final = "notsend"

#: Longest address that the users' table takes; a cut one would be somebody else's.
ADDRESS_LIMIT: Final = 60

_ADDRESS: Final = re.compile(r"[^\s@,;<>\"]+@[^\s@,;<>\"]+")


def address_in(text: object) -> str:
    """Return the address if the text is one that can be stored, else nothing."""
    found = text.strip() if isinstance(text, str) else ""
    return found if len(found) <= ADDRESS_LIMIT and _ADDRESS.fullmatch(found) else ""


def usable_address(stored: str | None) -> str | None:
    """Return the address if it is one; None for a user without one, or who wants no mail."""
    text = (stored or "").strip()
    return text if text.lower() != NO_MAIL and _ADDRESS.fullmatch(text) else None
