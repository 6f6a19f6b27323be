"""One database child as its parent sees it: started by exec, asked over a socket, dismissed or killed."""

from __future__ import annotations

import select
import socket
import subprocess
from time import monotonic
from typing import Any

from pandaserver.srvcore.child_process import command_of, environment
from pandaserver.taskbuffer import wire
from pandaserver.taskbuffer.bridge import ChildSettings

START_LIMIT = 30.0  # seconds that a child may take to import its modules
PARTING_LIMIT = 1.0  # seconds that a child may take to end


class NotStarted(Exception):
    """The child did not come up; ``final`` tells a failed start from one that only needs more time."""

    def __init__(self, reason: str, final: bool) -> None:
        super().__init__(reason)
        self.final = final


class CallLost(Exception):
    """No reply will come. ``sent`` tells whether the child may have executed the call."""

    def __init__(self, reason: str, *, sent: bool, timed_out: bool) -> None:
        super().__init__(reason)
        self.sent = sent
        self.timed_out = timed_out


class Child:
    """A running child. After a final NotStarted, or while it ``owes_reply``, the only thing left is :meth:`kill`."""

    def __init__(self, settings: ChildSettings) -> None:
        self.born = monotonic()
        self.transactions = 0  # as of its last reply
        self.owes_reply = False  # once true after an exception, a late reply would be taken for that of the next call
        self._ready = False
        self._number = 0
        self._sock, theirs = socket.socketpair()
        with theirs:
            try:
                self._process = _spawn(theirs)
            except OSError as error:
                self._sock.close()
                raise NotStarted(f"no database child could be started: {error}", final=True) from error
        try:
            wire.send(self._sock, wire.encode(0, settings), self.born + PARTING_LIMIT)
        except (wire.PeerLost, TimeoutError) as error:
            self.kill()
            raise NotStarted(f"the database child ended while starting: {error}", final=True) from error

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def has_ended(self) -> bool:
        """Tell whether the process is gone."""
        return self._process.poll() is not None

    def wait_ready(self, deadline: float) -> None:
        """Return when the child can be asked; a child still starting at the deadline may be waited for again."""
        if self._ready:
            return
        patience = self.born + START_LIMIT
        if not self._is_readable_by(min(deadline, patience)):
            raise NotStarted("the database child is still starting", final=monotonic() >= patience)
        try:
            _, payload = wire.receive(self._sock, patience)  # one small frame, written at once
        except (wire.PeerLost, TimeoutError) as error:
            raise NotStarted(f"the database child ended while starting: {error}", final=True) from error
        outcome = wire.decode(payload)
        if outcome[0] != "ok":
            raise NotStarted(f"the database child could not start: {outcome[2]}", final=True)
        self._ready = True

    def ask(self, request: tuple[Any, ...], deadline: float) -> Any:
        """Send a request and return the reply. An unpicklable or too large request is refused before it is sent."""
        self._number += 1
        frame = wire.encode(self._number, request)
        sent = False
        self.owes_reply = True
        try:
            wire.send(self._sock, frame, deadline)
            sent = True
            number, payload = wire.receive(self._sock, deadline)
        except TimeoutError as error:
            raise CallLost("the deadline passed", sent=sent, timed_out=True) from error
        except wire.PeerLost as error:
            raise CallLost(f"the database child was lost: {error}", sent=sent, timed_out=False) from error
        if number != self._number:
            raise CallLost(f"call {self._number} got the reply to call {number}", sent=True, timed_out=False)
        self.owes_reply = False
        return wire.decode(payload)

    def dismiss(self) -> None:
        """Let the child close its connection and end; kill it if it takes long."""
        try:
            wire.send(self._sock, wire.encode(0, None), monotonic() + PARTING_LIMIT)
            self._process.wait(PARTING_LIMIT)
        except (wire.PeerLost, TimeoutError, subprocess.TimeoutExpired):
            pass  # it is killed next, which is all that a polite child would have wanted
        self.kill()

    def kill(self) -> None:
        """End the child at once and reap it. One stuck in the kernel is left to subprocess, which reaps it later."""
        self._sock.close()
        self._process.kill()
        try:
            self._process.wait(PARTING_LIMIT)
        except subprocess.TimeoutExpired:
            return

    def _is_readable_by(self, deadline: float) -> bool:
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        return bool(poll.poll(max(0.0, deadline - monotonic()) * 1000))


def _spawn(theirs: socket.socket) -> subprocess.Popen[bytes]:
    # A session of its own keeps a terminal's Ctrl-C away: the child ends with its parent, after the call in progress.
    fd = theirs.fileno()
    return subprocess.Popen(
        command_of("pandaserver.taskbuffer.dbchild", str(fd)),
        pass_fds=[fd],
        stdin=subprocess.DEVNULL,
        env=environment(),
        start_new_session=True,
    )
