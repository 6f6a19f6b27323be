"""One connection to a message broker that speaks STOMP. A message counts as sent when the broker has said so."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from time import monotonic
from typing import Any, Final, Self

from pandaserver.dataservice.broker_config import BrokerServer
from pandaserver.srvcore.errors import ExternalError
from pandaserver.taskbuffer.messages import OutgoingMessage

#: Seconds for a connection, and for the receipts of one batch.
TIMEOUT: Final = 20.0

HEADERS: Final = {"persistent": "true", "content-type": "application/json"}


class StompBroker:
    """Sends messages and waits for receipts. A context manager; connects when the first message goes out."""

    def __init__(self, server: BrokerServer, timeout: float = TIMEOUT) -> None:
        self._server = server
        self._timeout = timeout
        self._connection: Any = None
        self._answers = _Answers()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._drop()

    def send(self, messages: Sequence[OutgoingMessage], destinations: Mapping[str, str]) -> set[int]:
        """Send messages, each to the destination of its topic, and return those that the broker took.

        Raises ExternalError when there is no connection, and so nothing was sent.
        """
        connection = self._connected()
        answers = self._answers
        try:
            for message in messages:
                connection.send(
                    destinations[message.topic],
                    message.payload,
                    headers={**HEADERS, "receipt": str(message.id), "panda-message-id": str(message.id)},
                )
        except Exception as error:  # noqa: BLE001 - whatever the library raises, the receipts tell what arrived
            answers.fail(repr(error))
        taken = answers.wait_for({str(message.id) for message in messages}, monotonic() + self._timeout)
        if len(taken) < len(messages):
            self._drop()  # after a refusal a broker closes the connection, and a silent one is of no use
        return {int(receipt) for receipt in taken}

    def _connected(self) -> Any:
        if self._connection is not None and self._connection.is_connected():
            return self._connection
        self._drop()
        try:
            import stomp  # an extra: only machines that send messages have it
        except ImportError as error:
            raise ExternalError("stomp.py is not installed: pip install panda-server[messaging]") from error
        server = self._server
        addresses = list(server.addresses)
        connection = stomp.StompConnection12(
            addresses, vhost=server.vhost, reconnect_attempts_max=1, timeout=self._timeout, try_loopback_connect=False
        )
        if server.use_ssl:
            connection.set_ssl(addresses, server.key_file, server.cert_file, server.ca_certs)
        self._answers = answers = _Answers()
        connection.set_listener("answers", answers)
        try:
            connection.connect(server.username, server.passcode.reveal() or None, wait=False)
            answers.wait_until_connected(monotonic() + self._timeout)
        except Exception as error:
            connection.transport.disconnect_socket()
            raise ExternalError(f"no connection to broker {server.name}: {answers.problem or repr(error)}") from error
        self._connection = connection
        return connection

    def _drop(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            with suppress(Exception):  # who cannot be reached needs no goodbye
                if connection.is_connected():
                    connection.disconnect()
            connection.transport.disconnect_socket()

    @property
    def problem(self) -> str:
        """What the broker said last about a failure."""
        return self._answers.problem


class _Answers:
    """What the library's thread hears from the broker. Methods that the library looks for and we lack do nothing."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._receipts: set[str] = set()
        self._connected = False
        self.problem = ""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("on_"):
            return lambda *_, **__: None
        raise AttributeError(name)

    def on_connected(self, _frame: Any) -> None:
        with self._changed:
            self._connected = True
            self._changed.notify_all()

    def on_receipt(self, frame: Any) -> None:
        with self._changed:
            self._receipts.add(str(frame.headers.get("receipt-id")))
            self._changed.notify_all()

    def on_error(self, frame: Any) -> None:
        self.fail(f"{frame.headers.get('message', '')} {frame.body or ''}".strip()[:500] or "error frame")

    def on_disconnected(self) -> None:
        self.fail(self.problem or "disconnected")

    def fail(self, problem: str) -> None:
        with self._changed:
            self.problem = problem
            self._changed.notify_all()

    def wait_until_connected(self, deadline: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._connected or self.problem, deadline - monotonic())
            if not self._connected:
                raise ExternalError(self.problem or "the broker does not answer")

    def wait_for(self, receipts: set[str], deadline: float) -> set[str]:
        with self._changed:
            self._changed.wait_for(lambda: receipts <= self._receipts or self.problem, deadline - monotonic())
            return receipts & self._receipts
