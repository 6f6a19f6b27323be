"""Apache and the daemon read their configuration again while the server has work."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from time import monotonic

import pytest

from pandaserver.deployment.apache import modules
from tests.chaos import slow_sender
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
        self.failed: list[Answer] = []

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
    assert load.failed == []
    assert rig.master().pid == master.pid


@pytest.mark.parametrize("mpm", ["event", "prefork"])
def test_no_request_fails_while_apache_restarts_gracefully(mpm: str) -> None:
    with directory() as path, Rig(path / "var", "sqlite", daemon=False, httpd=_mpm(mpm)) as rig:
        apache = rig.apache()
        load = Load(rig)
        with load.running():
            load.wait_for(_RATE)
            for _ in range(4):
                serving = {process.pid for process in rig.web_processes()}
                apache.send_signal(signal.SIGUSR1)  # what `apachectl graceful` sends
                wait_until(lambda serving=serving: rig.web_processes() and not serving & _pids(rig))  # type: ignore[misc]
                load.wait_for(2 * _RATE)
        assert load.failed == []
        assert rig.apache().pid == apache.pid


def test_a_request_that_takes_its_time_survives_a_graceful_restart(rig: Rig) -> None:
    """Its WSGI process is there until it is answered, although the parent has forgotten its configuration."""
    log = rig.layout.log / "panda_server_error_log"
    assert is_good(rig.ask("getJob", {"siteName": "TEST_PQ", "prodSourceLabel": "user", "node": "n"}))  # a token's keys
    with slow_sender.begun(rig) as sender:
        serving = _pids(rig)
        rig.apache().send_signal(signal.SIGUSR1)
        wait_until(lambda: "Doing graceful restart" in log.read_text())
        sender.sendall(slow_sender.FORM[slow_sender.BEGINNING :])
        assert slow_sender.NO_JOBS in slow_sender.reply(sender)
    wait_until(lambda: rig.web_processes() and not serving & _pids(rig))


def _mpm(name: str) -> dict[str, str]:
    shipped = f'LoadModule mpm_event_module "{modules()}/mod_mpm_event.so"'
    # The issuer of tokens is a file of this Apache, so somebody has to be free while all senders wait.
    return {shipped: shipped.replace("event", name), "${PANDA_SERVER_CONF_MIN_WORKERS}": str(2 * _SENDERS)}


def _pids(rig: Rig) -> set[int]:
    return {process.pid for process in rig.web_processes()}
