"""What one row of the access matrix says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

#: Kinds of callers who act for Jane where names decide, and where the first CN of a certificate does.
BY_NAME: Final = "owner twin namesake limited"
BY_CN: Final = "owner twin limited"

PILOTS: Final = "pilot production"

#: Who runs pilots everywhere: by role, or as a member of a VO of ``pilot_vos``.
RUNNERS: Final = f"{PILOTS} pilotmember"


@dataclass(frozen=True, slots=True)
class Row:
    """One request about one thing.

    ``who``: kinds for whom it happens, out of those whom the level admits; None: no rule beside the level. ``changes``
    names tables, probes and files of ``access_world`` that differ then, and ``shows`` the marks in the reply.
    ``legacy`` are raw fields of the historical door that are written otherwise there. ``own_instead``: whoever may not
    do it to Jane's does it to their own. ``audited``: the change leaves an audit row.
    """

    name: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    who: str | None = None
    changes: tuple[str, ...] = ()
    shows: str = ""
    what: str = ""
    legacy: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, tuple[str, bytes]] = field(default_factory=dict)
    own_instead: bool = False
    only_for: str = ""  # kinds that the row speaks of; "": all
    audited: bool = False

    def speaks_of(self, kind: str) -> bool:
        """Return whether the row is about such callers."""
        return not self.only_for or kind in self.only_for.split()
