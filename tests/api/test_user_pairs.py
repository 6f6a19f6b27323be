"""Requests of users get the replies of their golden pairs, at both doors; any client can unpickle the pickles."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any, Final

import pytest
from werkzeug.test import Client

from pandaserver.api.registry import REGISTRY
from pandaserver.config.settings import ServerSettings
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from tests.api.conftest import MakeClient
from tests.api.pairs import Pair, arrange, filled, matches, mismatch, send
from tests.db.crowd import insert

GOLDEN: Final = Path(__file__).parents[1] / "golden" / "user"

#: Modules whose requests have their pairs here.
MODULES: Final = frozenset(
    f"pandaserver.userinterface.{name}_requests"
    for name in "task_command task_change task_query job_report obsolete workflow async_process version".split()
)


def pairs() -> list[Pair]:
    cases = [case for file in sorted(GOLDEN.glob("*.json")) for case in json.loads(file.read_text())]
    return [Pair(case["path"], case["door"], case.get("verb", "POST"), case) for case in cases]


@pytest.fixture
def server(make_client: MakeClient, tbuf: TaskBuffer) -> Client:
    import pandaserver.userinterface.UserIF  # noqa: F401  declares its requests

    return make_client(tbuf=tbuf)


@pytest.mark.parametrize("pair", pairs(), ids=str)
def test_a_user_gets_the_golden_reply(pair: Pair, server: Client, tbuf: TaskBuffer, settings: ServerSettings) -> None:
    given = pair.case.get("given", {})
    named = arrange(given, tbuf, settings.cache_dir)
    for job, text in given.get("metadata", {}).items():
        insert(tbuf, "PANDA.metaTable", {"PandaID": named[job], "modificationTime": "now", "metadata": text})
    for body, accepts_json in pair.ways():
        reply = send(server, pair, named, body, accepts_json)
        expected = pair.expected(accepts_json)
        assert mismatch(reply, {k: v for k, v in expected.items() if k != "pickle"}, named) == "", body
        if "pickle" in expected:
            assert matches(as_json(pickle.loads(reply.data)), filled(expected["pickle"], named)), reply.data


def as_json(value: Any) -> Any:
    """Return tuples as lists, because a document has no other sequence."""
    return [as_json(inner) for inner in value] if isinstance(value, list | tuple) else value


def test_every_request_of_these_modules_has_pairs_at_each_of_its_doors(server: Client) -> None:
    have = {(pair.door, pair.path) for pair in pairs()}
    routes = [route for route in REGISTRY if route.handler.__module__ in MODULES]
    wanted = {("legacy", route.legacy) for route in routes if route.legacy} | {("v1", r.v1) for r in routes if r.v1}
    assert wanted - have == set()
