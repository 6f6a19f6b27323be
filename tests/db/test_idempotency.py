"""Changes that are made once, on connections of their own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from pandaserver.srvcore.errors import Busy, Conflict, KeyReused, StillAtWork
from pandaserver.taskbuffer import kept_values
from pandaserver.taskbuffer.connection_settings import ConnectionSettings, OperationSettings
from pandaserver.taskbuffer.keyed_caller import KeyedCaller
from pandaserver.taskbuffer.local_bridge import LocalBridge
from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from pandaserver.taskbuffer.tickets import Ticket
from pandaserver.taskbuffer.transaction import Transaction
from tests.db.completion import read

KEYS = "SELECT operation, step FROM ATLAS_PANDA.panda_idempotency ORDER BY operation, step"
RUNS = "SELECT COUNT(*) FROM ATLAS_PANDA.panda_messages"

TICKET = Ticket("/CN=Jane Doe", "k", "h")

started, may_end = threading.Event(), threading.Event()


@operation(timeout=30)
def leave_a_message(tx: Transaction, text: str, slowly: bool = False) -> list[str]:
    """Leave a message; with ``slowly`` not before the test says so."""
    tx.insert("ATLAS_PANDA.panda_messages", [{"topic": "t", "creationTime": tx.now(), "payload": text}])
    if slowly:
        started.set()
        assert may_end.wait(20)
    return [text]


@operation(timeout=30)
def leave_nothing(tx: Transaction) -> str:
    """Change no row."""
    tx.change("UPDATE ATLAS_PANDA.panda_messages SET topic = :topic WHERE id = :id", topic="x", id=-1)
    return "nothing"


@contextmanager
def another(database: ConnectionSettings) -> Iterator[TaskBuffer]:
    """Give a task buffer with a connection of its own."""
    bridge = LocalBridge(database, OperationSettings(hostname="h"))
    try:
        yield TaskBuffer(bridge)
    finally:
        bridge.close()


def request(tbuf: TaskBuffer, ticket: Ticket = TICKET) -> KeyedCaller:
    return KeyedCaller(tbuf.caller, ticket)


def test_the_calls_of_one_request_are_made_once_each(tbuf: TaskBuffer) -> None:
    for expected in (["a", "b"], ["a", "b"]):
        one = request(tbuf)
        assert [one.call(leave_a_message, (text,), {})[0] for text in ("a", "b")] == expected
        assert one.changed
    assert read(tbuf, RUNS) == [(2,)]
    assert read(tbuf, KEYS) == [("leave_a_message", 1), ("leave_a_message", 2)]


def test_what_changes_nothing_leaves_no_row(tbuf: TaskBuffer) -> None:
    one = request(tbuf)
    assert one.call(leave_nothing, (), {}) == "nothing"
    assert (one.changed, read(tbuf, KEYS)) == (False, [])


def test_a_failure_leaves_no_row(tbuf: TaskBuffer) -> None:
    with pytest.raises(TypeError):
        request(tbuf).call(leave_a_message, (object(),), {"slowly": 5, "nonsense": 1})
    assert read(tbuf, KEYS) == []


def test_another_request_is_refused(tbuf: TaskBuffer) -> None:
    request(tbuf).call(leave_a_message, ("a",), {})
    with pytest.raises(KeyReused, match="Idempotency-Key k was used for another request"):
        request(tbuf, Ticket("/CN=Jane Doe", "k", "other")).call(leave_a_message, ("a",), {})
    request(tbuf, Ticket("/CN=John Roe", "k", "other")).call(leave_a_message, ("a",), {})


def test_a_result_that_is_too_long_is_not_made_twice(tbuf: TaskBuffer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_values, "MOST", 3)
    assert request(tbuf).call(leave_a_message, ("abc",), {}) == ["abc"]
    with pytest.raises(Conflict, match="executed already, and its result was too long"):
        request(tbuf).call(leave_a_message, ("abc",), {})
    assert read(tbuf, RUNS) == [(1,)]


def test_the_quicker_answer_is_kept(tbuf: TaskBuffer) -> None:
    assert tbuf.keptAnswer(TICKET) is None
    assert [tbuf.keepAnswer(TICKET, {"body": body}) for body in (b"1", b"2")] == [{"body": b"1"}] * 2
    assert tbuf.keptAnswer(TICKET) == {"body": b"1"}


def test_the_second_of_two_requests_waits_for_the_first(database: ConnectionSettings, tbuf: TaskBuffer) -> None:
    with another(database) as first, another(database) as second:
        with at_work(first):
            impatient = TaskBuffer(request(second)).within(2.0)
            with pytest.raises(StillAtWork if database.backend != "sqlite" else Busy):
                impatient.caller.call(leave_a_message, ("a",), {}, 2.0)
            waiting: list[list[str]] = []
            thread = threading.Thread(
                target=lambda: waiting.append(request(second).call(leave_a_message, ("a",), {}, 20.0))
            )
            thread.start()
        thread.join(20)
    assert waiting == [["a"]]
    assert read(tbuf, RUNS) == [(1,)]


@contextmanager
def at_work(tbuf: TaskBuffer) -> Iterator[None]:
    """Let a request be at work on another thread."""
    started.clear()
    may_end.clear()
    thread = threading.Thread(target=lambda: request(tbuf).call(leave_a_message, ("a",), {"slowly": True}))
    thread.start()
    try:
        assert started.wait(20)
        yield
    finally:
        may_end.set()
        thread.join(20)


def test_two_finished_answers_of_one_moment(
    database: ConnectionSettings, tbuf: TaskBuffer, requires: Callable[[str], None]
) -> None:
    requires("connections")
    results: list[object] = []

    def keep(n: int) -> None:
        with another(database) as mine:
            results.append(mine.keepAnswer(TICKET, n))

    threads = [threading.Thread(target=keep, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert results == [tbuf.keptAnswer(TICKET)] * 6
