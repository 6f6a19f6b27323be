"""A database of every kind, started once a session and emptied between tests.

``PANDA_TEST_BACKENDS=sqlite,postgres,mariadb`` chooses; a server that is chosen and not installed is an error.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pandaserver.taskbuffer import schema
from pandaserver.taskbuffer.connection_settings import ConnectionSettings, OperationSettings
from pandaserver.taskbuffer.dialects import base
from pandaserver.taskbuffer.dialects.base import Dialect
from pandaserver.taskbuffer.dialects.compiler import compile_statement
from pandaserver.taskbuffer.dialects.statement import Statement
from pandaserver.taskbuffer.local_bridge import LocalBridge
from pandaserver.taskbuffer.OraDBProxy import OraDBProxy
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from pandaserver.taskbuffer.transaction import Transaction
from pandaserver.testing.servers import DatabaseServer, MariaDBServer, PostgresServer
from tests.db.transactions import transaction
from tests.oracle_check import check_canonical

BACKENDS = os.environ.get("PANDA_TEST_BACKENDS", "sqlite,postgres,mariadb").split(",")
SERVERS: dict[str, type[DatabaseServer]] = {"postgres": PostgresServer, "mariadb": MariaDBServer}

#: Feature -> backends that lack it.
WITHOUT = {"row_locks": {"sqlite"}, "connections": {"sqlite"}}

Databases = Callable[[str], ConnectionSettings]


@pytest.fixture(scope="session")
def databases() -> Iterator[Databases]:
    """Starts a backend when the first test asks for it, with an empty schema."""
    memory = Path("/dev/shm")
    root = Path(tempfile.mkdtemp(prefix="panda-db-", dir=memory if os.access(memory, os.W_OK) else None))
    root.chmod(0o755)  # for the accounts of the servers
    servers: list[DatabaseServer] = []
    known: dict[str, ConnectionSettings] = {}

    def settings_of(backend: str) -> ConnectionSettings:
        if backend not in known:
            if backend == "sqlite":
                settings = ConnectionSettings(backend="sqlite", name=str(root / "panda.sqlite3"))
            else:
                servers.append(SERVERS[backend](root / backend, durable=False))
                settings = servers[-1].start()
            schema.create_all(settings)
            known[backend] = settings
        return known[backend]

    try:
        yield settings_of
    finally:
        for server in servers:
            server.stop()
        shutil.rmtree(root)


@pytest.fixture(params=BACKENDS)
def database(request: pytest.FixtureRequest, databases: Databases) -> Iterator[ConnectionSettings]:
    """An empty database of each kind in turn."""
    settings = databases(request.param)
    yield settings
    schema.empty_all(settings)


@pytest.fixture
def requires(database: ConnectionSettings) -> Callable[[str], None]:
    """Skips a test of a feature that the backend does not have."""

    def skip_without(feature: str) -> None:
        if database.backend in WITHOUT[feature]:
            pytest.skip(f"{database.backend} has no {feature}")

    return skip_without


@pytest.fixture(autouse=True)
def _composed_for_oracle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is compiled while these tests run, composed statements included, must please Oracle too."""

    def compile_and_check(sql: str, dialect: Dialect) -> Statement:
        check_canonical(sql)
        return compile_statement(sql, dialect)

    monkeypatch.setattr(base, "compile_statement", compile_and_check)


@pytest.fixture
def operation_settings() -> OperationSettings:
    return OperationSettings(hostname="testhost")


@pytest.fixture
def tx(database: ConnectionSettings) -> Iterator[Transaction]:
    """One open transaction, committed at the end."""
    with transaction(database) as made:
        yield made


@pytest.fixture
def proxy(database: ConnectionSettings, operation_settings: OperationSettings) -> Iterator[OraDBProxy]:
    made = OraDBProxy(database, operation_settings)
    yield made
    made.close()


@pytest.fixture
def tbuf(database: ConnectionSettings, operation_settings: OperationSettings) -> Iterator[TaskBuffer]:
    bridge = LocalBridge(database, operation_settings)
    yield TaskBuffer(bridge)
    bridge.close()
