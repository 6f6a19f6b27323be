"""Every request x every kind of caller x whose it is: what comes back, what changes, and what is shown.

The application is the real one, with a real database, keys of real issuers, and the list of banned users; only Apache
is missing. Whoever is refused must leave every table and file as it was, and learn nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import Client, TestResponse

from pandaserver.api.registry import REGISTRY
from pandaserver.brokerage.SiteMapper import SiteMapper
from pandaserver.config.panda_config import default_site
from pandaserver.config.settings import ServerSettings
from pandaserver.server.application import Application
from pandaserver.server.callers import Callers
from pandaserver.srvcore.access_tokens import AccessTokens
from pandaserver.taskbuffer import schema
from pandaserver.taskbuffer.connection_settings import ConnectionSettings, OperationSettings
from pandaserver.taskbuffer.local_bridge import LocalBridge
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from tests.api.access_callers import Caller, callers, issuers
from tests.api.access_places import PLACES, ROUTES, Place, rows_of
from tests.api.access_row import Row
from tests.api.access_rows import ROWS
from tests.api.access_verdicts import Found, expected, judged
from tests.api.access_wire import sent
from tests.api.access_world import MARKS, World, fill, lay_files
from tests.api.callers import FakeServices

CALLERS = callers()


class Bench:
    """The application, what it serves, and a look at everything around one request."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("cache", "keys", "proxies", "auth"):
            (directory / name).mkdir()
        lay_files(directory / "cache", directory / "keys", directory / "proxies", directory / "clients.json")
        connection = ConnectionSettings(backend="sqlite", name=str(directory / "panda.sqlite3"))
        schema.create_all(connection)
        self._bridge = LocalBridge(connection, OperationSettings(hostname="testhost"))
        tbuf = TaskBuffer(self._bridge)
        fill(tbuf)
        self._client = self._application(directory, tbuf)
        self._client.get("/server/panda/getSiteSpecs", environ_overrides={"SSL_CLIENT_S_DN": "/CN=x"})  # warms caches
        self._world = World(directory / "panda.sqlite3", directory / "cache")
        self._reached = False
        self._watch(monkeypatch)

    @staticmethod
    def _application(directory: Path, tbuf: TaskBuffer) -> Client:
        settings = ServerSettings(
            cache_dir=directory / "cache",
            logdir=directory,
            pserverhost="panda.example",
            keyDir=directory / "keys",
            proxy_dir=directory / "proxies",
            sandboxHostname="cache.test",
        )
        services = FakeServices()
        answer = {"access_token": MARKS["access token"], "expires_in": 3600}
        services.access_tokens = AccessTokens(directory / "clients.json", fetch=lambda *_, **__: answer)
        logger = logging.getLogger("tests.access")
        mapper = SiteMapper(tbuf.loadSites, default_site(settings))
        known = Callers((), issuers(directory / "auth"), tbuf.getBannedUsers, logger)
        pilots = logging.getLogger("tests.pilots")
        return Client(
            Application(REGISTRY, settings, tbuf, mapper, services, known, logger=logger, pilot_logger=pilots),
            TestResponse,
        )

    def _watch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Notice when a request passes its level: its parameters are bound then."""
        signature = type(ROUTES[0].signature)
        bind = signature.bind

        def noticed(*args: Any, **kwargs: Any) -> Any:
            self._reached = True
            return bind(*args, **kwargs)

        monkeypatch.setattr(signature, "bind", noticed)

    def ask(self, place: Place, row: Row, caller: Caller) -> Found:
        """Ask, and return what became of it; whatever changed is put back."""
        request = sent(place.route, place.door, row)
        self._reached = False
        reply = self._client.open(
            request.path,
            method=request.method,
            data=request.body,
            content_type=request.content_type,
            headers=dict(caller.headers),
            environ_overrides=dict(caller.environ),
        )
        changes = self._world.changes()
        return Found(reply.status_code, reply.get_data(), self._reached, changes, request.body)

    def close(self) -> None:
        """Close what was opened."""
        self._world.close()
        self._bridge.close()


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        made = Bench(tmp_path_factory.mktemp("access"), monkeypatch)
        yield made
        made.close()


def test_every_request_has_a_row() -> None:
    named = {row.name for row in ROWS}
    missing = [route.v1 or route.legacy for route in ROUTES if not {route.v1, route.legacy} & named]
    assert missing == [], "add rows to tests/api/access_rows.py"


def test_every_row_is_of_a_request() -> None:
    names = {name for route in ROUTES for name in (route.v1, route.legacy)}
    assert [row.name for row in ROWS if row.name not in names] == []


@pytest.mark.parametrize("place", PLACES, ids=str)
def test_a_request_does_for_each_caller_what_the_pages_say(bench: Bench, place: Place) -> None:
    wrong = []
    for row in rows_of(place.route):
        for caller in CALLERS:
            if not row.speaks_of(caller.kind):
                continue
            found = bench.ask(place, row, caller)
            problem = judged(row, expected(row, place.level, caller.kind), found, place.door)
            if problem:
                wrong.append(f"{row.what or place.name} by {caller.name}: {problem}\n    {found}")
    assert not wrong, "\n".join(["", *wrong])
