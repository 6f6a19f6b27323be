"""What a row expects of a request by one kind of caller, and whether what happened is that."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum
from urllib.parse import unquote_plus

from pandaserver.api.registry import Door
from tests.api.access_levels import LEVELS
from tests.api.access_row import Row
from tests.api.access_world import AUDIT, MARKS, PROBES


class Verdict(Enum):
    """Classes of answers."""

    unknown_caller = "credentials that prove nothing, or a ban: 403 before anything else"
    refused = "the level is too low: nothing of the request is read"
    nothing = "read, and refused or without effect, because of whose it is"
    done = "what was asked for happens, or is shown"
    free = "no rule beside the level: nobody else's things change, and no more is shown than the row says"


@dataclass(frozen=True, slots=True)
class Found:
    """What became of one request."""

    status: int
    body: bytes
    reached: bool | None  # whether its parameters were read; None: nobody can tell
    changes: frozenset[str]
    sent: bytes = b""  # body of the request: what comes back out of it tells nothing

    @property
    def text(self) -> str:
        """The reply as text, as it came and unquoted."""
        text = self.body.decode(errors="replace")
        return f"{text}\n{unquote_plus(text)}"

    @property
    def shown(self) -> frozenset[str]:
        """Names of the marks in the reply."""
        return frozenset(name for name, mark in MARKS.items() if mark in self.text and mark.encode() not in self.sent)

    def __str__(self) -> str:
        return f"{self.status} changed={sorted(self.changes)} shown={sorted(self.shown)} {self.body[:200]!r}"


def expected(row: Row, level: str, kind: str) -> Verdict:
    """Return what the tables say about a kind of caller."""
    if kind == "nobody":
        return Verdict.unknown_caller
    known_as = {"pilotmember": "pilot"}.get(kind, kind)
    if known_as not in ("anonymous", "limited", "pilot", "production"):
        known_as = "user"
    if known_as not in LEVELS[level].split():
        return Verdict.refused
    if row.who is None:
        return Verdict.free
    return Verdict.done if kind in row.who.split() else Verdict.nothing


def judged(row: Row, verdict: Verdict, found: Found, door: Door) -> str:
    """Return what is wrong about an answer, "" if nothing is."""
    match verdict:
        case Verdict.unknown_caller:
            return _unchanged(found) or ("" if _is_unknown(found) else "not refused at the entry")
        case Verdict.refused:
            return _unchanged(found) or ("" if _is_refused(found, door) else "not refused for its level")
        case Verdict.nothing:
            return _nothing(row, found)
        case Verdict.done:
            return _done(row, found)
        case Verdict.free:
            return _free(row, found)


def _differing(row: Row) -> set[str]:
    return {name.lower() for name in row.changes}  # as SQLite spells tables


def _is_unknown(found: Found) -> bool:
    return found.status == 403 and found.body.startswith(b"ERROR : ") and not found.reached


def _is_refused(found: Found, door: Door) -> bool:
    if found.status != 200 or found.reached:
        return False
    if door is Door.LEGACY:  # each method has a form of its own
        said = b"SSL secure connection" in found.body or b" role" in found.body or found.body == b"False"
        return found.reached is False or said
    reply = json.loads(found.body)
    refused = "SSL secure connection is required" in reply["message"] or " role" in reply["message"]
    return refused and (reply["success"], reply["data"]) == (False, None)


def _unchanged(found: Found) -> str:
    if found.changes:
        return f"changed {sorted(found.changes)}"
    return f"showed {sorted(found.shown)}" if found.shown else ""


def _nothing(row: Row, found: Found) -> str:
    if found.status >= 500 or found.reached is False:
        return "not answered by the handler"
    if not row.own_instead:
        return _unchanged(found)
    changed = found.changes & {*_differing(row), *PROBES}
    return f"changed {sorted(changed)}" if changed else f"showed {sorted(found.shown)}" if found.shown else ""


def _done(row: Row, found: Found) -> str:
    if found.status != 200:
        return "not answered"
    missing = _differing(row) - found.changes
    if missing:
        return f"should have changed {sorted(missing)}"
    if not set(row.shows.split(", ")) - {""} <= found.shown:
        return f"should have shown {row.shows}"
    if row.audited and AUDIT not in found.changes:
        return "left no audit row"
    too_much = found.shown - set(row.shows.split(", "))
    return f"showed {sorted(too_much)}" if too_much else ""


def _free(row: Row, found: Found) -> str:
    if found.status >= 500 or found.reached is False:
        return "not answered by the handler"
    changed = found.changes & PROBES.keys() - _differing(row)
    if changed:
        return f"changed {sorted(changed)}"
    too_much = found.shown - set(row.shows.split(", "))
    return f"showed {sorted(too_much)}" if too_much else ""
