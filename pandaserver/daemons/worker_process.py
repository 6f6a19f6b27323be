"""A worker as the master sees it: its process, its socket, and what it is doing until when."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import NoReturn

from pandaserver.config.values import DaemonSpec
from pandaserver.daemons.process_tree import die_with
from pandaserver.daemons.protocol import LineReader, Order, send_line

NEVER = float("inf")
START_LIMIT = 60.0  # seconds for a new worker to reach the database
LEAVE_LIMIT = 5.0  # seconds for an idle worker to end

#: What the child does instead of returning: it is given its end of the socket pair and returns an exit code.
Life = Callable[[socket.socket], int]


class Phase(Enum):
    """What a worker is doing."""

    starting = "starting"
    idle = "idle"
    busy = "busy"
    leaving = "leaving"


@dataclass(slots=True, eq=False)
class WorkerProcess:
    """``deadline`` ends the present phase by force, ``expires`` ends the worker between two scripts."""

    pid: int
    sock: socket.socket
    expires: float
    deadline: float
    lease_end: float = NEVER  # when a run without renewed lease has to be ended, as another machine may begin one
    phase: Phase = Phase.starting
    spec: DaemonSpec | None = None
    started: float = 0.0
    runs: int = 0
    reader: LineReader = field(init=False)

    def __post_init__(self) -> None:
        self.reader = LineReader(self.sock)

    def becomes_idle(self) -> None:
        """Note that the worker waits for an order."""
        self.phase, self.spec, self.deadline, self.lease_end = Phase.idle, None, NEVER, NEVER

    def run(self, spec: DaemonSpec, now: float) -> None:
        """Order a run. Raises OSError if the worker is gone."""
        self.phase, self.spec, self.started, self.deadline = Phase.busy, spec, now, now + spec.timeout
        self.runs += 1
        send_line(self.sock, Order.run, spec.name)

    def leave(self, now: float) -> None:
        """Order an idle or starting worker to end."""
        self.phase, self.deadline = Phase.leaving, now + LEAVE_LIMIT
        with contextlib.suppress(OSError):  # it has ended already, which the master is about to hear
            send_line(self.sock, Order.stop)

    def leave_after_run(self, deadline: float) -> None:
        """Order a busy worker to end after its script, at ``deadline`` by force; a looping script is not repeated."""
        self.deadline = min(self.deadline, deadline)
        with contextlib.suppress(OSError):
            send_line(self.sock, Order.stop)


def fork_worker(life: Life, forget: Callable[[], None], now: float, expires: float) -> WorkerProcess:
    """Start a worker in a process group of its own; ``forget`` closes there what belongs to the master."""
    ours, theirs = socket.socketpair()
    master = os.getpid()
    # A signal between the fork and the new handlers would be written to the wake-up socket, which is the master's.
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    pid = os.fork()
    if pid == 0:
        _live_and_exit(life, forget, master, ours, theirs, blocked)
    signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    theirs.close()
    ours.setblocking(False)
    return WorkerProcess(pid, ours, expires, now + START_LIMIT)


def _live_and_exit(
    life: Life,
    forget: Callable[[], None],
    master: int,
    ours: socket.socket,
    theirs: socket.socket,
    blocked: set[int | signal.Signals],
) -> NoReturn:
    code = 1
    try:
        die_with(master)
        os.setpgid(0, 0)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD, signal.SIGUSR1):
            signal.signal(number, signal.SIG_DFL)
        ours.close()
        forget()
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        code = life(theirs)
    except BaseException:  # noqa: BLE001 - nothing may return into the copy of the master's loop
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # without the exit handlers of the master, of which this is a copy
