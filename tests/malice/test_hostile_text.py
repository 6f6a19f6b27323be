"""SQL, controls, broken Unicode and monstrous numbers in every field of every request at both doors."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

import pytest

from pandaserver.api.casting import Upload
from pandaserver.api.parameters import Door, Parameter
from pandaserver.api.registry import LEGACY_PREFIX, REGISTRY, V1_PREFIXES, Route
from tests.api.callers import PILOT, PRODUCTION, USER
from tests.malice.conftest import QUEUE, Target
from tests.malice.refusals import is_refusal

SQL: Final = (
    "'; DROP TABLE jobsActive4; --",
    "x' OR '1'='1",
    "1; DELETE FROM ATLAS_PANDA.jobsActive4",
    "\\'; UPDATE jobsactive4 SET jobstatus = 'finished' --",
    "%s %(id)s :id ? {0} ${x}",
    "%' ESCAPE '\\",
)
ODD: Final = ("\0", "a\0b", "\ud800", "\uffff", "x" * 5000, "\r\nStatusCode=0", "../../etc/passwd", "\u202e\U0001f4a3")
NUMBERS: Final = (
    "NaN",
    "Infinity",
    "-Infinity",
    "1e400",
    "-1",
    "-9223372036854775809",
    "9" * 30,
    "9" * 5000,
    "0x10",
    "1_0",
    "\u0661",
)
DOCUMENTS: Final = ('{"a": 1, "a": 2}', "[" * 2000, '{"": [[], {}]}', "[null, NaN, 1e400, {}, -1, true]", '["\\ud800"]')
HOSTILE: Final = (*SQL, *ODD, *NUMBERS, *DOCUMENTS)

#: As JSON says them, which is more than text can.
TYPED: Final = (
    *SQL,
    *ODD,
    float("nan"),
    float("inf"),
    -1,
    2**63,
    10**400,
    [],
    {},
    [[[]]],
    {"a": {"b": None}},
    True,
    None,
)

PLAUSIBLE: Final[Mapping[type, Any]] = {str: "x", int: 1, float: 1.0, bool: True, list: ["x"], dict: {}, object: "x"}
KNOWN: Final = {"siteName": QUEUE, "site_name": QUEUE, "computingSite": QUEUE}


def plausible(name: str, parameter: Parameter, door: Door) -> Any:
    if name in KNOWN:
        return KNOWN[name]
    value = PLAUSIBLE[parameter.kind.bases[0]]
    if parameter.kind.bases[0] is list and parameter.kind.element is not None and int in parameter.kind.element.bases:
        value = [1]
    return value if door is Door.V1 or isinstance(value, str) else json.dumps(value)


def routes() -> Iterator[tuple[Door, str, Route]]:
    for route in REGISTRY:
        if route.handler.__module__.startswith("pandaserver."):
            for door, path, prefix in (
                (Door.LEGACY, route.legacy, LEGACY_PREFIX),
                (Door.V1, route.v1, V1_PREFIXES[0]),
            ):
                if path is not None:
                    yield door, prefix + path, route


def attacks(door: Door, route: Route, everything: bool) -> Iterator[dict[str, Any]]:
    """Fill each field in turn with each hostile value, the others with plausible ones.

    Where only the text of statements differs from what everything was tried on, a part is enough.
    """
    offered = {
        name: parameter
        for name, parameter in route.signature.at(door).items()
        if Upload not in parameter.kind.bases and parameter.kind.bases[0] in PLAUSIBLE
    }
    base = {name: plausible(name, parameter, door) for name, parameter in offered.items()}
    hostile = TYPED if door is Door.V1 and route.method != "GET" else HOSTILE
    for number, name in enumerate(offered):
        for count, value in enumerate(hostile):
            if everything or (number + count) % 4 == 0 or value in SQL[:2]:
                yield {**base, name: value}


@pytest.mark.timeout(240)
def test_no_field_of_any_request_is_a_way_in(target: Target) -> None:
    before = target.tbuf.peekJobs([target.victim])[0]
    callers = (USER, PILOT, PRODUCTION)
    wrong: list[str] = []
    count = 0
    for door, url, route in routes():
        for number, fields in enumerate(attacks(door, route, target.is_sqlite)):
            count += 1
            written, files = len(target.writes), target.files() if number % 20 == 0 else None
            caller = callers[number % 3]
            if door is Door.V1 and route.method != "GET":
                reply = target.client.post(
                    url, data=_json(fields), content_type="application/json", environ_overrides=caller
                )
            elif door is Door.V1:
                reply = target.client.get(url, query_string=_texts(fields), environ_overrides=caller)
            else:
                reply = target.client.post(url, data=_texts(fields), environ_overrides=caller)
            if reply.status_code >= 500 or target.bugs:
                wrong.append(f"{url} {_shown(fields)}: {reply.status_code} {target.bugs[-1:]}")
                target.bugs.clear()
            elif is_refusal(reply) and (
                len(target.writes) != written or (files is not None and target.files() != files)
            ):
                wrong.append(f"{url} {_shown(fields)} was refused and wrote: {reply.data[:200]!r}")
    after = target.tbuf.peekJobs([target.victim])[0]
    assert wrong == [], f"{len(wrong)} of {count}"
    assert count > 1000
    assert len(target.writes) > 100  # some of it is served, so the watch sees what is written
    assert after is not None
    assert before is not None
    assert (after.jobName, after.prodUserName) == (before.jobName, before.prodUserName)


def _json(fields: Mapping[str, Any]) -> bytes:
    return json.dumps(fields).encode()


def _texts(fields: Mapping[str, Any]) -> dict[str, str]:
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in fields.items()}
    return {name: text.encode(errors="replace").decode() for name, text in texts.items()}


def _shown(fields: Mapping[str, Any]) -> str:
    return str({name: str(value)[:40] for name, value in fields.items()})
