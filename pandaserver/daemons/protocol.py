"""What master and worker tell each other over their socket pair: one JSON array a line."""

from __future__ import annotations

import json
import socket
from enum import StrEnum
from typing import Any


class Order(StrEnum):
    """From the master."""

    run = "run"  # name of the script
    stop = "stop"


class Report(StrEnum):
    """From the worker."""

    ready = "ready"
    unusable = "unusable"  # why no worker can ever be ready, such as an old database schema
    held_until = "held_until"  # instant of the monotonic clock by which a `sync` script has lost its lease
    ended = "ended"  # outcome, seconds, seconds to wait if skipped, memory in MB


class Outcome(StrEnum):
    """How a run ended."""

    done = "done"
    failed = "failed"
    skipped = "skipped"  # it runs or ran on another machine


def send_line(sock: socket.socket, *message: Any) -> None:
    """Write a message. A line is far smaller than the socket's buffer, so this does not block."""
    sock.sendall(json.dumps(message).encode() + b"\n")


class LineReader:
    """Collects messages from a socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._data = b""

    def read(self) -> list[Any] | None:
        """Wait for data (unless the socket does not block) and return the complete messages, None at end of file."""
        try:
            chunk = self._sock.recv(65536)
        except BlockingIOError:
            return []
        except ConnectionError:
            return None
        if not chunk:
            return None
        *lines, self._data = (self._data + chunk).split(b"\n")
        return [json.loads(line) for line in lines]
