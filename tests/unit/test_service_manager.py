"""What systemd hears from the master."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pandaserver.daemons.service_manager import ServiceManager
from pandaserver.deployment.template import shipped

LOG = logging.getLogger("tests")


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.setblocking(False)
        yield sock


def told(listener: socket.socket) -> list[str]:
    """Return the lines that have come."""
    lines: list[str] = []
    while True:
        try:
            lines += listener.recv(4096).decode().split("\n")
        except BlockingIOError:
            return lines


def manager(listener: socket.socket, **more: str) -> ServiceManager:
    return ServiceManager({"NOTIFY_SOCKET": listener.getsockname(), **more}, LOG)


def test_start_and_end_are_told(listener: socket.socket) -> None:
    service = manager(listener)
    service.ready()
    service.stopping()
    assert told(listener) == ["READY=1", "STOPPING=1"]


def test_a_reload_begins_at_a_time_and_ends(listener: socket.socket) -> None:
    service = manager(listener)
    service.reloading()
    service.ready()
    words = told(listener)
    assert (words[0], words[1].startswith("MONOTONIC_USEC="), words[2]) == ("RELOADING=1", True, "READY=1")


def test_a_state_is_told_when_it_is_another_one(listener: socket.socket) -> None:
    service = manager(listener)
    for status in ("well", "well", "better"):
        service.beat(0.0, status)
    assert told(listener) == ["STATUS=well", "STATUS=better"]
    assert service.next_beat == float("inf")


def test_signs_of_life_come_twice_in_the_interval_of_the_watchdog(listener: socket.socket) -> None:
    service = manager(listener, WATCHDOG_USEC="20000000", WATCHDOG_PID=str(os.getpid()))
    service.beat(100.0, "well")
    assert service.next_beat == 110.0
    service.beat(109.9, "well")
    service.beat(110.0, "well")
    assert told(listener) == ["STATUS=well", "WATCHDOG=1", "WATCHDOG=1"]


def test_a_watchdog_of_another_process_hears_nothing(listener: socket.socket) -> None:
    service = manager(listener, WATCHDOG_USEC="20000000", WATCHDOG_PID="1")
    service.beat(100.0, "well")
    assert told(listener) == ["STATUS=well"]


def test_a_sign_of_life_that_could_not_be_sent_is_tried_again_soon(
    listener: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    service = manager(listener, WATCHDOG_USEC="20000000")
    os.unlink(listener.getsockname())
    service.beat(100.0, "well")
    assert service.next_beat == 101.0
    service.beat(101.0, "well")
    assert len([record for record in caplog.records if "cannot tell systemd" in record.message]) == 1


def test_an_address_may_be_abstract() -> None:
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as sock:
        name = f"panda-test-{os.getpid()}"
        sock.bind(f"\0{name}")
        ServiceManager({"NOTIFY_SOCKET": f"@{name}"}, LOG).ready()
        assert sock.recv(100) == b"READY=1"


def test_nothing_that_scripts_start_can_speak_for_the_service(listener: socket.socket) -> None:
    environ = {"NOTIFY_SOCKET": listener.getsockname(), "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1", "HOME": "/"}
    ServiceManager(environ, LOG)
    assert environ == {"HOME": "/"}


def test_without_systemd_nothing_happens() -> None:
    service = ServiceManager({}, LOG)
    service.ready()
    service.beat(0.0, "well")
    assert service.next_beat == float("inf")


def test_the_unit_listens() -> None:
    unit = shipped("systemd/panda_daemon.service").splitlines()
    assert {"Type=notify", "NotifyAccess=main", "WatchdogSec=60"} <= set(unit)
