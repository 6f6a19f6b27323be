"""Every method that the description of the interface names is there, as described: tables written by hand say how.

A parameter more is no difference if callers may leave it out, and a type that takes more is none either: text where
clients send documents as text, null or a fraction where pilots send junk.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

import pandaserver.jobdispatcher.JobDispatcher
import pandaserver.taskbuffer.Utils
import pandaserver.userinterface.UserIF  # noqa: F401  declares requests, as the two above
from pandaserver.api.casting import Kind
from pandaserver.api.parameters import Parameter
from pandaserver.api.registry import REGISTRY, Auth, Door, Route
from pandaserver.userinterface.obsolete_requests import OBSOLETE

DATA: Final = Path(__file__).parents[1] / "data" / "user_api"

LEVELS: Final = {
    "-": Auth.ANYONE,
    "S1": Auth.SIGNED_IN,
    "S2": Auth.USER,
    "P": Auth.PRODUCTION,
    "pilot": Auth.PILOT,
}
REPLIES: Final = {"P": "pickle", "J": "json", "T": "plain"}

#: Replies that pilots get from the same method in a form of their own.
OTHER_REPLIES: Final = {"updateEventRanges": "pilot", "getJobStatus": "pickle"}


def rows(file: str) -> Iterator[list[str]]:
    for line in (DATA / file).read_text().splitlines():
        if line and not line.startswith("#"):
            yield [cell.strip() for cell in line.split("|")]


HISTORICAL: Final = list(rows("historical.txt"))
V1: Final = list(rows("v1.txt"))


def route_of(door: Door, name: str) -> Route:
    route = REGISTRY.find(door, name)
    assert route is not None, f"{name} is missing"
    return route


def problems(route: Route, door: Door, wanted: dict[str, tuple[bool, str, str]]) -> list[str]:
    """Compare parameters with (whether it is required, its type or "", its default or "")."""
    declared = route.signature.at(door)
    found = [f"{name} is missing" for name in wanted.keys() - declared.keys()]
    found += [f"{n} is required, and not in the table" for n, p in declared.items() if p.required and n not in wanted]
    for name, (required, kind, default) in wanted.items():
        p = declared.get(name)
        if p is not None:
            found += list(differences(name, p, required, kind, default))
    return found


def differences(name: str, p: Parameter, required: bool, kind: str, default: str) -> Iterator[str]:
    if p.required is not required:
        yield f"{name} is {'required' if p.required else 'optional'}"
    if kind and not takes(p, kind):
        yield f"{name} is {described(p.kind)}, not {kind}"
    if default and not p.required and p.default != ast.literal_eval(default):
        yield f"{name} is {p.default!r} unless given, not {default}"


def takes(p: Parameter, wanted: str) -> bool:
    """Tell whether a parameter takes every value of the types that a table names."""
    if wanted.endswith("?") and not p.kind.optional:
        return False
    names = set(described(p.kind).rstrip("?").split("/"))
    if "object" in names or (p.wire.read_v1 and wanted == "str"):  # a reader of its own makes something of the text
        return True
    names |= {"int"} if "float" in names else set()
    names |= {name for name in wanted.rstrip("?").split("/") if name.startswith("list") and "list" in names}
    return names >= set(wanted.rstrip("?").split("/"))


def described(kind: Kind) -> str:
    """Return a type as the table spells it."""
    names = [f"list[{kind.element}]" if base is list and kind.element else base.__name__ for base in kind.bases]
    return "/".join(names) + "?" * kind.optional


#: What clients of an older release leave out, or what one number stands for anyway.
OPTIONAL: Final = {
    "event/acquire_event_ranges": ["jobset_id is optional"],
    "pilot/acquire_jobs": ["n_jobs is None unless given, not 1"],
}


@pytest.mark.parametrize("row", HISTORICAL, ids=[row[0] for row in HISTORICAL])
def test_a_historical_method_is_as_described(row: list[str]) -> None:
    name, level, reply, parameters = row
    route = route_of(Door.LEGACY, name)
    assert route.auth is LEVELS[level]
    form, _, obsolete = reply.partition(" ")
    assert route.answer.family == OTHER_REPLIES.get(name, REPLIES[form])
    assert (name in OBSOLETE) is (obsolete == "O")
    if not obsolete:
        wanted = {word.rstrip("?"): (not word.endswith("?"), "", "") for word in parameters.split()}
        assert problems(route, Door.LEGACY, wanted) == []


@pytest.mark.parametrize("row", V1, ids=[row[0] for row in V1])
def test_a_method_of_v1_is_as_described(row: list[str]) -> None:
    name, verb, level, parameters = row
    route = route_of(Door.V1, name)
    assert (route.method, route.auth_v1) == (verb, LEVELS[level])
    wanted = {}
    for word in parameters.split():
        declared, _, default = word.partition("=")
        parameter, _, kind = declared.partition(":")
        wanted[parameter] = (not default, kind, default)
    assert problems(route, Door.V1, wanted) == OPTIONAL.get(name, [])


def test_a_difference_is_seen() -> None:
    route = route_of(Door.V1, "job/kill")
    table = {"job_ids": (False, "list[str]", ""), "nobody": (True, "", ""), "code": (False, "int?", "9")}
    assert sorted(problems(route, Door.V1, table)) == [
        "code is None unless given, not 9",
        "job_ids is list[int], not list[str]",
        "job_ids is required",
        "nobody is missing",
    ]
    assert problems(route, Door.V1, {}) == ["job_ids is required, and not in the table"]
