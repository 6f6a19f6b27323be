"""One call is one transaction: it commits, fails whole, runs again when that is safe, and says when nobody knows."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from time import monotonic
from typing import Any

import pytest

from pandaserver.srvcore.errors import (
    Busy,
    Conflict,
    DatabaseError,
    DuplicateKey,
    LockLost,
    OutcomeUnknown,
    Unavailable,
)
from pandaserver.taskbuffer import OraDBProxy as proxy_module
from pandaserver.taskbuffer.connection_settings import ConnectionSettings, OperationSettings
from pandaserver.taskbuffer.dialects import dialect_for
from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.OraDBProxy import OraDBProxy
from pandaserver.taskbuffer.transaction import Transaction

OWNERS = "SELECT owner FROM ATLAS_PANDA.panda_leases ORDER BY owner"

#: What operations do in the middle, and which of them ran.
surprises: list[Callable[[Transaction], Any]] = []
runs: list[str] = []


@operation(timeout=30)
def store_owner(tx: Transaction, owner: str) -> str:
    runs.append(owner)
    tx.insert("ATLAS_PANDA.panda_leases", [{"component": owner, "owner": owner, "token": 0}])
    for surprise in surprises:
        surprise(tx)
    tx.rows(OWNERS)
    return owner.upper()


@operation(timeout=30, repeatable=True)
def list_owners(tx: Transaction) -> list[str]:
    runs.append("list")
    for surprise in surprises:
        surprise(tx)
    return [name for (name,) in tx.rows(OWNERS)]


@operation(timeout=30, repeatable=True)
def write_though_repeatable(tx: Transaction) -> None:
    tx.insert("ATLAS_PANDA.panda_leases", [{"component": "x", "owner": "x", "token": 0}])


@operation(timeout=30)
def swallow_an_error(tx: Transaction) -> None:
    for _ in range(2):
        with suppress(DuplicateKey):
            tx.insert("ATLAS_PANDA.panda_leases", [{"component": "x", "owner": "x", "token": 0}])


@pytest.fixture(autouse=True)
def _no_surprise() -> Iterator[None]:
    runs.clear()
    surprises.clear()
    yield
    surprises.clear()


def let(action: Callable[[Transaction], Any]) -> None:
    surprises[:] = [action]


def once(action: Callable[[Transaction], Any]) -> Callable[[Transaction], Any]:
    """The action at its first call, nothing later."""
    left = [action]
    return lambda tx: left.pop()(tx) if left else None


def fail_with(error: Exception) -> Callable[[Transaction], Any]:
    def act(_: Transaction) -> None:
        raise error

    return act


def kill(database: ConnectionSettings, session: Any) -> None:
    """End a connection from the server's side."""
    dialect = dialect_for(database)
    killer = dialect.connect(5)
    try:
        killer.begin(read_only=False, seconds=5)
        if database.backend == "postgres":
            pid = session._connection.info.backend_pid
            killer.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
        else:
            killer.execute(f"KILL CONNECTION {session._connection.thread_id()}", [])
        killer.commit()
    finally:
        killer.close()


def test_a_call_returns_what_the_operation_returns_and_commits(proxy: OraDBProxy) -> None:
    assert proxy.call("store_owner", ["me"]) == "ME"
    assert proxy.call("list_owners") == ["me"]


def test_an_unknown_operation_is_refused(proxy: OraDBProxy) -> None:
    with pytest.raises(LookupError):
        proxy.call("no_such_operation")


@pytest.mark.parametrize("error", [Conflict("no"), ZeroDivisionError()])
def test_an_error_undoes_everything_and_travels_on(proxy: OraDBProxy, error: Exception) -> None:
    let(fail_with(error))
    with pytest.raises(type(error)):
        proxy.call("store_owner", ["me"])
    surprises.clear()
    assert proxy.call("list_owners") == []
    assert runs == ["me", "list"]


def test_a_lost_lock_race_runs_the_operation_again(proxy: OraDBProxy) -> None:
    let(once(fail_with(LockLost("deadlock"))))
    assert proxy.call("store_owner", ["me"]) == "ME"
    assert runs == ["me", "me"]
    assert proxy.call("list_owners") == ["me"]


def test_lock_races_end_at_the_deadline(proxy: OraDBProxy) -> None:
    proxy.call("list_owners")
    let(fail_with(LockLost("deadlock")))
    started = monotonic()
    with pytest.raises(Busy, match="deadlock"):
        proxy.call("store_owner", ["me"], timeout=0.5)
    assert monotonic() - started < 0.6
    assert len(runs) > 2


