"""Pilots who send the body of a request when the test says so."""

from __future__ import annotations

import socket
from typing import Final
from urllib.parse import urlencode

from pandaserver.testing.development_issuer import VO
from tests.chaos.web_rig import Rig

FORM: Final = urlencode({"siteName": "TEST_PQ", "prodSourceLabel": "user", "node": "n"}).encode()
#: Bytes that come at once.
BEGINNING: Final = 5
NO_JOBS: Final = b"StatusCode=20"


def begun(rig: Rig, body: bytes = FORM) -> socket.socket:
    """Send a pilot's request up to the middle of its body."""
    connection = socket.create_connection(("localhost", rig.options.port), timeout=60)
    head = [
        "POST /server/panda/getJob HTTP/1.1",
        "Host: localhost",
        f"Authorization: Bearer {rig.token('Robot Pilot', f'{VO}/pilot')}",
        f"Origin: {VO}.pilot",
        "Content-Type: application/x-www-form-urlencoded",
        f"Content-Length: {len(body)}",
        "Connection: close",
    ]
    connection.sendall("\r\n".join([*head, "", ""]).encode() + body[:BEGINNING])
    return connection


def is_waiting(connection: socket.socket) -> bool:
    """Tell whether the server has neither answered nor hung up."""
    connection.setblocking(False)
    try:
        connection.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    finally:
        connection.settimeout(60)
    return False


def reply(connection: socket.socket) -> bytes:
    """Return everything that comes."""
    return b"".join(iter(lambda: connection.recv(65536), b""))
