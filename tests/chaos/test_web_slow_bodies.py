"""Senders who are slow with the body of their request do not keep others waiting."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.chaos.slow_sender import BEGINNING, FORM, NO_JOBS, begun, is_waiting, reply
from tests.chaos.web_rig import Rig, directory

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

_SENDERS = 12  # several for each WSGI process


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with directory() as path, Rig(path / "var", "sqlite", daemon=False) as made:
        yield made


def test_others_are_served_while_bodies_come_slowly(rig: Rig) -> None:
    assert rig.ask("isAlive").text == "alive=yes"
    with ExitStack() as stack:
        senders = [stack.enter_context(begun(rig)) for _ in range(_SENDERS)]
        for _ in range(_SENDERS):
            assert rig.ask("isAlive").text == "alive=yes"
        assert all(map(is_waiting, senders)), "nobody gave up"
        for sender in senders:
            sender.sendall(FORM[BEGINNING:])
        replies = [reply(sender) for sender in senders]
        assert [text for text in replies if NO_JOBS not in text] == []


@pytest.mark.parametrize("size", [1, 65536, 65537, 1048576, 1048577, 3000000])
def test_a_body_arrives_as_it_was_sent(rig: Rig, size: int) -> None:
    """Around the size of a piece, and of what is read ahead; without its end the request has no site."""
    body = b"padding=" + b"x" * size + b"&" + FORM
    with begun(rig, body) as sender:
        sender.sendall(body[BEGINNING:])
        assert NO_JOBS in (text := reply(sender)), text[:500]


def test_who_never_sends_the_body_is_told_so(rig: Rig) -> None:
    with begun(rig) as sender:
        sender.shutdown(socket.SHUT_WR)
        assert reply(sender).startswith(b"HTTP/1.1 400 ")
