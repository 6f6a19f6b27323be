"""What operators ask of machines: each machine gets it once, and only who asked sees the answers."""

from __future__ import annotations

import pytest

from pandaserver.srvcore.errors import BadRequest, Conflict, Forbidden, NotFound
from pandaserver.taskbuffer.async_requests import DONE, FAILED, GREP, SLEEP_ECHO, AsyncRequest, MachineAnswer
from pandaserver.taskbuffer.db_proxy_mods import async_request
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from tests.db.completion import change
from tests.db.crowd import query

SLEEP = AsyncRequest(SLEEP_ECHO, {"message": "hi", "seconds": 0}, "Paula Prod", service="pandaserver")


@pytest.fixture
def alive(tbuf: TaskBuffer) -> TaskBuffer:
    """Two machines that live."""
    for machine in ("one", "two"):
        assert tbuf.takeAsyncOrders(machine, "pandaserver") == []
    return tbuf


def test_every_machine_of_a_service_gets_a_request_once(alive: TaskBuffer) -> None:
    request_id = alive.submitAsyncRequest(SLEEP, True)
    for machine in ("one", "two"):
        (order,) = alive.takeAsyncOrders(machine, "pandaserver")
        assert (order.request_id, order.kind, order.parameters["message"]) == (request_id, SLEEP_ECHO, "hi")
        assert alive.takeAsyncOrders(machine, "pandaserver") == []
    assert alive.takeAsyncOrders("three", "pandaserver") == []  # it came later, so nobody waits for it


def test_answers_are_complete_when_every_machine_has_answered(alive: TaskBuffer) -> None:
    request_id = alive.submitAsyncRequest(SLEEP, True)
    for machine, complete in (("one", False), ("two", True)):
        alive.takeAsyncOrders(machine, "pandaserver")
        assert alive.storeAsyncAnswer(request_id, machine, MachineAnswer(DONE, f"hi of {machine}"))
        state = alive.getAsyncState(request_id, "Paula Prod", False)
        assert state.is_complete is complete
    assert state.expected_machines == ("one", "two")
    assert [(r["machine_name"], r["status"], r["result"]) for r in state.results] == [
        ("one", DONE, "hi of one"),
        ("two", DONE, "hi of two"),
    ]
    assert not alive.storeAsyncAnswer(request_id, "one", MachineAnswer(DONE, "again"))
    assert not alive.storeAsyncAnswer(request_id, "three", MachineAnswer(DONE, "never asked"))


def test_one_machine_can_be_named(alive: TaskBuffer) -> None:
    alive.setPermissions("Jane Doe", "l", "admin")
    asked = AsyncRequest(GREP, {"pattern": "x", "log_filename": "panda-Entry.log"}, "Jane Doe", machine="two")
    alive.submitAsyncRequest(asked, False)
    assert alive.takeAsyncOrders("one", "pandaserver") == []
    assert len(alive.takeAsyncOrders("two", "pandaserver")) == 1


def test_who_may_not_ask_is_refused_and_nothing_is_stored(alive: TaskBuffer) -> None:
    with pytest.raises(Forbidden, match="may not ask machines for grep"):
        alive.submitAsyncRequest(AsyncRequest(GREP, {}, "Jane Doe", machine="one"), True)
    with pytest.raises(Forbidden, match="may not ask machines for sleep_echo"):
        alive.submitAsyncRequest(SLEEP, False)
    assert query(alive, "SELECT request_id FROM ATLAS_PANDA.Async_Requests") == []


def test_a_machine_that_nobody_sees_is_not_asked(alive: TaskBuffer) -> None:
    with pytest.raises(BadRequest, match=r"seen: one \(pandaserver\), two \(pandaserver\)"):
        alive.submitAsyncRequest(AsyncRequest(SLEEP_ECHO, {}, "Paula Prod", service="jedi"), True)


def test_answers_are_for_who_asked_and_for_production(alive: TaskBuffer) -> None:
    request_id = alive.submitAsyncRequest(SLEEP, True)
    assert alive.getAsyncState(request_id, "Somebody Else", True).requester == "Paula Prod"
    for caller, known in (("Somebody Else", request_id), ("", request_id), ("Paula Prod", "x")):
        with pytest.raises(NotFound):
            alive.getAsyncState(known, caller, False)


def test_what_a_machine_began_and_did_not_end_fails_after_a_second_attempt(alive: TaskBuffer) -> None:
    request_id = alive.submitAsyncRequest(SLEEP, True)
    lost = "UPDATE ATLAS_PANDA.Async_Results SET started_at = CURRENT_TIMESTAMP - 1 * INTERVAL '1' HOUR"
    assert len(alive.takeAsyncOrders("one", "pandaserver")) == 1
    change(alive, lost)
    assert len(alive.takeAsyncOrders("one", "pandaserver")) == 1
    change(alive, lost)
    assert alive.takeAsyncOrders("one", "pandaserver") == []
    (result,) = alive.getAsyncState(request_id, "Paula Prod", False).results
    assert (result["status"], result["return_code"], result["error_msg"]) == (FAILED, 2, "began and never ended")


def test_there_is_an_end_to_requests(alive: TaskBuffer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(async_request, "MOST_REQUESTS", 1)
    alive.submitAsyncRequest(SLEEP, True)
    with pytest.raises(Conflict, match="there were 1 requests within ten minutes"):
        alive.submitAsyncRequest(SLEEP, True)


def test_old_requests_go_with_their_answers(alive: TaskBuffer) -> None:
    alive.submitAsyncRequest(SLEEP, True)
    alive.takeAsyncOrders("one", "pandaserver")
    assert alive.forgetAsyncRequests(1) == 0
    assert len(query(alive, "SELECT machine_name FROM ATLAS_PANDA.Machine_Heartbeat")) == 2
    assert alive.forgetAsyncRequests(-1) == 1
    assert query(alive, "SELECT request_id FROM ATLAS_PANDA.Async_Results") == []
    assert query(alive, "SELECT machine_name FROM ATLAS_PANDA.Machine_Heartbeat") == []
