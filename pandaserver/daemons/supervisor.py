"""The master's loop: forks workers, tells them what to run and ends what takes too long."""

from __future__ import annotations

import logging
import os
import random
import selectors
import signal
import socket
from collections.abc import Callable
from time import monotonic
from typing import Final

from pandaserver.config.finding import ConfigurationError
from pandaserver.config.panda_config import PandaConfig
from pandaserver.daemons.output_files import OutputFiles
from pandaserver.daemons.process_tree import adopt_orphans, children, kill_tree
from pandaserver.daemons.protocol import Outcome, Report
from pandaserver.daemons.schedule import Schedule
from pandaserver.daemons.service_manager import ServiceManager
from pandaserver.daemons.status import StatusFile
from pandaserver.daemons.worker_process import NEVER, Phase, WorkerProcess, fork_worker
from pandaserver.srvcore.backoff import Backoff

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGCHLD)
KILLED_LIMIT: Final = 5.0  # seconds that the master, when stopping, waits for killed processes to disappear
SHORTEST_WAIT: Final = 0.1  # seconds, before a script that was locked elsewhere is tried again

WorkerLife = Callable[[socket.socket, PandaConfig], int]


class Master:
    """Owns no thread and no database connection, so that forking it is safe."""

    def __init__(
        self,
        config: PandaConfig,
        read_config: Callable[[], PandaConfig],
        life: WorkerLife,
        log: logging.Logger,
        status: StatusFile,
        service: ServiceManager,
        output: OutputFiles,
        close_in_worker: Callable[[], None] = lambda: None,
    ) -> None:
        self._config = config
        self._read_config = read_config
        self._life = life
        self._log = log
        self._status = status
        self._service = service
        self._output = output
        self._close_in_worker = close_in_worker
        self._schedule = Schedule(config.daemon.daemons, monotonic())
        self._selector = selectors.DefaultSelector()
        self._wakeup, self._notify = socket.socketpair()
        self._workers: dict[int, WorkerProcess] = {}
        self._dying: set[int] = set()  # killed or lost, not yet reaped
        self._foreign: frozenset[int] = frozenset()  # children we had before we began, of a shell that became us
        self._failures: dict[str, str] = {}  # script -> why its last run failed
        self._backoff = Backoff()
        self._next_fork = 0.0
        self._stop_deadline: float | None = None
        self._exit_code = 0

    def run(self) -> int:
        """Work until SIGTERM or SIGINT, or until no worker can ever start, and return the exit code."""
        self._prepare()
        self._log.info(f"master started pid={os.getpid()} n_proc={self._config.daemon.n_proc}")
        self._service.ready()  # whether or not the database is there: without it workers are tried again and again
        try:
            while not self._is_over(monotonic()):
                self._tick(monotonic())
                for key, _ in self._selector.select(self._until_next_event(monotonic())):
                    key.data()
        finally:
            for worker in list(self._workers.values()):
                self._lost(worker)
            self._status.changed()
            self._tell("stopped", monotonic())
        self._log.info(f"master ended pid={os.getpid()} exit_code={self._exit_code}")
        return self._exit_code

    # -- what the passing of time brings

    def _tick(self, now: float) -> None:
        self._output.follow()
        self._kill_overdue(now)
        if self._stop_deadline is None:
            self._dismiss_expired(now)
            for spec in self._schedule.queue_due(now):
                self._log.debug(f"scheduled daemon={spec.name}")
            self._assign(now)
            for spec, late in self._schedule.newly_late(now):
                self._log.warning(f"daemon={spec.name} delayed to run, late_s={late:.0f} period_s={spec.period}")
            self._refill(now)
        self._tell("running" if self._stop_deadline is None else "stopping", now)

    def _tell(self, state: str, now: float) -> None:
        phases = [worker.phase.value for worker in self._workers.values()]
        self._status.beat(now, state, self._config.daemon.n_proc, phases, self._schedule)
        busy = phases.count(Phase.busy.value)
        self._service.beat(now, f"{state}: {busy} of {len(phases)} workers busy, {self._config.daemon.n_proc} wanted")

    def _kill_overdue(self, now: float) -> None:
        for worker in [worker for worker in self._workers.values() if now >= min(worker.deadline, worker.lease_end)]:
            if now >= worker.lease_end and worker.spec is not None:
                self._log.warning(f"daemon={worker.spec.name} pid={worker.pid} cannot renew its lock, killing it")
            elif worker.phase is Phase.busy and worker.spec is not None:
                limit = "its timeout" if self._stop_deadline is None else "stop_timeout"
                self._log.warning(
                    f"daemon={worker.spec.name} pid={worker.pid} exceeding {limit} after "
                    f"{now - worker.started:.1f} s, killing it"
                )
            else:
                self._log.warning(f"worker pid={worker.pid} stuck {worker.phase.value}, killing it")
            self._lost(worker)

    def _dismiss_expired(self, now: float) -> None:
        for worker in self._idle():
            if now >= worker.expires:
                self._log.info(f"worker reached lifetime pid={worker.pid}")
                worker.leave(now)

    def _assign(self, now: float) -> None:
        for worker in self._idle():
            spec = self._schedule.start_next(now)
            if spec is None:
                return
            self._status.changed()
            try:
                worker.run(spec, now)
            except OSError:  # it died a moment ago, so the script goes to another worker
                self._schedule.postponed(spec.name, now)
                worker.spec = None
                self._lost(worker)

    def _refill(self, now: float) -> None:
        daemon = self._config.daemon
        missing = daemon.n_proc - len(self._workers)
        if self._backoff.failures:  # one at a time shows whether workers can start again
            missing = min(missing, 0 if self._is_any_starting() else 1)
        if now < self._next_fork or missing <= 0:
            return
        for _ in range(missing):
            expires = now + daemon.proc_lifetime * random.uniform(0.8, 1.0)  # so that workers do not expire together
            worker = fork_worker(lambda sock: self._life(sock, self._config), self._forget, now, expires)
            self._workers[worker.pid] = worker
            self._selector.register(worker.sock, selectors.EVENT_READ, lambda worker=worker: self._read(worker))
            self._status.changed()
            self._log.info(f"worker launched pid={worker.pid}")
        self._log.info(f"pid list changed pids={','.join(map(str, self._workers))}")

    def _until_next_event(self, now: float) -> float | None:
        moments = [
            self._status.next_beat,
            self._service.next_beat,
            *(min(worker.deadline, worker.lease_end) for worker in self._workers.values()),
        ]
        if self._stop_deadline is None:
            moments += [worker.expires for worker in self._idle()]
            moments.append(self._schedule.next_event())
            if len(self._workers) < self._config.daemon.n_proc and not self._is_any_starting():
                moments.append(self._next_fork)
        else:
            moments.append(self._stop_deadline + KILLED_LIMIT)
        nearest = min(moments, default=NEVER)
        return None if nearest == NEVER else max(0.0, nearest - now)

    def _idle(self) -> list[WorkerProcess]:
        return [worker for worker in self._workers.values() if worker.phase is Phase.idle]

    def _is_any_starting(self) -> bool:
        return any(worker.phase is Phase.starting for worker in self._workers.values())

    # -- what workers tell

    def _read(self, worker: WorkerProcess) -> None:
        if self._workers.get(worker.pid) is not worker:  # lost in the same round of events
            return
        messages = worker.reader.read()
        if messages is None:
            self._lost(worker)
            return
        for kind, *facts in messages:
            self._status.changed()
            if kind == Report.ready:
                self._backoff.succeeded()
                if worker.phase is Phase.starting:
                    worker.becomes_idle()
            elif kind == Report.unusable:
                self._log.critical(f"no worker can start: {facts[0]}")
                self._exit_code = 1
                self._stop(monotonic())
            elif kind == Report.held_until:
                worker.lease_end = facts[0]
            elif kind == Report.ended:
                self._ended(worker, *facts)

    def _ended(
        self, worker: WorkerProcess, outcome: str, seconds: float, wait: float, megabytes: int, text: str
    ) -> None:
        spec, now = worker.spec, monotonic()
        if spec is None:
            return
        if outcome == Outcome.skipped:
            self._schedule.postponed(spec.name, now + max(wait, SHORTEST_WAIT))
        else:
            self._schedule.ended(spec.name)
        self._status.ended(spec.name, outcome, worker.started, now, text)
        self._failures.pop(spec.name, None)
        if outcome == Outcome.failed:
            self._failures[spec.name] = text
            self._log.warning(f"daemon={spec.name} pid={worker.pid} failed: {text!r}")
        if seconds > spec.period and not spec.loop:
            self._log.warning(
                f"daemon={spec.name} pid={worker.pid} ran {seconds:.1f} s, exceeding its period of {spec.period} s"
            )
        limit = self._config.daemon.max_worker_memory
        if limit and megabytes > limit:
            self._log.info(f"worker reached max_worker_memory pid={worker.pid} megabytes={megabytes}")
            worker.expires = now
        worker.becomes_idle()
        if outcome == Outcome.failed or self._stop_deadline is not None:  # it is ending by itself
            worker.leave(now)

    # -- the end of processes

    def _lost(self, worker: WorkerProcess) -> None:
        """Take a worker off the books, with whatever it left behind; it ended, or is killed now."""
        if self._workers.pop(worker.pid, None) is None:
            return
        self._status.changed()
        self._selector.unregister(worker.sock)
        worker.sock.close()
        kill_tree(worker.pid)  # before it is reaped, so the number is still its own
        self._dying.add(worker.pid)
        if worker.phase is Phase.busy and worker.spec is not None:
            self._schedule.ended(worker.spec.name)
            self._status.ended(worker.spec.name, "killed", worker.started, monotonic())
            self._failures[worker.spec.name] = "its worker was killed or died"
            self._log.warning(f"worker died pid={worker.pid} daemon={worker.spec.name}")
        elif worker.phase is Phase.starting or (worker.phase is Phase.idle and not worker.runs):
            self._start_failed(worker)
        self._reap()

    def _start_failed(self, worker: WorkerProcess) -> None:
        now = monotonic()
        if now >= self._next_fork:  # else one of several that failed together, which count as one
            self._next_fork = now + self._backoff.failed()
        self._log.error(f"worker failed to start pid={worker.pid} next_start_s={self._next_fork - now:.1f}")

    def _reap(self) -> None:
        """Reap what ended among our own children, and end what lost its own parent: the remains of a script."""
        for worker in [worker for worker in self._workers.values() if _has_ended(worker.pid)]:
            if worker.pid in self._workers:
                self._lost(worker)
        if not self._dying:
            return
        for pid in children(os.getpid()) - self._workers.keys() - self._dying - self._foreign:
            kill_tree(pid)
            self._dying.add(pid)
        for pid in list(self._dying):
            try:
                if os.waitpid(pid, os.WNOHANG)[0]:
                    self._dying.remove(pid)
            except ChildProcessError:
                self._dying.remove(pid)

    # -- signals

    def _prepare(self) -> None:
        adopt_orphans()
        self._foreign = frozenset(children(os.getpid()))
        self._wakeup.setblocking(False)
        self._notify.setblocking(False)
        signal.set_wakeup_fd(self._notify.fileno(), warn_on_full_buffer=False)
        for number in SIGNALS:
            signal.signal(number, lambda *_: None)
        self._selector.register(self._wakeup, selectors.EVENT_READ, self._on_signals)

    def _forget(self) -> None:
        """Close in a forked worker what belongs to the master alone."""
        self._selector.close()
        self._wakeup.close()
        self._notify.close()
        for worker in self._workers.values():
            worker.sock.close()
        self._close_in_worker()

    def _on_signals(self) -> None:
        for number in self._wakeup.recv(4096):
            if number == signal.SIGCHLD:
                self._reap()
            elif number == signal.SIGHUP:
                self._reload(monotonic())
            elif number == signal.SIGUSR1:
                self._tell_status(monotonic())
            else:
                self._log.info(f"got end signal {signal.Signals(number).name}")
                self._stop(monotonic())

    def _stop(self, now: float) -> None:
        """Start no more scripts and let the running ones end within stop_timeout; the second time, at once."""
        patience = float(self._config.daemon.stop_timeout) if self._stop_deadline is None else 0.0
        first = self._stop_deadline is None
        self._service.stopping()
        self._status.changed()
        self._stop_deadline = now + patience
        for worker in self._workers.values():
            if worker.phase is Phase.busy:
                worker.leave_after_run(self._stop_deadline)
            elif first and worker.phase is not Phase.leaving:
                worker.leave(now)

    def _is_over(self, now: float) -> bool:
        if self._stop_deadline is None or self._workers:
            return False
        return not self._dying or now >= self._stop_deadline + KILLED_LIMIT

    def _reload(self, now: float) -> None:
        """Take the configuration as it is now; workers that know the former one are replaced between scripts."""
        if self._stop_deadline is not None:
            return
        self._service.reloading()
        self._take_configuration(now)
        if self._stop_deadline is None:
            self._service.ready()

    def _take_configuration(self, now: float) -> None:
        try:
            config = self._read_config()
        except ConfigurationError as error:
            self._log.error(f"configuration not reloaded, the former one stays: {error}")
            return
        self._config = config
        self._status.changed()
        if not config.daemon.enable:
            self._log.warning("configuration reloaded: the daemon is disabled now")
            self._stop(now)
            return
        self._schedule.reload(config.daemon.daemons, now)
        for worker in self._workers.values():
            worker.expires = now
        self._log.info(f"configuration reloaded daemons={len(config.daemon.daemons)}")

    def _tell_status(self, now: float) -> None:
        for entry in self._schedule:
            last = "never" if entry.last_start is None else f"{now - entry.last_start:.0f}"
            failure = self._failures.get(entry.spec.name, "")
            self._log.info(
                f"status daemon={entry.spec.name} state={entry.state.value} last_start_s_ago={last} failure={failure!r}"
            )


def _has_ended(pid: int) -> bool:
    """Tell whether a child of ours has ended, without reaping it."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
