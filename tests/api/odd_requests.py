"""Requests with parameters of every kind, for tests that send them junk; import the fixtures by name."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from werkzeug.test import Client

from pandaserver.api.answering import json_answer
from pandaserver.api.registry import (
    AlsoText,
    AtLeast,
    AtMost,
    Auth,
    Call,
    Lenient,
    MaxLength,
    Registry,
    Upload,
    Wire,
    comma_separated,
    words,
)
from pandaserver.taskbuffer.client_jobs import read_ids, read_jobs, unpickled
from tests.api.conftest import MakeClient

LEGACY, V1 = "/server/panda/take", "/api/v1/test/take"
FORM, JSON = "application/x-www-form-urlencoded", "application/json"


@pytest.fixture
def taken() -> list[dict[str, Any]]:
    """What reached the handler."""
    return []


@pytest.fixture
def registry(taken: list[dict[str, Any]]) -> Registry:
    made = Registry()

    @made.request(v1="test/take", legacy="take", method="POST", auth=Auth.ANYONE, answer=json_answer)
    def take(
        call: Call,
        number: Annotated[int | None, Wire("aNumber"), AtLeast(1), AtMost(1000)] = None,
        real: float | None = None,
        text: Annotated[str, MaxLength(10)] = "",
        flag: bool = False,
        ids: Annotated[list[int], Wire("idList", read=read_ids), MaxLength(3)] = [],  # noqa: B006
        things: dict[str, Any] | None = None,
        names: Annotated[list[str] | None, Wire("nameList", read=words)] = None,
        codes: Annotated[list[str] | None, Wire("codeList", read=comma_separated)] = None,
        rss: Annotated[int | None, Wire("maxRSS"), Lenient, AtLeast(0)] = None,
        log: Annotated[str, Lenient] = "",
        late: Annotated[int | None, AlsoText()] = None,
        old: Annotated[str | None, Wire(only="legacy")] = None,
        new: Annotated[str | None, Wire(only="v1")] = None,
        pickle: Annotated[Any, Wire(read=unpickled(dict))] = None,
    ) -> bool:
        """Take everything."""
        taken.append({k: v for k, v in locals().items() if k not in ("call", "taken")})
        return True

    @made.request(v1="test/need", legacy="need", method="POST", auth=Auth.ANYONE, answer=json_answer)
    def need(call: Call, number: Annotated[int, Wire("aNumber")], file: Upload | None = None) -> int:
        """Need a number."""
        return number

    @made.request(v1="test/ask", legacy="ask", method="GET", auth=Auth.ANYONE, answer=json_answer)
    def ask(
        call: Call,
        ids: list[int],
        flag: bool = False,
        days: int | None = None,
        kinds: list[str] = ["a"],  # noqa: B006
        factor: float = 1.0,
        options: dict[str, Any] | None = None,
    ) -> list[Any]:
        """Ask with a query string."""
        return [ids, flag, days, kinds, factor, options]

    @made.request(v1="test/jobs", legacy="jobs", method="POST", auth=Auth.ANYONE, answer=json_answer)
    def jobs(call: Call, jobs: Annotated[list[Any], Wire(read=read_jobs, read_v1=read_jobs)]) -> int:
        """Take jobs."""
        return len(jobs)

    return made


@pytest.fixture
def client(make_client: MakeClient, registry: Registry) -> Client:
    return make_client(registry=registry, max_request_body=50_000)
