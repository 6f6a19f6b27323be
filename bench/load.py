"""The load generator: many keep-alive connections in one thread, each asking its next question when it has its answer.

Run as a program of its own (see helper.py), so that its CPU time is not the server's, and spends little of it: requests
are bytes before the start, and a reply is searched for its length and its first words.
"""

from __future__ import annotations

import re
import select
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from bench.conversations import CONVERSATIONS, Conversation, Refused, Unit
from bench.durations import summary
from bench.helper import serve

_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_LAST: Final = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)
_CHUNK: Final = 1 << 18
#: Seconds without any reply after which the server counts as stuck.
_SILENCE: Final = 90.0


class Stuck(Exception):
    """The server does not answer, or not in HTTP as we read it."""


class Connection:
    """One connection and the conversation on it."""

    def __init__(self, address: tuple[str, int], conversation: Conversation, poll: select.epoll) -> None:
        self._address = address
        self._conversation = conversation
        self._poll = poll
        self._unit: Unit | None = None
        self._rest = memoryview(b"")
        self._received = bytearray()
        self._is_last = self._awaits_room = self._has_answered = False
        self._request = b""
        self._asked = self._began = 0.0
        self._steps: list[float] = []
        self._open()

    def begin(self, tally: Tally) -> bool:
        """Start the next unit; False when there is none, or no more time."""
        unit = next(self._conversation, None) if tally.may_begin() else None
        if unit is None:
            self._sock.close()
            return False
        self._unit = unit
        self._steps.clear()
        self._began = time.perf_counter()
        self._ask(next(unit))
        return True

    def handle(self, events: int, tally: Tally) -> bool:
        """Go on with sending or receiving; False when the conversation is over."""
        if events & select.EPOLLOUT:
            self._send()
        if not events & ~select.EPOLLOUT:
            return True
        try:
            data = self._sock.recv(_CHUNK)
        except BlockingIOError:
            return True
        except ConnectionResetError:
            data = b""
        if not data:
            self._ask_again()
            return True
        self._received += data
        reply = self._complete_reply()
        return reply is None or self._go_on(*reply, tally)

    @property
    def descriptor(self) -> int:
        """What epoll calls it; changes when the server has had enough of a connection."""
        return self._sock.fileno()

    def _go_on(self, status: bytes, body: bytes, tally: Tally) -> bool:
        now = time.perf_counter()
        self._steps.append(now - self._asked)
        assert self._unit is not None
        try:
            if status != b"200":
                raise Refused(f"HTTP {status.decode()} {body[:80]!r}")
            request = self._unit.send(body)
        except StopIteration:
            tally.add(now - self._began, self._steps)
            return self.begin(tally)
        except Refused as refused:
            tally.errors[str(refused)] += 1
            return self.begin(tally)
        self._ask(request)
        return True

    def _open(self) -> None:
        self._sock = socket.create_connection(self._address, timeout=_SILENCE)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock.setblocking(False)
        self._poll.register(self._sock, select.EPOLLIN)
        self._is_last = self._awaits_room = self._has_answered = False

    def _ask(self, request: bytes) -> None:
        if self._is_last:
            self._sock.close()
            self._open()
        self._request = request
        self._received.clear()
        self._rest = memoryview(request)
        self._asked = time.perf_counter()
        self._send()

    def _ask_again(self) -> None:
        """Ask on a new connection: a busy Apache closes idle ones without a word, and clients have to expect that."""
        if self._received or not self._has_answered:
            raise Stuck(f"the server closed a connection after {bytes(self._received[:200])!r}")
        self._sock.close()
        self._open()
        self._rest = memoryview(self._request)
        self._send()

    def _send(self) -> None:
        try:
            while self._rest:
                self._rest = self._rest[self._sock.send(self._rest) :]
        except (BrokenPipeError, ConnectionResetError):
            self._ask_again()
            return
        except BlockingIOError:
            self._awaits_room = True
            self._poll.modify(self._sock, select.EPOLLIN | select.EPOLLOUT)
            return
        if self._awaits_room:
            self._awaits_room = False
            self._poll.modify(self._sock, select.EPOLLIN)

    def _complete_reply(self) -> tuple[bytes, bytes] | None:
        """Return status and body once all of the reply is here."""
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return None
        head = bytes(self._received[: end + 2])
        length = _LENGTH.search(head)
        if length is None:
            raise Stuck(f"a reply without a length: {head!r}")
        if len(self._received) < end + 4 + int(length[1]):
            return None
        self._is_last = _LAST.search(head) is not None
        self._has_answered = True
        return head[9:12], bytes(self._received[end + 4 :])


class Tally:
    """What has been measured so far, and whether to go on."""

    def __init__(self, seconds: float, most: int) -> None:
        self._until = time.perf_counter() + seconds
        self._left = most
        self.durations: list[float] = []
        self.steps: list[list[float]] = []
        self.errors: Counter[str] = Counter()

    def may_begin(self) -> bool:
        """Count one more unit, if there is time for it and not enough of them."""
        if self._left <= 0 or time.perf_counter() > self._until:
            return False
        self._left -= 1
        return True

    def add(self, duration: float, steps: list[float]) -> None:
        """Note a unit that went well."""
        self.durations.append(duration)
        for number, step in enumerate(steps):
            if number == len(self.steps):
                self.steps.append([])
            self.steps[number].append(step)


def prepare(task: Mapping[str, Any]) -> Callable[[], Mapping[str, Any]]:
    """Make all requests of a task; the result sends them."""
    count, address = task["connections"], ("127.0.0.1", task["port"])
    make = CONVERSATIONS[task["conversation"]]
    conversations = [make(task["arguments"], number, count) for number in range(count)]

    def run() -> Mapping[str, Any]:
        return converse(address, conversations, task["seconds"], task["most"])

    return run


def converse(
    address: tuple[str, int], conversations: list[Iterator[Unit]], seconds: float, most: int
) -> Mapping[str, Any]:
    """Hold all conversations side by side for a while and return what was measured."""
    poll = select.epoll()
    connections = [Connection(address, conversation, poll) for conversation in conversations]
    cpu, started = time.process_time(), time.perf_counter()
    tally = Tally(seconds, most)
    talking = {c.descriptor: c for c in connections if c.begin(tally)}
    while talking:
        ready = poll.poll(_SILENCE)
        if not ready:
            raise Stuck(f"no reply for {_SILENCE:.0f} s on {len(talking)} connections")
        for descriptor, events in ready:
            connection = talking.pop(descriptor)
            if connection.handle(events, tally):
                talking[connection.descriptor] = connection
    elapsed = time.perf_counter() - started
    requests = sum(map(len, tally.steps)) + tally.errors.total()
    return {
        **summary(tally.durations, elapsed),
        "steps": [summary(step, elapsed) for step in tally.steps],
        "requests": requests,
        "client_ms": (time.process_time() - cpu) * 1000 / max(requests, 1),
        "errors": dict(tally.errors),
    }


if __name__ == "__main__":
    serve(prepare)
