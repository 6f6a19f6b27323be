"""Frames keep their deadline and say what arrived."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from time import monotonic

import pytest

from pandaserver.taskbuffer import wire

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def soon() -> float:
    return monotonic() + 5


def test_a_value_arrives_with_its_call_number(pair: Pair) -> None:
    wire.send(pair[0], wire.encode(7, {"PandaID": [1, None]}), soon())
    number, payload = wire.receive(pair[1], soon())
    assert (number, wire.decode(payload)) == (7, {"PandaID": [1, None]})


def test_a_frame_larger_than_the_socket_buffer_arrives(pair: Pair) -> None:
    value = b"x" * 8_000_000
    sender = threading.Thread(target=wire.send, args=(pair[0], wire.encode(1, value), soon()))
    sender.start()
    _, payload = wire.receive(pair[1], soon())
    sender.join()
    assert wire.decode(payload) == value


def test_reading_from_a_silent_peer_ends_at_the_deadline(pair: Pair) -> None:
    started = monotonic()
    with pytest.raises(TimeoutError):
        wire.receive(pair[1], started + 0.1)
    assert 0.1 <= monotonic() - started < 0.5


def test_a_peer_that_sends_drop_by_drop_does_not_extend_the_deadline(pair: Pair) -> None:
    frame = wire.encode(1, b"x" * 1000)
    stop = threading.Event()

    def drip() -> None:
        for byte in frame:
            if stop.wait(0.01):
                return
            pair[0].send(bytes([byte]))

    dripping = threading.Thread(target=drip)
    dripping.start()
    started = monotonic()
    with pytest.raises(TimeoutError):
        wire.receive(pair[1], started + 0.2)
    elapsed = monotonic() - started
    stop.set()
    dripping.join()
    assert elapsed < 0.6


def test_writing_to_a_peer_that_does_not_read_ends_at_the_deadline(pair: Pair) -> None:
    frame = wire.encode(1, b"x" * 8_000_000)
    started = monotonic()
    with pytest.raises(TimeoutError):
        wire.send(pair[0], frame, started + 0.1)
    assert 0.1 <= monotonic() - started < 0.5


def test_a_deadline_in_the_past_sends_nothing(pair: Pair) -> None:
    with pytest.raises(TimeoutError):
        wire.send(pair[0], wire.encode(1, "late"), monotonic() - 1)
    pair[1].setblocking(False)
    with pytest.raises(BlockingIOError):
        pair[1].recv(1)


def test_a_peer_that_closes_in_the_middle_of_a_frame_is_lost(pair: Pair) -> None:
    pair[0].sendall(wire.encode(1, "never complete")[:-1])
    pair[0].close()
    with pytest.raises(wire.PeerLost, match="1 of"):
        wire.receive(pair[1], soon())


def test_writing_to_a_closed_peer_is_a_lost_peer(pair: Pair) -> None:
    pair[1].close()
    with pytest.raises(wire.PeerLost):
        wire.send(pair[0], wire.encode(1, "anyone?"), soon())


def test_a_corrupt_length_allocates_nothing(pair: Pair) -> None:
    pair[0].sendall(wire.HEADER.pack(1, wire.MAX_FRAME + 1))
    with pytest.raises(wire.PeerLost, match="announced"):
        wire.receive(pair[1], soon())


def test_a_value_larger_than_a_frame_is_refused_before_sending(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MAX_FRAME", 1000)
    with pytest.raises(wire.FrameTooLarge):
        wire.encode(1, b"x" * 1000)
