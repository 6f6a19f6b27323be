"""Every request of pilots is answered as its golden pairs say, at both doors and in every way to send it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import Client

from pandaserver.api.registry import REGISTRY, Door
from pandaserver.config.settings import ServerSettings
from pandaserver.srvcore.access_tokens import AccessTokens
from pandaserver.srvcore.credential_files import proxy_name
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from tests.api import pairs
from tests.api.callers import FakeServices
from tests.api.conftest import MakeClient

#: Modules of the dispatcher whose requests others send, harvesters and event service, with tests of their own.
OF_OTHERS = ("event_requests", "harvester_command_requests", "harvester_requests", "worker_requests")

#: What pilots and their plug-ins ask of other modules.
ELSEWHERE = {
    ("legacy", "isAlive"),
    ("v1", "system/is_alive"),
    ("legacy", "get_user_secrets"),
    ("v1", "creds/get_user_secrets"),
}

#: The clients whose tokens are handed out; the second must show a key.
TOKEN_CLIENTS = {
    "pilot_server": {"client_id": "i", "secret": "s", "endpoint": "https://iam.example/token"},
    "keyed": {"client_id": "k", "secret": "s", "endpoint": "https://iam.example/token", "use_token_key": True},
    "broken": {"client_id": "b", "secret": "s", "endpoint": "https://iam.example/broken"},
}


def issuer(source: str, /, *, seconds: float, most: int, form: bytes | None = None) -> Any:
    return {} if source.endswith("broken") else {"access_token": "eyJ.token", "expires_in": 3600}


@pytest.fixture
def server(make_client: MakeClient, tbuf: TaskBuffer, services: FakeServices, tmp_path: Path) -> Client:
    import pandaserver.server.assembly as entry

    for module in entry.HANDLERS:
        __import__(module)
    config = tmp_path / "clients.json"
    config.write_text(json.dumps(TOKEN_CLIENTS))
    services.access_tokens = AccessTokens(config, fetch=issuer)
    keys, proxies = tmp_path / "keys", tmp_path / "proxies"
    keys.mkdir()
    proxies.mkdir()
    (keys / "s3.pub").write_text("PUBLIC")
    (keys / "s3.key").write_text("PRIVATE")
    for dn, role in (("/DC=org/CN=Jane Doe", ""), ("/DC=org/CN=Jane Doe", "atlas:/atlas/Role=pilot")):
        (proxies / proxy_name(dn, role)).write_text(f"PEM {role}".strip())
    tbuf.storeQueues({"TEST_PQ": {"status": "online", "type": "unified"}})
    return make_client(tbuf=tbuf, keyDir=keys, proxy_dir=proxies)


@pytest.mark.parametrize("pair", pairs.all_pairs(), ids=str)
def test_a_request_is_answered_as_its_golden_pair_says(
    pair: pairs.Pair, server: Client, tbuf: TaskBuffer, settings: ServerSettings
) -> None:
    wrong = pairs.wrong_ways(pair, server, tbuf, settings.cache_dir)
    assert not wrong, "\n".join(wrong)


def test_every_request_of_pilots_has_golden_pairs() -> None:
    import pandaserver.jobdispatcher.JobDispatcher  # noqa: F401  declares its requests

    declared = {
        (door.value, path)
        for route in REGISTRY
        for door, path in ((Door.LEGACY, route.legacy), (Door.V1, route.v1))
        if path is not None
        and route.handler.__module__.startswith("pandaserver.jobdispatcher.")
        and not route.handler.__module__.endswith(OF_OTHERS)
    }
    shown = {(pair.door, pair.path) for pair in pairs.all_pairs()}
    assert (declared | ELSEWHERE) - shown == set()
