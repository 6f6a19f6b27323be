"""A real child, stopped, killed, crashed and orphaned: the caller always knows what happened, in time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import psutil
import pytest

from pandacommon.pandalogger.context import remote_address, request_id
from pandacommon.pandalogger.PandaLogger import PandaLogger
from pandaserver.config.logger_settings import LoggerSettings
from pandaserver.srvcore.errors import BadRequest, Conflict, OutcomeUnknown, Unavailable
from pandaserver.taskbuffer import wire
from pandaserver.taskbuffer.bridge import ChildSettings, OperationFailed
from pandaserver.taskbuffer.ConBridge import ConBridge
from pandaserver.taskbuffer.connection_settings import ConnectionSettings, OperationSettings
from pandaserver.taskbuffer.operation import Operation
from tests.chaos import bridge_operations as ops

MakeBridge = Callable[..., ConBridge]
OPERATIONS = "tests.chaos.bridge_operations"
ROOT = Path(__file__).parents[2]
EIGHT_MB = b"x" * 8_000_000


@pytest.fixture
def make_bridge(tmp_path: Path, connection: ConnectionSettings) -> Iterator[MakeBridge]:
    made: list[ConBridge] = []

    def make(*modules: str, lifetime: float = 3600.0, max_memory: int = 0) -> ConBridge:
        logger = LoggerSettings(logdir=tmp_path)
        settings = ChildSettings(connection, OperationSettings(), logger, modules or (OPERATIONS,))
        made.append(ConBridge(settings, PandaLogger.getLogger("ConBridge"), lifetime, max_memory))
        return made[-1]

    yield make
    for bridge in made:
        if bridge.pid is not None:
            psutil.Process(bridge.pid).resume()
        bridge.close()


@pytest.fixture
def bridge(make_bridge: MakeBridge) -> ConBridge:
    """Return a bridge whose child is running."""
    bridge = make_bridge()
    call(bridge, ops.bridge_echo, "started")
    return bridge


def call(bridge: ConBridge, operation: Operation[..., Any], *args: object, timeout: float | None = None) -> object:
    return bridge.call(operation, args, {}, timeout)


def pid_of(bridge: ConBridge) -> int:
    assert bridge.pid is not None
    return bridge.pid


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = monotonic() + seconds
    while not condition():
        assert monotonic() < deadline, "the condition did not come true"
        sleep(0.005)


def is_gone(pid: int) -> bool:
    return not psutil.pid_exists(pid)


def test_a_call_runs_in_another_process(bridge: ConBridge) -> None:
    assert call(bridge, ops.bridge_pid) == bridge.pid != os.getpid()


def test_a_bridge_starts_no_process_before_its_first_call(make_bridge: MakeBridge) -> None:
    assert make_bridge().pid is None


def test_eight_megabytes_travel_both_ways(bridge: ConBridge) -> None:
    assert call(bridge, ops.bridge_echo, EIGHT_MB) == EIGHT_MB


def test_request_and_address_travel_with_the_call(bridge: ConBridge) -> None:
    token = request_id.set("abc-1")
    calling = remote_address.set("192.0.2.7")
    try:
        assert call(bridge, ops.bridge_request_id) == ("abc-1", "192.0.2.7")
    finally:
        request_id.reset(token)
        remote_address.reset(calling)


# --- deadlines


def test_a_stopped_child_costs_exactly_the_deadline_while_reading(bridge: ConBridge) -> None:
    os.kill(pid_of(bridge), signal.SIGSTOP)
    started = monotonic()
    with pytest.raises(OutcomeUnknown, match="bridge_echo may have been executed"):
        call(bridge, ops.bridge_echo, "anyone?", timeout=0.5)
    assert 0.5 <= monotonic() - started < 1.0


def test_a_stopped_child_costs_exactly_the_deadline_while_writing(bridge: ConBridge) -> None:
    os.kill(pid_of(bridge), signal.SIGSTOP)
    started = monotonic()
    with pytest.raises(Unavailable, match="bridge_echo was not executed"):
        call(bridge, ops.bridge_echo, EIGHT_MB, timeout=0.5)
    assert 0.5 <= monotonic() - started < 1.0


def test_a_deadline_that_has_passed_already_costs_no_child(bridge: ConBridge) -> None:
    living = bridge.pid
    with pytest.raises(Unavailable, match="before it could be sent"):
        call(bridge, ops.bridge_echo, "late", timeout=-1.0)
    assert call(bridge, ops.bridge_pid) == living


def test_a_child_past_its_deadline_is_killed_and_replaced(bridge: ConBridge) -> None:
    late = pid_of(bridge)
    with pytest.raises(OutcomeUnknown):
        call(bridge, ops.bridge_stop, timeout=0.2)
    assert is_gone(late)
    assert call(bridge, ops.bridge_echo, "next") == "next"


def test_a_child_that_starts_slowly_outlives_the_deadlines_of_its_first_calls(make_bridge: MakeBridge) -> None:
    bridge = make_bridge()
    with pytest.raises(Unavailable, match="still starting"):
        call(bridge, ops.bridge_echo, "early", timeout=0.001)
    starting = pid_of(bridge)
    call(bridge, ops.bridge_echo, "later")
    assert bridge.pid == starting


# --- outcomes


def test_a_child_killed_during_a_call_leaves_the_outcome_unknown(bridge: ConBridge, tmp_path: Path) -> None:
    mark = tmp_path / "started"
    killed = pid_of(bridge)

    def kill_when_started() -> None:
        wait_until(mark.exists)
        os.kill(killed, signal.SIGKILL)

    killer = threading.Thread(target=kill_when_started)
    killer.start()
    with pytest.raises(OutcomeUnknown):
        call(bridge, ops.bridge_sleep, mark)
    killer.join()
    assert call(bridge, ops.bridge_echo, "next") == "next"


def test_a_child_that_died_between_calls_is_replaced_unnoticed(bridge: ConBridge) -> None:
    killed = pid_of(bridge)
    os.kill(killed, signal.SIGKILL)
    os.waitid(os.P_PID, killed, os.WEXITED | os.WNOWAIT)  # all its threads have ended, and nobody has reaped it
    assert call(bridge, ops.bridge_pid) != killed


def test_a_call_that_may_have_written_is_not_repeated(bridge: ConBridge, tmp_path: Path) -> None:
    with pytest.raises(OutcomeUnknown):
        call(bridge, ops.bridge_dies_once, tmp_path / "mark")


def test_a_repeatable_call_is_repeated_once_when_the_child_is_lost(bridge: ConBridge, tmp_path: Path) -> None:
    assert call(bridge, ops.bridge_reads_and_dies_once, tmp_path / "mark") == "done"


def test_a_repeatable_call_is_repeated_only_once(bridge: ConBridge, tmp_path: Path) -> None:
    log = tmp_path / "calls"
    with pytest.raises(OutcomeUnknown):
        call(bridge, ops.bridge_reads_and_always_dies, log)
    assert log.read_text().count("called") == 2


def test_an_error_of_the_operation_arrives_as_itself_and_the_child_lives_on(bridge: ConBridge) -> None:
    living = bridge.pid
    with pytest.raises(Conflict, match="PandaID 1 is finished") as caught:
        call(bridge, ops.bridge_conflict, {"found": "finished"})
    assert (caught.value.details, bridge.pid) == ({"found": "finished"}, living)
    assert call(bridge, ops.bridge_pid) == living


def test_an_unreachable_database_does_not_cost_the_child(bridge: ConBridge) -> None:
    living = bridge.pid
    with pytest.raises(Unavailable, match="no connection"):
        call(bridge, ops.bridge_unavailable)
    assert call(bridge, ops.bridge_pid) == living


def test_a_bug_is_reported_as_a_bug_and_the_child_lives_on(bridge: ConBridge, tmp_path: Path) -> None:
    living = bridge.pid
    with pytest.raises(OperationFailed, match="ZeroDivisionError"):
        call(bridge, ops.bridge_bug)
    assert call(bridge, ops.bridge_pid) == living
    assert "in bridge_bug" in (tmp_path / "panda-DBProxy.log").read_text()  # the traceback


def test_an_unpicklable_result_is_a_bug_and_the_child_lives_on(bridge: ConBridge) -> None:
    living = bridge.pid
    with pytest.raises(OperationFailed, match="pickle"):
        call(bridge, ops.bridge_unpicklable)
    assert call(bridge, ops.bridge_pid) == living


def test_an_unpicklable_argument_is_refused_before_it_is_sent(bridge: ConBridge) -> None:
    living = bridge.pid
    with pytest.raises(TypeError, match="pickle"):
        call(bridge, ops.bridge_echo, threading.Lock())
    assert call(bridge, ops.bridge_pid) == living


def test_arguments_larger_than_a_frame_are_refused(bridge: ConBridge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MAX_FRAME", 1000)
    with pytest.raises(BadRequest, match="too large"):
        call(bridge, ops.bridge_echo, b"x" * 1001)


# --- processes


def test_nothing_is_left_of_twenty_killed_children(bridge: ConBridge) -> None:
    us = psutil.Process()
    before = us.num_fds()
    others = {child.pid for child in us.children()} - {bridge.pid}  # a server that other tests share
    for _ in range(20):
        killed = pid_of(bridge)
        with pytest.raises(OutcomeUnknown):
            call(bridge, ops.bridge_stop, timeout=0.05)
        assert is_gone(killed)
        call(bridge, ops.bridge_echo, "next")
    assert us.num_fds() <= before  # what earlier tests left may be collected meanwhile
    assert {child.pid for child in us.children()} - others == {bridge.pid}


@pytest.mark.parametrize("occupation", ["idle", "busy"])
def test_a_killed_parent_takes_its_child_along(occupation: str, tmp_path: Path, connection: ConnectionSettings) -> None:
    mark = tmp_path / "started"
    program = f"""if True:
        import sys, time
        from pathlib import Path
        from tests.chaos import bridge_operations as ops
        from tests.chaos.test_bridge import ConBridge, ChildSettings, ConnectionSettings, OperationSettings, OPERATIONS
        import logging
        settings = ChildSettings(ConnectionSettings("sqlite", {connection.name!r}), OperationSettings(),
                                 modules=(OPERATIONS,))
        bridge = ConBridge(settings, logging.getLogger())
        bridge.call(ops.bridge_echo, ("started",), {{}})
        print(bridge.pid, flush=True)
        if {occupation!r} == "busy":
            bridge.call(ops.bridge_sleep, (Path({str(mark)!r}),), {{}})
        time.sleep(600)
    """
    parent = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    with parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        if occupation == "busy":
            wait_until(mark.exists)
        parent.kill()
        killed = monotonic()
    wait_until(lambda: is_gone(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE)
    assert monotonic() - killed < 1


def test_signals_for_the_whole_group_do_not_end_a_child(bridge: ConBridge) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(pid_of(bridge), number)
    assert call(bridge, ops.bridge_pid) == bridge.pid


def test_an_old_child_is_replaced_between_calls(make_bridge: MakeBridge) -> None:
    bridge = make_bridge(lifetime=0.0)
    first = call(bridge, ops.bridge_pid)
    assert call(bridge, ops.bridge_pid) != first
    assert isinstance(first, int)
    assert is_gone(first)


@pytest.mark.parametrize(("max_memory", "stays"), [(1, False), (4096, True)])
def test_a_child_that_has_grown_is_replaced_between_two_calls(
    make_bridge: MakeBridge, max_memory: int, stays: bool
) -> None:
    bridge = make_bridge(max_memory=max_memory)
    call(bridge, ops.bridge_echo, "first")
    first = pid_of(bridge)
    assert call(bridge, ops.bridge_echo, "second") == "second"
    assert (pid_of(bridge) == first) is stays


def test_a_child_that_cannot_start_is_not_tried_at_every_call(make_bridge: MakeBridge) -> None:
    bridge = make_bridge("no_such_module")
    with pytest.raises(Unavailable, match=r"could not start.*no_such"):
        call(bridge, ops.bridge_echo, "first")
    with pytest.raises(Unavailable, match=r"next start in .* s after: .*no_such"):
        call(bridge, ops.bridge_echo, "second")
    assert bridge.pid is None


def test_a_missing_interpreter_is_a_failed_start(make_bridge: MakeBridge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "prefix", "/nowhere")
    with pytest.raises(Unavailable, match="no database child could be started"):
        call(make_bridge(), ops.bridge_echo, "first")


def test_an_interrupted_call_cannot_give_its_reply_to_the_next(bridge: ConBridge) -> None:
    def interrupt(*_: object) -> None:
        raise InterruptedError("enough")

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        with pytest.raises(InterruptedError, match="enough"):
            call(bridge, ops.bridge_nap, 0.5, "late")
    finally:
        signal.signal(signal.SIGALRM, before)
    assert call(bridge, ops.bridge_echo, "next") == "next"
