"""Changes whose count nobody needs: they travel with the next statement, and nothing else about them differs."""

from __future__ import annotations

from typing import Any

import pytest

from pandaserver.srvcore.errors import DuplicateKey, PandaError
from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.OraDBProxy import OraDBProxy
from pandaserver.taskbuffer.transaction import Transaction

ADD = "INSERT INTO ATLAS_PANDA.jobsDebug (PandaID, stdOut) VALUES (:PandaID, :text)"
READ = "SELECT stdOut FROM ATLAS_PANDA.jobsDebug WHERE PandaID = :PandaID"


@operation(timeout=30)
def later_and_read(tx: Transaction, panda_id: int, text: str) -> Any:
    tx.change_later(ADD, PandaID=panda_id, text=text)
    return tx.value(READ, PandaID=panda_id)


@operation(timeout=30)
def only_later(tx: Transaction, panda_ids: list[int]) -> int:
    for panda_id in panda_ids:
        tx.change_later(ADD, PandaID=panda_id, text="x")
    return tx.statements


@operation(timeout=30)
def later_in_a_savepoint(tx: Transaction) -> None:
    tx.change_later(ADD, PandaID=1, text="kept")
    try:
        with tx.savepoint():
            tx.change_later(ADD, PandaID=2, text="undone")
            raise ValueError
    except ValueError:
        tx.change_later(ADD, PandaID=3, text="kept")


@operation(timeout=30)
def debug_text(tx: Transaction, panda_id: int) -> Any:
    return tx.value(READ, PandaID=panda_id)


def call(proxy: OraDBProxy, op: Any, *args: Any) -> Any:
    return proxy.call(op.name, args, {}, 30.0)


@pytest.mark.parametrize("text", ["plain", "100% of %s; 'quoted' \\ %(name)s", "a; COMMIT"])
def test_the_next_statement_sees_it(proxy: OraDBProxy, text: str) -> None:
    assert call(proxy, later_and_read, 1, text) == text
    assert call(proxy, debug_text, 1) == text


def test_the_commit_takes_it_along(proxy: OraDBProxy) -> None:
    assert call(proxy, only_later, [1, 2]) == 2
    assert [call(proxy, debug_text, n) for n in (1, 2)] == ["x", "x"]


def test_its_error_undoes_everything_and_leaves_a_connection_that_works(proxy: OraDBProxy) -> None:
    with pytest.raises(DuplicateKey):
        call(proxy, only_later, [1, 2, 1])
    assert [call(proxy, debug_text, n) for n in (1, 2)] == [None, None]
    assert call(proxy, only_later, [1]) == 1


def test_its_error_may_come_with_the_next_statement(proxy: OraDBProxy) -> None:
    call(proxy, only_later, [1])
    with pytest.raises(PandaError):
        call(proxy, later_and_read, 1, "again")
    assert call(proxy, debug_text, 1) == "x"


def test_an_undone_savepoint_takes_back_what_was_not_sent_yet(proxy: OraDBProxy) -> None:
    call(proxy, later_in_a_savepoint)
    assert [call(proxy, debug_text, n) for n in (1, 2, 3)] == ["kept", None, "kept"]
