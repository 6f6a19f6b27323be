"""Machines that reach one database server: in network namespaces of their own, else as ports of this machine."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

from pandaserver.testing.servers import PostgresServer
from pandaserver.testing.tcp_proxy import TcpProxy

T = TypeVar("T")
_CLONE_NEWNET: Final = 0x40000000
_libc: Final = ctypes.CDLL(None, use_errno=True)


class Place(ABC):
    """Where the processes of one machine run: the name under which others reach it, and its way to the database."""

    host: str
    database_host: str
    database_port: int

    @abstractmethod
    def cut(self) -> None:
        """Lose every byte between this machine and the database; nobody is told."""

    @abstractmethod
    def restore(self) -> None:
        """Let bytes flow again."""

    def run(self, call: Callable[[], T]) -> T:
        """Run something that starts processes of this machine."""
        return call()


class Server(PostgresServer):
    """A PostgreSQL server that listens to other machines, too."""

    def _create(self) -> None:
        super()._create()
        with (self.data / "pg_hba.conf").open("a") as rules:
            rules.write("host all all 198.18.0.0/15 scram-sha-256\n")

    def _command(self) -> list[str]:
        return [*super()._command(), "-c", "listen_addresses=*"]


class Loopback(Place):
    """The machine is a set of ports, and its line to the database a proxy."""

    def __init__(self, port: int, stack: ExitStack) -> None:
        self._proxy = stack.enter_context(TcpProxy("127.0.0.1", port))
        self.host = self.database_host = "127.0.0.1"
        self.database_port = self._proxy.port

    def cut(self) -> None:
        self._proxy.stall()

    def restore(self) -> None:
        self._proxy.restore()


class Namespace(Place):
    """The machine is a network namespace, and its line a pair of virtual Ethernet devices.

    A process is in the namespace of the thread that started it, and ends with that thread; so there is one for each
    machine, which lives as long as the machine.
    """

    def __init__(self, number: int, port: int, stack: ExitStack) -> None:
        self._name = f"panda{os.getpid()}n{number}"
        self._device = f"p{os.getpid()}n{number}"
        network = f"198.{18 + os.getpid() // 64 % 2}.{os.getpid() % 64 * 4 + number // 64}"
        self.host, self.database_host = f"{network}.{4 * number + 2}", f"{network}.{4 * number + 1}"
        self.database_port = port
        _ip("netns", "add", self._name)
        stack.callback(_ip, "netns", "del", self._name)
        _ip("link", "add", self._device, "type", "veth", "peer", "name", "eth0", "netns", self._name)
        stack.callback(_ip, "link", "del", self._device)
        _ip("addr", "add", f"{self.database_host}/30", "dev", self._device)
        _ip("link", "set", self._device, "up")
        for words in (("addr", "add", f"{self.host}/30", "dev", "eth0"), ("link", "set", "eth0", "up")):
            _ip("-n", self._name, *words)
        _ip("-n", self._name, "link", "set", "lo", "up")
        self._thread = ThreadPoolExecutor(1, initializer=self._enter)
        stack.callback(self._thread.shutdown)

    def _enter(self) -> None:
        with Path("/run/netns", self._name).open() as namespace:
            if _libc.setns(namespace.fileno(), _CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")

    def run(self, call: Callable[[], T]) -> T:
        return self._thread.submit(call).result()

    def cut(self) -> None:
        _ip("link", "set", self._device, "down")

    def restore(self) -> None:
        _ip("link", "set", self._device, "up")


@contextmanager
def places(count: int, port: int) -> Iterator[list[Place]]:
    """Give machines that reach a database server on a port of this machine."""
    with ExitStack() as stack:
        if can_have_namespaces():
            yield [Namespace(number, port, stack) for number in range(count)]
        else:
            yield [Loopback(port, stack) for _ in range(count)]


def can_have_namespaces() -> bool:
    """Tell whether network namespaces and virtual devices can be made here."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return False
    name, device = f"panda{os.getpid()}probe", f"p{os.getpid()}probe"
    try:
        _ip("netns", "add", name)
    except subprocess.CalledProcessError:
        return False
    try:
        _ip("link", "add", device, "type", "veth", "peer", "name", "eth0", "netns", name)
        _ip("-n", name, "link", "set", "lo", "up")  # fails where the root directory is no mount point
        _ip("link", "del", device)
    except subprocess.CalledProcessError:
        return False
    finally:
        _ip("netns", "del", name)
    return True


def _ip(*words: Any) -> None:
    subprocess.run(["ip", *map(str, words)], check=True, capture_output=True, timeout=20)
