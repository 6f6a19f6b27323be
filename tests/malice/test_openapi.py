"""Requests that schemathesis makes of our OpenAPI document, right and wrong ones: answered as the document says."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from werkzeug.test import TestResponse

from pandaserver.api.openapi import openapi_document
from pandaserver.api.registry import REGISTRY, V1_PREFIXES
from tests.api.callers import PILOT, PRODUCTION, USER
from tests.malice.conftest import Target
from tests.malice.refusals import is_refusal

CALLERS: Final = ({}, USER, PILOT, PRODUCTION)
#: What is no envelope at v1.
BARE: Final = (V1_PREFIXES[0] + "openapi.json",)
QUIET: Final = list(HealthCheck)


def operations() -> Iterator[Any]:
    """Return each request of the document as schemathesis knows it."""
    import schemathesis  # loads for a second

    schema = schemathesis.openapi.from_dict(openapi_document(r for r in REGISTRY if _is_ours(r)))
    for found in schema.get_all_operations():
        yield found.ok()


def _is_ours(route: Any) -> bool:
    return bool(route.handler.__module__.startswith("pandaserver."))


def attack(target: Target, examples: int) -> tuple[list[str], int]:
    """Return what is wrong, and how many requests were made."""
    import schemathesis

    wrong: list[str] = []
    count = 0
    callers = random.Random(1)
    documented = openapi_document(r for r in REGISTRY if _is_ours(r))["paths"]
    for operation in operations():
        for mode in schemathesis.GenerationMode:
            strategy = operation.as_strategy(generation_mode=mode)

            @seed(1)
            @settings(
                max_examples=examples,
                phases=[Phase.generate],
                database=None,
                deadline=None,
                suppress_health_check=QUIET,
            )
            @given(case=strategy)
            def try_it(case: Any) -> None:
                nonlocal count
                count += 1
                responses = documented[case.path][case.method.lower()]["responses"]
                wrong.extend(_tried(target, case, callers.choice(CALLERS), responses))

            with warnings.catch_warnings(), suppress(Unsatisfiable):  # where nothing can be wrong
                warnings.simplefilter("ignore")
                try_it()
    return wrong, count


def _tried(target: Target, case: Any, caller: dict[str, str], responses: dict[str, Any]) -> Iterator[str]:
    written = len(target.writes)
    kwargs = case.as_transport_kwargs(base_url="http://localhost")
    reply = target.client.open(**_request(kwargs), environ_overrides=caller)
    sent = f"{case.method} {case.path} {str(case.query)[:200]} {str(case.body)[:300]}"
    what = f"{sent}: {reply.status_code} {reply.data[:200]!r}"
    if target.bugs:
        yield f"{what} {target.bugs[-1]}"
        target.bugs.clear()
    elif str(reply.status_code) not in responses:
        yield f"{what}: this status is not documented"
    elif is_refusal(reply) and len(target.writes) != written:
        yield f"{what}: refused, and wrote"
    elif case.path.startswith(V1_PREFIXES[0]) and case.path not in BARE and not _is_envelope(reply):
        yield f"{what}: no envelope"


def _is_envelope(reply: TestResponse) -> bool:
    """Return whether an answer of v1 is what the document says; texts of their own (isAlive, refusals) are."""
    if reply.content_type != "application/json" or reply.status_code != 200:
        return True
    found = reply.json
    facts = {name: type(value) for name, value in found.items() if name != "data"} if isinstance(found, dict) else {}
    return facts == {"success": bool, "message": str} and "data" in found


def _request(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return a request as werkzeug's client takes it."""
    from requests import Request

    made = Request(
        kwargs["method"],
        kwargs["url"],
        headers={name: value for name, value in (kwargs.get("headers") or {}).items()},
        params=kwargs.get("params"),
        data=kwargs.get("data"),
        json=kwargs.get("json"),
        files=kwargs.get("files"),
        cookies={},
    ).prepare()
    body = made.body or b""
    path, _, query = made.path_url.partition("?")
    return {
        "method": kwargs["method"],
        "path": path,
        "query_string": query,
        "data": body if isinstance(body, bytes) else body.encode(),
        "headers": [(name, value) for name, value in made.headers.items() if name.lower() != "content-length"],
    }


@pytest.mark.timeout(240)
def test_the_document_is_kept(target: Target) -> None:
    wrong, count = attack(target, 2 if target.is_sqlite else 1)
    assert wrong == [], "\n".join([f"{len(wrong)} of {count}", *wrong])
    assert count > 300


@pytest.mark.long
@pytest.mark.timeout(3000)
def test_the_document_is_kept_for_long(target: Target) -> None:
    wrong, count = attack(target, 100)
    assert wrong == [], "\n".join([f"{len(wrong)} of {count}", *wrong])
