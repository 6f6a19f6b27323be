"""Every request of users is answered as its golden pairs say, at both doors and in every way to send it."""

from __future__ import annotations

import importlib

import pytest
from werkzeug.test import Client

from pandaserver.api.registry import REGISTRY, Door, Route
from pandaserver.config.settings import ServerSettings
from pandaserver.server.assembly import HANDLERS
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from tests.api import harvester_pairs, pairs
from tests.api.conftest import MakeClient

#: Modules of v1 that are users' whoever declares their requests.
MODULES = ("creds", "job", "metaconfig", "statistics", "system")

#: Requests with files, which have tests of their own.
WITH_FILES = ("checkpoint_requests", "file_requests")

QUEUES = {"TEST_PQ": {"type": "unified", "status": "online", "cloud": "TEST"}, "OLD_PQ": {"type": "production"}}


@pytest.fixture
def server(make_client: MakeClient, tbuf: TaskBuffer) -> Client:
    for module in HANDLERS:
        importlib.import_module(module)
    tbuf.storeQueues(QUEUES)
    return make_client(tbuf=tbuf)


@pytest.mark.parametrize("pair", pairs.all_pairs(pairs.USERS), ids=str)
def test_a_request_is_answered_as_its_golden_pair_says(
    pair: pairs.Pair, server: Client, tbuf: TaskBuffer, settings: ServerSettings
) -> None:
    wrong = pairs.wrong_ways(pair, server, tbuf, settings.cache_dir)
    assert not wrong, "\n".join(wrong)


def test_every_request_of_users_has_golden_pairs(server: Client) -> None:
    declared = {
        (door.value, path)
        for route in REGISTRY
        if _is_of_users(route)
        for door, path in ((Door.LEGACY, route.legacy), (Door.V1, route.v1))
        if path is not None
    }
    shown = {(pair.door, pair.path) for where in (pairs.USERS, pairs.PILOTS) for pair in pairs.all_pairs(where)}
    assert declared - shown - _of_harvesters() == set()


def test_no_pair_is_of_a_request_that_there_is_not(server: Client) -> None:
    declared = {("legacy", route.legacy) for route in REGISTRY} | {("v1", route.v1) for route in REGISTRY}
    assert {(pair.door, pair.path) for pair in pairs.all_pairs(pairs.USERS)} - declared == set()


def _is_of_users(route: Route) -> bool:
    module = route.handler.__module__
    ours = module.startswith("pandaserver.userinterface.") and not module.endswith(WITH_FILES)
    return ours or (route.v1 or "").split("/")[0] in MODULES


def _of_harvesters() -> set[tuple[str, str]]:
    """Return the requests that have pairs among those of harvesters."""
    doors = {prefix: door for door, prefix in pairs.DOORS.items()}
    paths = set(harvester_pairs.paths())
    return {
        (door, path.removeprefix(prefix)) for prefix, door in doors.items() for path in paths if path.startswith(prefix)
    }
