"""Who may do what, for the page about identities, made from the declarations of requests."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from pandaserver.api.parameters import Door
from pandaserver.api.registry import Auth, Route
from pandaserver.server.request_pages import declared_requests

_MEANING: Final = {
    Auth.ANYONE: "anyone",
    Auth.SIGNED_IN: "signed in: certificate or token, also a limited proxy",
    Auth.USER: "user: the same without a limited proxy",
    Auth.PILOT: "pilot: pilot or production role",
    Auth.PRODUCTION: "production: production role",
}

#: Module of methods that are no longer supported, and say so to everybody.
_OBSOLETE: Final = ".obsolete_requests"

#: How a sentence begins that says for whom a request is, beside its level.
_RULE: Final = re.compile(r"(?:For|At the historical door for|Only callers)\b")

#: What a sentence says that tells no more than the level does.
_PLAIN: Final = re.compile(r"For anybody(?: at the historical door, for pilots at v1)?\.")


def access_table() -> str:
    """Return a table of levels with their requests, and one of rules beside the levels."""
    routes = [route for route in declared_requests() if not route.handler.__module__.endswith(_OBSOLETE)]
    lines = ["| who | at v1 | at the historical door |", "|---|---|---|"]
    lines += [
        f"| {what} | {_named(routes, Door.V1, auth)} | {_named(routes, Door.LEGACY, auth)} |"
        for auth, what in _MEANING.items()
    ]
    lines += ["", "Beside the level, these requests look at whose it is, at grants, or at the settings:", ""]
    lines += ["| for whom | requests |", "|---|---|"]
    lines += [f"| {rule} | {', '.join(names)} |" for rule, names in sorted(_rules(routes).items())]
    return "\n".join(lines)


def _named(routes: Iterable[Route], door: Door, auth: Auth) -> str:
    names = ((route.v1 if door is Door.V1 else route.legacy, route) for route in routes)
    return ", ".join(f"`{name}`" for name in sorted(n for n, route in names if n and route.auth_at(door) is auth))


def _rules(routes: Iterable[Route]) -> dict[str, list[str]]:
    """Return the requests by the sentences that say for whom they are."""
    found: dict[str, list[str]] = {}
    for route in routes:
        sentences = re.split(r"(?<=\.)\s+", " ".join(route.doc.split()))
        rule = " ".join(s for s in sentences if _RULE.match(s) and not _PLAIN.fullmatch(s))
        if rule:
            found.setdefault(rule.replace("|", "\\|"), []).append(f"`{route.v1 or route.legacy}`")
    return {rule: sorted(names) for rule, names in found.items()}
