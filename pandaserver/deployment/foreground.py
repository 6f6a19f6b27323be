"""A few services that live and end together under one process in the foreground, as containers want it.

The process may be the first of its container: it also collects what orphans leave behind.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from pandaserver.daemons.process_tree import adopt_orphans, children, die_with, kill_tree
from pandaserver.deployment.signals import wait_until_handled

#: Exit codes: told to stop and everything ended in peace; a service ended by itself, or had to be killed.
STOPPED, FAILED = 0, 1

_ENDING: Final = frozenset({signal.SIGTERM, signal.SIGINT})
_AWAITED: Final = _ENDING | {signal.SIGHUP, signal.SIGCHLD}
#: Seconds for the last lines of services that have ended.
_LAST_LINES: Final = 2.0


@dataclass(frozen=True, slots=True)
class Service:
    """A program in the foreground, and what it wants to be told."""

    name: str
    command: tuple[str, ...]
    stop: signal.Signals  # end when what is being done is done
    reload: signal.Signals  # read the configuration again


class Foreground:
    """Runs services until it is told to stop, or until one of them ends."""

    def __init__(
        self,
        services: Iterable[Service],
        environment: Mapping[str, str],
        log: logging.Logger,
        *,
        grace: float,
        every: float,
        housekeeping: Callable[[], None],
    ) -> None:
        self._services = tuple(services)
        self._environment = dict(environment)
        self._log = log
        self._grace = grace  # seconds that services have to end
        self._every = every  # seconds between two housekeepings
        self._housekeeping = housekeeping
        self._running: dict[int, tuple[Service, subprocess.Popen[bytes]]] = {}
        self._ended: list[tuple[Service, int]] = []

    def run(self) -> int:
        """Return STOPPED or FAILED, when nothing runs any more."""
        former = signal.pthread_sigmask(signal.SIG_BLOCK, _AWAITED)
        adopt_orphans()
        source, sink = os.pipe()
        copying = threading.Thread(target=_copy, args=(source, sys.stdout.fileno()), name="output", daemon=True)
        try:
            for service in self._services:
                self._start(service, sink)
            # Not earlier: a fork of a process with threads may inherit a lock that nobody will release.
            copying.start()
            reason = self._watch()
            in_peace = self._stop()
        finally:
            self._kill()
            os.close(sink)
            if copying.ident is not None:
                copying.join(_LAST_LINES)
            signal.pthread_sigmask(signal.SIG_SETMASK, former)
        return STOPPED if reason == STOPPED and in_peace else FAILED

    def _start(self, service: Service, output: int) -> None:
        process = subprocess.Popen(
            service.command,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C is for us; we tell them in their own words
            preexec_fn=_prepared_child(os.getpid()),  # noqa: PLW1509 - we have no threads yet
        )
        self._running[process.pid] = (service, process)
        self._log.info(f"started service={service.name} pid={process.pid}")

    def _watch(self) -> int:
        tidied = time.monotonic()
        while True:
            told = signal.sigtimedwait(_AWAITED, self._every)
            self._reap()
            if self._ended:
                return FAILED
            if told is not None and told.si_signo in _ENDING:
                self._log.info(f"stopping signal={signal.Signals(told.si_signo).name} grace_s={self._grace:g}")
                return STOPPED
            if told is not None and told.si_signo == signal.SIGHUP:
                self._reload()
            if time.monotonic() - tidied >= self._every:
                tidied = time.monotonic()
                self._housekeeping()

    def _reload(self) -> None:
        for pid, (service, _) in self._running.items():
            if not wait_until_handled(pid, service.reload):
                self._log.warning(f"not reloaded service={service.name} pid={pid} reason=does not come up")
                continue
            os.kill(pid, service.reload)  # not reaped yet, so the number is still its own

    def _stop(self) -> bool:
        """Let the services end what they do; tell whether they did within the grace period."""
        deadline = time.monotonic() + self._grace
        for pid, (service, _) in self._running.items():
            os.kill(pid, service.stop)
        while self._running and (left := deadline - time.monotonic()) > 0:
            signal.sigtimedwait({signal.SIGCHLD}, left)
            self._reap()
        return not self._running and all(code == 0 for _, code in self._ended)

    def _kill(self) -> None:
        """End what is left: services, and whatever moved out of their groups and was orphaned."""
        for pid, (service, _) in self._running.items():
            self._log.warning(f"killed service={service.name} pid={pid} reason=does not end")
        while left := children(os.getpid()):
            for pid in left:
                kill_tree(pid)
            signal.sigtimedwait({signal.SIGCHLD}, 1.0)
            self._reap()

    def _reap(self) -> None:
        """Collect whoever has ended, ours or an orphan's."""
        with suppress(ChildProcessError):
            while (info := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
                if info.si_pid in self._running:
                    # While the leader is not collected, the number of its group cannot belong to others.
                    os.killpg(info.si_pid, signal.SIGKILL)
                _, status = os.waitpid(info.si_pid, 0)
                if ours := self._running.pop(info.si_pid, None):
                    self._note_end(*ours, os.waitstatus_to_exitcode(status))

    def _note_end(self, service: Service, process: subprocess.Popen[bytes], code: int) -> None:
        process.returncode = code  # Popen cannot ask any more
        self._ended.append((service, code))
        how = f"code={code}" if code >= 0 else f"signal={signal.Signals(-code).name}"
        self._log.info(f"ended service={service.name} pid={process.pid} {how}")


def _prepared_child(parent: int) -> Callable[[], None]:
    def prepare() -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _AWAITED)
        die_with(parent)

    return prepare


def _copy(source: int, output: int) -> None:
    """Copy what services print. Whoever stops reading us does not stop them."""
    with os.fdopen(source, "rb", buffering=0) as reader:
        while data := reader.read(65536):
            with suppress(OSError):
                while data:
                    data = data[os.write(output, data) :]