def test_a_repeatable_operation_cannot_write(proxy: OraDBProxy) -> None:
    with pytest.raises(DatabaseError):
        proxy.call("write_though_repeatable")
    assert proxy.call("list_owners") == []
    assert proxy.call("store_owner", ["me"]) == "ME"


def test_an_error_that_the_operation_swallowed_still_undoes_everything(proxy: OraDBProxy) -> None:
    with pytest.raises(DuplicateKey):
        proxy.call("swallow_an_error")
    assert proxy.call("list_owners") == []


def test_a_connection_that_died_between_calls_is_replaced(
    proxy: OraDBProxy, database: ConnectionSettings, requires: Callable[[str], None]
) -> None:
    requires("connections")
    proxy.call("store_owner", ["one"])
    kill(database, proxy._session)
    assert proxy.call("store_owner", ["two"]) == "TWO"
    assert proxy.call("list_owners") == ["one", "two"]


def test_a_connection_that_dies_in_the_middle_has_kept_nothing(
    proxy: OraDBProxy, database: ConnectionSettings, requires: Callable[[str], None]
) -> None:
    requires("connections")
    proxy.call("list_owners")
    runs.clear()
    let(once(lambda tx: kill(database, tx.cursor.session)))
    assert proxy.call("store_owner", ["me"]) == "ME"
    assert runs == ["me", "me"]
    assert proxy.call("list_owners") == ["me"]


def test_connections_that_keep_dying_are_given_up(
    proxy: OraDBProxy, database: ConnectionSettings, requires: Callable[[str], None]
) -> None:
    requires("connections")
    proxy.call("list_owners")
    runs.clear()
    let(lambda tx: kill(database, tx.cursor.session))
    with pytest.raises(Unavailable, match="connection lost"):
        proxy.call("store_owner", ["me"])
    assert runs == ["me", "me"]


def test_a_connection_that_dies_during_the_commit_leaves_the_outcome_unknown(
    proxy: OraDBProxy, database: ConnectionSettings, requires: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    requires("connections")
    proxy.call("list_owners")
    session = proxy._session
    assert session is not None
    commit = session.commit

    def commit_too_late() -> None:
        kill(database, session)
        commit()

    monkeypatch.setattr(session, "commit", commit_too_late)
    with pytest.raises(OutcomeUnknown):
        proxy.call("store_owner", ["me"])
    assert runs == ["list", "me"]
    assert proxy.call("list_owners") == []


def test_a_read_whose_commit_is_lost_is_simply_read_again(
    proxy: OraDBProxy, database: ConnectionSettings, requires: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    requires("connections")
    proxy.call("list_owners")
    session = proxy._session
    assert session is not None
    commit = session.commit

    def commit_too_late() -> None:
        kill(database, session)
        commit()

    monkeypatch.setattr(session, "commit", commit_too_late)
    assert proxy.call("list_owners") == []
    assert runs == ["list", "list", "list"]


def test_a_database_that_cannot_be_reached_is_unavailable(
    database: ConnectionSettings, operation_settings: OperationSettings
) -> None:
    wrong = replace(database, host="127.0.0.1", port=1, name="/nowhere/panda.sqlite3")
    with pytest.raises(Unavailable):
        OraDBProxy(wrong, operation_settings).call("list_owners", timeout=3)


def test_an_older_schema_refuses_every_call_and_names_both_versions(
    database: ConnectionSettings, operation_settings: OperationSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = ".".join(map(str, proxy_module.REQUIRED))
    monkeypatch.setattr(proxy_module, "REQUIRED", (99, 1, 2))
    refused = OraDBProxy(database, operation_settings)
    for _ in range(2):
        with pytest.raises(Unavailable, match=rf"version {installed}, 99\.1\.2 is required"):
            refused.call("list_owners")
    monkeypatch.undo()
    assert refused.call("list_owners") == []
    refused.close()


def test_a_call_is_one_line_in_the_log(proxy: OraDBProxy, caplog: pytest.LogCaptureFixture) -> None:
    proxy.call("store_owner", ["me"])
    proxy_module._logger.addHandler(caplog.handler)
    try:
        with caplog.at_level(logging.DEBUG, proxy_module._logger.name):
            proxy.call("list_owners")
    finally:
        proxy_module._logger.removeHandler(caplog.handler)
    lines = [record.getMessage() for record in caplog.records if "list_owners" in record.getMessage()]
    assert lines
    assert "operation=list_owners" in lines[0]
    assert "statements=1 rows=1" in lines[0]


def test_a_closed_proxy_opens_another_connection(proxy: OraDBProxy) -> None:
    proxy.call("store_owner", ["me"])
    proxy.close()
    assert proxy.call("list_owners") == ["me"]
