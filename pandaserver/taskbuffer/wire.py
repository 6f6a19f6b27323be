"""Frames with deadlines over a socket.

A frame is a header (call number, length) and a protocol-5 pickle. Both ends are this program, connected by a socket
pair that nobody else can reach, which is why pickles may be read here.
"""

from __future__ import annotations

import io
import pickle
import socket
import struct
from time import monotonic
from typing import Any

HEADER = struct.Struct("!QI")  # call number, length of the pickle
MAX_FRAME = 256 * 1024 * 1024  # bytes of one pickle; also keeps a corrupt header from allocating gigabytes


class FrameTooLarge(ValueError):
    """The value cannot travel; nothing was sent."""


class PeerLost(ConnectionError):
    """The other end closed the socket or spoke something else than frames."""


def encode(number: int, value: object) -> memoryview:
    """Return the frame that carries ``value``. Raises what pickle raises, so before anything is sent."""
    buffer = io.BytesIO()
    buffer.write(bytes(HEADER.size))
    pickle.Pickler(buffer, protocol=5).dump(value)
    frame = buffer.getbuffer()
    length = len(frame) - HEADER.size
    if length > MAX_FRAME:
        raise FrameTooLarge(f"a frame of {length} bytes is larger than {MAX_FRAME}")
    HEADER.pack_into(frame, 0, number, length)
    return frame


def decode(payload: bytes | bytearray | memoryview) -> Any:
    """Return the value that a frame carried."""
    return pickle.loads(payload)  # noqa: S301 - from our own other half, see above


def send(sock: socket.socket, frame: memoryview, deadline: float | None) -> None:
    """Write a frame. Raises TimeoutError at the deadline and PeerLost; either way the peer has no complete frame."""
    sent = 0
    while sent < len(frame):
        sock.settimeout(_remaining(deadline))
        try:
            sent += sock.send(frame[sent:])
        except ConnectionError as error:
            raise PeerLost(f"after {sent} of {len(frame)} bytes: {error}") from error


def receive(sock: socket.socket, deadline: float | None) -> tuple[int, bytearray]:
    """Read a frame and return its call number and pickle. Raises TimeoutError at the deadline and PeerLost."""
    number, length = HEADER.unpack(_read(sock, HEADER.size, deadline))
    if length > MAX_FRAME:
        raise PeerLost(f"announced a frame of {length} bytes, larger than {MAX_FRAME}")
    return number, _read(sock, length, deadline)


def _read(sock: socket.socket, length: int, deadline: float | None) -> bytearray:
    data = bytearray(length)
    rest = memoryview(data)
    while rest:
        sock.settimeout(_remaining(deadline))
        try:
            count = sock.recv_into(rest)
        except ConnectionError as error:
            raise PeerLost(str(error)) from error
        if count == 0:
            raise PeerLost(f"closed the connection with {len(rest)} of {length} bytes to come")
        rest = rest[count:]
    return data


def _remaining(deadline: float | None) -> float | None:
    if deadline is None:
        return None
    seconds = deadline - monotonic()
    if seconds <= 0:
        raise TimeoutError("the deadline has passed")
    return seconds
