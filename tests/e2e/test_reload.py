"""Apache and the daemon read their configuration again while the server has work."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http import HTTPStatus
from time import monotonic

import pytest

from tests.chaos.web_rig import Answer, Rig, directory, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

_RATE = 50  # requests a second
_SENDERS = 24
NO_JOBS = "20"


class Load:
    """Pilots that ask at a steady rate: one in two whether the server lives, the others for a job of the database."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._over = threading.Event()
        self._count = 0
        self.answered = 0
        self.repeated: list[Answer] = []  # what came the first time
        self.failed: list[Answer] = []  # what came the second time

    @contextmanager
    def running(self) -> Iterator[None]:
        with ThreadPoolExecutor(_SENDERS + 1) as pool:
            pacing = pool.submit(self._pace, pool)
            try:
                yield
            finally:
                self._over.set()
                pacing.result()

    def _pace(self, pool: ThreadPoolExecutor) -> None:
        begun = monotonic()
        while not self._over.wait(max(0.0, begun + self._count / _RATE - monotonic())):
            self._count += 1
            pool.submit(self._ask, self._count)

    def wait_for(self, answers: int) -> None:
        """Wait until that many requests more have been answered."""
        due = self.answered + answers
        wait_until(lambda: self.answered >= due, 60, f"{answers} answers")

    def _ask(self, number: int) -> None:
        answer = self._answer(number)
        if not is_good(answer):
            self.repeated.append(answer)
            answer = self._answer(number)
            if not is_good(answer):
                self.failed.append(answer)
        self.answered += 1

    def _answer(self, number: int) -> Answer:
        if number % 2:
            return self._rig.ask("isAlive")
        return self._rig.ask("getJob", {"siteName": "TEST_PQ", "prodSourceLabel": "user", "node": f"n{number}"})


def is_good(answer: Answer) -> bool:
    """Tell whether the application answered."""
    return answer.text == "alive=yes" or answer.fields.get("StatusCode") == NO_JOBS


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with directory() as path, Rig(path / "var", "sqlite") as made:
        yield made


def test_no_request_fails_while_the_daemon_reloads(rig: Rig) -> None:
    master = rig.master()
    load = Load(rig)
    with load.running():
        for number in range(1, 4):
            master.send_signal(signal.SIGHUP)
            wait_until(lambda number=number: rig.daemon_output().count("configuration reloaded daemons=") == number)  # type: ignore[misc]
            load.wait_for(_RATE)
    assert (load.failed, load.repeated) == ([], [])
    assert rig.master().pid == master.pid


def test_no_request_is_lost_while_apache_reloads(rig: Rig) -> None:
    """A request that waits for a web process at the instant when these are replaced gets 502 or 503, as mod_wsgi closes
    the queue with them; the application has not seen it, so it may be repeated."""
    apache = rig.apache()
    load = Load(rig)
    with load.running():
        for _ in range(2):
            serving = {process.pid for process in rig.web_processes()}
            apache.send_signal(signal.SIGUSR1)  # what `apachectl graceful` sends
            load.wait_for(3 * _RATE)
            wait_until(lambda serving=serving: not serving & {one.pid for one in rig.web_processes()})  # type: ignore[misc]
    assert load.failed == []
    assert {answer.status for answer in load.repeated} <= {HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE}
    assert len(load.repeated) < load.answered / 20
    assert rig.apache().pid == apache.pid
