"""Every request x every kind of caller x whose it is: what comes back, what changes, and what is shown.

The application is the real one, with a real database, keys of real issuers, and the list of banned users; only Apache
is missing. Whoever is refused must leave every table and file as it was, and learn nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
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
from tests.api.access_callers import PILOT_VO, Caller, callers, issuers
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

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> None:
        for name in ("cache", "keys", "proxies", "auth"):
            (directory / name).mkdir()
        lay_files(directory / "cache", directory / "keys", directory / "proxies", directory / "clients.json")
        connection = ConnectionSettings(backend="sqlite", name=str(directory / "panda.sqlite3"))
        schema.create_all(connection)
        self._bridge = LocalBridge(connection, OperationSettings(hostname="testhost"))
        tbuf = TaskBuffer(self._bridge)
        fill(tbuf)
        self._client = self._application(directory, tbuf, settings)
        self._client.get("/server/panda/getSiteSpecs", environ_overrides={"SSL_CLIENT_S_DN": "/CN=x"})  # warms caches
        self._world = World(directory / "panda.sqlite3", directory / "cache")
        self._reached = False
        self._watch(monkeypatch)

    @staticmethod
    def _application(directory: Path, tbuf: TaskBuffer, changed: dict[str, Any]) -> Client:
        settings = ServerSettings(
            cache_dir=directory / "cache",
            logdir=directory,
            pserverhost="panda.example",
            keyDir=directory / "keys",
            proxy_dir=directory / "proxies",
            sandboxHostname="cache.test",
            **changed,
        )
        services = FakeServices()
        answer = {"access_token": MARKS["access token"], "expires_in": 3600}
        services.access_tokens = AccessTokens(directory / "clients.json", fetch=lambda *_, **__: answer)
        logger = logging.getLogger("tests.access")
        mapper = SiteMapper(tbuf.loadSites, default_site(settings))
        known = Callers((), issuers(directory / "auth"), tbuf.getBannedUsers, logger, pilot_vos=(PILOT_VO,))
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

    def ask(self, place: Place, row: Row, caller: Caller, *, key: str = "", keep: bool = False) -> Found:
        """Ask, and return what became of it; whatever changed is put back, unless it shall be kept."""
        request = sent(place.route, place.door, row)
        self._reached = False
        reply = self._client.open(
            request.path,
            method=request.method,
            data=request.body,
            content_type=request.content_type,
            headers={**caller.headers, **({"Idempotency-Key": key} if key else {})},
            environ_overrides=dict(caller.environ),
        )
        changes = frozenset[str]() if keep else self._world.changes()
        return Found(reply.status_code, reply.get_data(), self._reached, changes, request.body)

    def close(self) -> None:
        """Close what was opened."""
        self._world.close()
        self._bridge.close()


@contextmanager
def opened(directory: Path, **settings: Any) -> Iterator[Bench]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        made = Bench(directory, monkeypatch, **settings)
        yield made
        made.close()


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with opened(tmp_path_factory.mktemp("access")) as made:
        yield made


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """The same where nobody looks at jobs without credentials."""
    with opened(tmp_path_factory.mktemp("closed"), anonymous_reads=False) as made:
        yield made


def test_every_door_has_a_level() -> None:
    assert [str(place) for place in PLACES if not place.level] == [], "add them to tests/api/access_levels.py"


def test_every_request_has_a_row() -> None:
    named = {row.name for row in ROWS}
    missing = [route.v1 or route.legacy for route in ROUTES if not {route.v1, route.legacy} & named]
    assert missing == [], "add rows to tests/api/access_rows.py"


def test_every_row_is_of_a_request() -> None:
    names = {name for route in ROUTES for name in (route.v1, route.legacy)}
    assert [row.name for row in ROWS if row.name not in names] == []


def test_a_row_that_lets_somebody_do_something_says_what() -> None:
    assert [row.name for row in ROWS if row.who and not (row.changes or row.shows)] == []


@pytest.mark.parametrize("place", PLACES, ids=str)
def test_a_request_does_for_each_caller_what_the_pages_say(bench: Bench, place: Place) -> None:
    wrong = []
    for row in rows_of(place.route):
        for caller in CALLERS:
            if not row.speaks_of(caller.kind):
                continue
            found = bench.ask(place, row, caller)
            problem = judged(row, expected(row, place.level, caller.kind), found, place.door)
            if caller.token and caller.token in found.text:
                problem = "its token came back"
            if problem:
                wrong.append(f"{row.what or place.name} by {caller.name}: {problem}\n    {found}")
    assert not wrong, "\n".join(["", *wrong])


#: What stays open where reading jobs is closed: logs lie at /cache/ anyhow, and names of users are told to pilots.
STAYS_OPEN = {"fetchLog": {"log"}, "getDNsForS3": {"permitted"}}


@pytest.mark.parametrize("place", [place for place in PLACES if place.level == "-"], ids=str)
def test_where_reading_is_closed_nobody_without_credentials_is_shown_anything(closed: Bench, place: Place) -> None:
    for row in rows_of(place.route):
        for caller in CALLERS:
            if caller.kind == "anonymous":
                assert closed.ask(place, row, caller).shown == STAYS_OPEN.get(place.name, set()), caller.name


SHOWN_ONCE = [
    (place, row)
    for place in PLACES
    for row in rows_of(place.route)
    if place.route.method == "POST" and row.shows and "production" in (row.who or "").split()
]


@pytest.mark.parametrize(("place", "row"), SHOWN_ONCE, ids=[f"{place}-{row.what}" for place, row in SHOWN_ONCE])
def test_an_answer_that_is_kept_for_a_key_is_shown_to_its_owner_only(bench: Bench, place: Place, row: Row) -> None:
    production = next(caller for caller in CALLERS if caller.kind == "production")
    for caller in CALLERS:
        bench.ask(place, row, production, key="k", keep=True)
        again = bench.ask(place, row, caller, key="k")
        assert bool(again.shown) is (caller is production), f"{caller.name}: {again}"
