"""A TCP proxy that can stall, be cut and be restored: what a network does to a database connection."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Final

_PIECE: Final = 65536
_BACKLOG: Final = 64
#: Closing with this option tells the other side at once that the connection is broken (RST).
_BREAK: Final = struct.pack("ii", 1, 0)


class TcpProxy:
    """Passes bytes between a port of this machine and a server, as long as the line is neither stalled nor cut."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._reservation = _bound(0)  # never listens, so it keeps our port and refuses connections while we are cut
        self._listener: socket.socket | None = None
        self._flowing = threading.Event()
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._replies_left: int | None = None
        self._loss: Callable[[], int | None] | None = None  # bytes of the next connection's reply; None: all of them
        self.lost = 0  # connections whose replies were broken off
        self.port: int = self._reservation.getsockname()[1]
        self.restore()

    def __enter__(self) -> TcpProxy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def connections(self) -> int:
        """How many connections are open."""
        with self._lock:
            return len(self._open) // 2

    def stall(self) -> None:
        """Hold every byte back, and the news that a side has closed: nobody is told that something is wrong."""
        self._flowing.clear()

    def cut(self) -> None:
        """Break all connections and refuse new ones; the port stays ours."""
        with self._lock:
            listener, self._listener = self._listener, None
            broken, self._open = self._open, set()
        if listener is not None:
            listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
            listener.close()
        for one in broken:
            _break(one)
        self._flowing.set()

    def cut_after(self, replies: int) -> None:
        """Cut the line when the server has said that many things, counted from now, and says another."""
        self._replies_left = replies

    def lose_replies(self, chance: float, within: int, rng: random.Random) -> None:
        """Break a part of the connections that come from now on, each somewhere in its first ``within`` reply bytes.

        The server's bytes up to there arrive, and the request was complete: the client cannot know what came of it.
        """
        self._loss = lambda: rng.randrange(within) if rng.random() < chance else None

    def restore(self) -> None:
        """Let bytes flow and connections come."""
        self._replies_left = None
        self._loss = None
        self._flowing.set()
        if self._listener is None:
            self._listener = _bound(self.port)
            self._listener.listen(_BACKLOG)
            threading.Thread(target=self._accept, args=(self._listener,), name="tcp proxy", daemon=True).start()

    def close(self) -> None:
        """Break all connections and give the port back."""
        self.cut()
        self._reservation.close()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return  # cut
            try:
                server = socket.create_connection(self._target)
            except OSError:
                _break(client)
                continue
            with self._lock:
                if self._listener is not listener:  # cut in the meantime
                    _break(client)
                    _break(server)
                    return
                self._open |= {client, server}
            threading.Thread(target=self._serve, args=(client, server), daemon=True).start()

    def _serve(self, client: socket.socket, server: socket.socket) -> None:
        """Carry bytes both ways until both sides have closed, or one is broken."""
        replies = threading.Thread(target=self._pass_on, args=(server, client, True), daemon=True)
        replies.start()
        self._pass_on(client, server)
        replies.join()
        with self._lock:
            self._open -= {client, server}
        _break(client)
        _break(server)

    def _pass_on(self, source: socket.socket, sink: socket.socket, is_reply: bool = False) -> None:
        left = self._loss() if is_reply and self._loss else None
        try:
            while data := source.recv(_PIECE):
                self._flowing.wait()
                if is_reply and self._was_last():
                    self.cut()
                if left is not None and len(data) > left:
                    sink.sendall(data[:left])
                    self.lost += 1
                    raise ConnectionAbortedError("the reply ends here")
                left = None if left is None else left - len(data)
                sink.sendall(data)
            self._flowing.wait()
            with self._lock:
                if sink in self._open:  # else cut: nobody shall hear of an orderly end
                    sink.shutdown(socket.SHUT_WR)
        except OSError:  # broken by a side, or cut
            _break(source)
            _break(sink)

    def _was_last(self) -> bool:
        with self._lock:
            if self._replies_left is None:
                return False
            self._replies_left -= 1
            return self._replies_left < 0


def _bound(port: int) -> socket.socket:
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind(("127.0.0.1", port))
    return made


def _break(one: socket.socket) -> None:
    with contextlib.suppress(OSError):  # closed already
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _BREAK)
        one.shutdown(socket.SHUT_RD)  # wakes the thread that reads from it, and tells the other side nothing
    one.close()
