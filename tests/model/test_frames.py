"""Whatever the values and wherever the stream is cut, frames arrive whole, in order, or not at all."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from time import monotonic

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pandaserver.taskbuffer import wire

plain = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary() | st.datetimes()
)
values = st.recursive(
    plain, lambda inner: st.lists(inner) | st.tuples(inner) | st.dictionaries(st.text(), inner), max_leaves=20
)
numbers = st.integers(min_value=0, max_value=2**64 - 1)
frames = st.lists(st.tuples(numbers, values), min_size=1, max_size=5)


def send_in_pieces(sock: socket.socket, stream: bytes, cuts: list[int]) -> None:
    at = 0
    for cut in cycle(cuts):
        if at >= len(stream):
            return
        at += sock.send(stream[at : at + cut])


@settings(deadline=None)  # a loaded machine may take long
@given(sent=frames, cuts=st.lists(st.integers(min_value=1, max_value=50), min_size=1))
def test_frames_arrive_however_the_stream_is_cut(sent: list[tuple[int, object]], cuts: list[int]) -> None:
    stream = b"".join(wire.encode(number, value) for number, value in sent)
    ours, theirs = socket.socketpair()
    with ours, theirs, ThreadPoolExecutor(1) as thread:
        sending = thread.submit(send_in_pieces, ours, stream, cuts)  # one byte a piece fills a socket's buffer soon
        arrived = []
        for _ in sent:
            number, payload = wire.receive(theirs, monotonic() + 10)
            arrived.append((number, wire.decode(payload)))
        sending.result()
    assert arrived == sent


@settings(deadline=None)
@given(value=values, data=st.data())
def test_a_truncated_frame_never_becomes_a_value(value: object, data: st.DataObject) -> None:
    frame = wire.encode(1, value)
    length = data.draw(st.integers(min_value=0, max_value=len(frame) - 1))
    ours, theirs = socket.socketpair()
    with theirs:
        with ours:
            ours.sendall(frame[:length])
        with pytest.raises(wire.PeerLost):
            wire.receive(theirs, monotonic() + 5)
