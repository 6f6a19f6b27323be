"""Queues as old clients read them."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from werkzeug.test import Client

from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from tests.api.conftest import MakeClient

QUEUES: dict[str, dict[str, Any]] = {
    "ANALY": {"type": "analysis", "status": "online", "cloud": "CERN,DE", "corecount": 8, "releases": ["21.0"]},
    "PROD": {"type": "production", "status": "offline", "maxrss": 2000, "pledgedcpu": -1, "tier": "T2"},
    "BOTH": {"type": "unified", "status": "online", "catchall": "a,b"},
}


@pytest.fixture
def server(make_client: MakeClient, tbuf: TaskBuffer) -> Client:
    import pandaserver.userinterface.UserIF  # noqa: F401  declares its requests

    tbuf.storeQueues(QUEUES)
    return make_client(tbuf=tbuf)


@pytest.mark.parametrize(
    ("kind", "queues"),
    [
        ("analysis", {"ANALY", "BOTH"}),
        ("production", {"PROD", "BOTH"}),
        ("unified", {"BOTH"}),
        ("all", {"ANALY", "PROD", "BOTH"}),
        ("special", set()),
    ],
)
def test_queues_are_chosen_by_type(server: Client, kind: str, queues: set[str]) -> None:
    assert set(pickle.loads(server.get(f"/server/panda/getSiteSpecs?siteType={kind}").data)) == queues
    reply = server.get(f"/api/v1/metaconfig/get_site_specs?type={kind}").json
    assert reply is not None
    assert set(reply["data"]) == queues


def test_attributes_have_the_names_of_the_field(server: Client) -> None:
    found = pickle.loads(server.post("/server/panda/getSiteSpecs").data)
    wanted = ("sitename", "cloud", "cloudlist", "coreCount", "releases", "is_unified", "maxrss", "pledgedCPU", "tier")
    assert [found["ANALY"][name] for name in wanted] == [
        "ANALY", "CERN", ["CERN", "DE"], 8, ["21.0"], False, 0, 0, None,
    ]  # fmt: skip
    assert (found["BOTH"]["catchall"], found["BOTH"]["is_unified"]) == ("a,b", True)
    assert len(found["ANALY"]) == 46
