"""A connection that breaks at any moment: the caller is never told a bug, and what it is told is true."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

import pytest

from pandaserver.srvcore.errors import DatabaseError, OutcomeUnknown
from pandaserver.taskbuffer import schema
from pandaserver.taskbuffer.connection_settings import ConnectionSettings, OperationSettings
from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.OraDBProxy import OraDBProxy
from pandaserver.taskbuffer.transaction import Transaction
from pandaserver.testing.servers import DatabaseServer, MariaDBServer, PostgresServer
from pandaserver.testing.tcp_proxy import TcpProxy
from tests.chaos.web_rig import directory

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

SERVERS: dict[str, type[DatabaseServer]] = {"postgres": PostgresServer, "mariadb": MariaDBServer}
#: More replies than a call takes that has to connect first.
MOST_REPLIES = 40


@operation(timeout=20)
def chaos_write(tx: Transaction, owner: str) -> None:
    for number in (1, 2):
        tx.insert("ATLAS_PANDA.Secrets", [{"owner": f"{owner}.{number}", "data": "x", "updated_at": tx.now()}])


@operation(timeout=20, repeatable=True)
def chaos_count(tx: Transaction, owner: str) -> int:
    return int(tx.value("SELECT COUNT(*) FROM ATLAS_PANDA.Secrets WHERE owner LIKE :owner", owner=f"{owner}.%"))


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[ConnectionSettings]:
    """A database that is reached by port."""
    with directory() as home:
        server = SERVERS[request.param](home / "db", durable=False)
        try:
            settings = server.start()
            schema.create_all(settings)
            yield replace(settings, host="127.0.0.1")
        finally:
            server.stop()


@pytest.mark.parametrize("beginning", ["connected", "fresh"])
def test_what_a_caller_is_told_about_a_broken_connection_is_true(server: ConnectionSettings, beginning: str) -> None:
    told: dict[str, int] = {}
    with ExitStack() as stack:
        line = stack.enter_context(TcpProxy(server.host, server.port))
        direct = OraDBProxy(server, OperationSettings())
        stack.callback(direct.close)
        for replies in range(MOST_REPLIES):
            proxy = OraDBProxy(replace(server, port=line.port), OperationSettings())
            if beginning == "connected":
                proxy.call("chaos_count", ("nobody",))
            owner = f"{beginning}{replies}"
            line.cut_after(replies)
            outcome = outcome_of(proxy, owner)
            line.restore()
            proxy.close()
            told[outcome] = told.get(outcome, 0) + 1
            stored = direct.call("chaos_count", (owner,))
            assert stored in {"stored": {2}, "OutcomeUnknown": {0, 2}}.get(outcome, {0}), (outcome, replies)
    assert told["stored"] > 0
    assert sum(count for outcome, count in told.items() if outcome != "stored") >= 3


def outcome_of(proxy: OraDBProxy, owner: str) -> str:
    """Return "stored", or which kind of failure a caller was told; a bug is no such kind."""
    try:
        proxy.call("chaos_write", (owner,))
    except OutcomeUnknown:
        return "OutcomeUnknown"
    except DatabaseError as error:
        return type(error).__name__
    return "stored"
