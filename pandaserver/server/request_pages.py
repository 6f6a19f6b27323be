"""Pages about requests, made from their declarations."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

from pandaserver.api.openapi import openapi_document
from pandaserver.api.parameters import Door, Parameter
from pandaserver.api.registry import REGISTRY, Route
from pandaserver.server.assembly import HANDLERS

_INTRODUCTION = """\
# Requests

Every request of the server, from its declaration. The same request may have two names: `/api/v1/<module>/<method>`
takes JSON and answers `{"success", "message", "data"}`; `/server/panda/<name>` serves clients, pilots and harvesters
that know the historical interface. `GET /api/v1/openapi.json` describes them for programs.

Who may call: *anyone*; *signed in*, with a certificate or token; *user*, the same without a limited proxy; *pilot*,
with the pilot or production role; *production*, with the production role. A request for *anyone* that concerns jobs
says in its description whom it serves.
"""


def declared_requests() -> list[Route]:
    """Return every request of this server."""
    for module in HANDLERS:
        importlib.import_module(module)
    return list(REGISTRY)


def openapi_page() -> str:
    """Return the text of ``docs/openapi.json``."""
    return json.dumps(openapi_document(declared_requests()), indent=1)


def requests_page() -> str:
    """Return the text of ``docs/requests.md``."""
    routes = sorted(declared_requests(), key=_sorting)
    sections = [_INTRODUCTION]
    for topic, members in groupby(routes, key=_topic):
        sections += [f"## {topic}\n", *map(_section, members)]
    return "\n".join(sections)


def _topic(route: Route) -> str:
    module, slash, _ = (route.v1 or "").partition("/")
    return module if slash else "historical interface only" if route.v1 is None else "about the interface"


def _sorting(route: Route) -> tuple[bool, str, str]:
    return route.v1 is None, _topic(route), route.v1 or route.legacy or ""


def _section(route: Route) -> str:
    lines = [f"### {route.v1 or route.legacy}\n", " ".join(route.doc.split()), "", *_facts(route), ""]
    rows = list(_rows(route.signature.parameters))
    if rows:
        lines += ["| Parameter | Historical name | Type | Default | Meaning |", "|---|---|---|---|---|", *rows, ""]
    return "\n".join(lines)


def _facts(route: Route) -> Iterator[str]:
    if route.v1:
        yield f"- v1: {route.method} `/api/v1/{route.v1}`, {route.auth_v1.value}"
    if route.legacy:
        yield f"- historical: `/server/panda/{route.legacy}`, {route.auth.value}; {route.answer.family} reply"


def _rows(parameters: Iterable[Parameter]) -> Iterator[str]:
    for p in parameters:
        name = f"`{p.name}`" if p.offered_at(Door.V1) else "-"
        historical = f"`{p.name_at(Door.LEGACY)}`" if p.offered_at(Door.LEGACY) else "-"
        default = "required" if p.required else _shown(p.default)
        meaning = "; ".join(filter(None, [p.meaning, "junk counts as absent" if p.lenient else ""])).replace("|", "\\|")
        yield f"| {name} | {historical} | {p.kind} | {default} | {meaning} |".replace("  ", " ")


def _shown(value: Any) -> str:
    return "" if value is None else f"`{value!r}`"
