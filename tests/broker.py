"""A real message broker in a process of its own, and a subscriber to it."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import stomp


@dataclass
class BrokerProcess:
    """coilmq, listening on a port of its own choice of which it is told."""

    port: int = 0
    process: subprocess.Popen[bytes] | None = None
    received: list[Any] = field(default_factory=list)

    def start(self) -> None:
        if not self.port:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                self.port = probe.getsockname()[1]
        command = [sys.executable, "-c", "from coilmq.start import main; main()", "--port", str(self.port)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while True:
            with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", self.port), 5):
                return
            assert time.monotonic() < deadline, "the broker does not listen"
            time.sleep(0.05)

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None

    @contextmanager
    def messages(self, destination: str) -> Iterator[list[Any]]:
        """Subscribe; yields the list that the arriving frames are put in."""
        frames: list[Any] = []

        class Listener(stomp.ConnectionListener):  # type: ignore[misc]
            def on_message(self, frame: Any) -> None:
                frames.append(frame)

        connection = stomp.StompConnection12([("127.0.0.1", self.port)], vhost="localhost")
        connection.set_listener("", Listener())
        connection.connect(wait=True)
        connection.subscribe(destination, id="1", ack="auto", receipt="subscribed")
        try:
            yield frames
        finally:
            connection.disconnect()


def wait_until(condition: Any, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
