"""The TCP proxy of the tests does to a connection what it says."""

from __future__ import annotations

import contextlib
import random
import socket
import socketserver
import threading
from collections.abc import Iterator
from time import monotonic, sleep

import pytest

from pandaserver.testing.tcp_proxy import TcpProxy


class Echo(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):
            self.echo()

    def echo(self) -> None:
        for line in self.rfile:
            self.wfile.write(line)
        self.wfile.write(b"bye\n")


@pytest.fixture
def proxy() -> Iterator[TcpProxy]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        with TcpProxy("127.0.0.1", server.server_address[1]) as made:
            yield made
        server.shutdown()
        thread.join()


def connected(proxy: TcpProxy) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", proxy.port), timeout=5)
    client.sendall(b"hello\n")
    assert client.recv(100) == b"hello\n"
    return client


def test_what_both_sides_say_arrives_also_after_one_has_finished(proxy: TcpProxy) -> None:
    with connected(proxy) as client:
        client.shutdown(socket.SHUT_WR)
        assert client.recv(100) == b"bye\n"
        assert client.recv(100) == b""


def test_a_closed_connection_is_forgotten(proxy: TcpProxy) -> None:
    connected(proxy).close()
    deadline = monotonic() + 5
    while proxy.connections:
        assert monotonic() < deadline
        sleep(0.01)


def test_a_stalled_line_holds_everything_back_until_it_is_restored(proxy: TcpProxy) -> None:
    with connected(proxy) as client:
        proxy.stall()
        client.sendall(b"later\n")
        client.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.recv(100)
        proxy.restore()
        client.settimeout(5)
        assert client.recv(100) == b"later\n"


@pytest.mark.parametrize("first", ["flowing", "stalled"])
def test_a_cut_breaks_connections_and_refuses_others(proxy: TcpProxy, first: str) -> None:
    with connected(proxy) as client:
        if first == "stalled":
            proxy.stall()
            client.sendall(b"lost\n")
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            client.recv(100)
    with pytest.raises(ConnectionRefusedError):
        connected(proxy)


def test_a_cut_line_is_restored_at_its_port(proxy: TcpProxy) -> None:
    port = proxy.port
    proxy.cut()
    proxy.restore()
    assert proxy.port == port
    connected(proxy).close()


def test_lost_replies_end_within_the_bytes_named_and_others_flow(proxy: TcpProxy) -> None:
    def ask() -> bytes:
        reply = b""
        with (
            socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as line,
            contextlib.suppress(ConnectionError),
        ):
            line.sendall(b"0123456789\n")
            while piece := line.recv(100):
                reply += piece
                if reply.endswith(b"\n"):
                    return reply
        return reply

    proxy.lose_replies(1.0, 5, random.Random(1))
    assert all(len(ask()) < 5 for _ in range(20))
    assert proxy.lost == 20
    proxy.restore()
    assert ask() == b"0123456789\n"
