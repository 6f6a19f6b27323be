"""The application called directly: no server, no socket, and unless a test asks for it, no database."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import Client, TestResponse

from pandaserver.api.registry import REGISTRY, Registry
from pandaserver.brokerage.SiteMapper import SiteMapper
from pandaserver.config.panda_config import default_site
from pandaserver.config.settings import ServerSettings
from pandaserver.server.application import Application
from pandaserver.server.callers import Callers, TokenChecker
from pandaserver.taskbuffer import schema
from pandaserver.taskbuffer.connection_settings import ConnectionSettings, OperationSettings
from pandaserver.taskbuffer.local_bridge import LocalBridge
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from tests.api.callers import FakeServices, FakeTaskBuffer
from tests.db.conftest import databases

__all__ = ["databases"]

MakeClient = Callable[..., Client]


@pytest.fixture
def settings(tmp_path: Path) -> ServerSettings:
    cache = tmp_path / "cache"
    cache.mkdir()
    return ServerSettings(
        cache_dir=cache, logdir=tmp_path, pserverhost="panda.example", pserverport=25443, production_dns=("Prod Boss",)
    )


@pytest.fixture
def task_buffer() -> FakeTaskBuffer:
    """Answers what a test puts into it, and records every call."""
    return FakeTaskBuffer()


@pytest.fixture
def services() -> FakeServices:
    return FakeServices()


@pytest.fixture
def make_client(settings: ServerSettings, task_buffer: FakeTaskBuffer, services: FakeServices) -> MakeClient:
    """Return a client of an application; keywords replace settings, ``tbuf``, ``tokens`` and ``registry``."""

    def make(
        registry: Registry = REGISTRY, tbuf: Any = task_buffer, tokens: TokenChecker | None = None, **changes: Any
    ) -> Client:
        chosen = replace(settings, **changes)
        logger = logging.getLogger("tests.entry")
        application = Application(
            registry,
            chosen,
            tbuf,
            SiteMapper(tbuf.loadSites, default_site(chosen)),
            services,
            Callers(chosen.production_dns, tokens, tbuf.getBannedUsers, logger),
            logger=logger,
            pilot_logger=logging.getLogger("tests.pilots"),
        )
        return Client(application, TestResponse)

    return make


@pytest.fixture
def client(make_client: MakeClient) -> Client:
    """A client of all requests of this server, on the fake task buffer."""
    import pandaserver.taskbuffer.Utils  # noqa: F401  declares its requests

    return make_client()


@pytest.fixture
def database(databases: Callable[[str], ConnectionSettings]) -> Iterator[ConnectionSettings]:
    """An empty SQLite database with the schema."""
    made = databases("sqlite")
    yield made
    schema.empty_all(made)


@pytest.fixture
def tbuf(database: ConnectionSettings) -> Iterator[TaskBuffer]:
    """A real task buffer on that database."""
    bridge = LocalBridge(database, OperationSettings(hostname="testhost"))
    yield TaskBuffer(bridge)
    bridge.close()
