"""Uploads of any size that cost the sender no memory, and what the web processes need meanwhile."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil

from pandaserver.testing.development_issuer import VO
from tests.chaos.web_rig import Rig, living

MB: Final = 2**20
_BLOCK: Final = bytes(2**16)
PUT, V1_PUT = "/server/panda/putFile", "/api/v1/file_server/upload_cache_file"


@dataclass(frozen=True)
class Reply:
    """What came back."""

    status: int
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


@dataclass
class Sending:
    """One upload whose body is sent as far as the test says."""

    line: socket.socket
    left: int  # bytes of the file

    def send(self, size: int) -> None:
        """Send so many bytes of the file."""
        assert size <= self.left
        self.left -= size
        while size:
            size -= self.line.send(_BLOCK[: min(size, len(_BLOCK))])

    def finish(self) -> Reply:
        """Send the rest and return the reply, also one that comes before the rest is sent."""
        with suppress(BrokenPipeError, ConnectionResetError):
            self.send(self.left)
            self.line.sendall(b"\r\n--x--\r\n")
        return self.reply()

    def reply(self) -> Reply:
        """Return everything that comes."""
        data = b""
        with suppress(ConnectionResetError):
            while piece := self.line.recv(65536):
                data += piece
        head, _, body = data.partition(b"\r\n\r\n")
        return Reply(int(head.split(b" ", 2)[1]) if head else 0, body.decode(errors="replace"))


@contextmanager
def sending(rig: Rig, token: str, name: str, size: int, *, path: str = PUT, length: str = "") -> Iterator[Sending]:
    """Begin an upload: everything up to the file's content is sent. ``length`` replaces the header of the length."""
    part = f'--x\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'.encode()
    head = [
        f"POST {path} HTTP/1.1",
        "Host: localhost",
        "Connection: close",
        f"Authorization: Bearer {token}",
        f"Origin: {VO}",
        "Content-Type: multipart/form-data; boundary=x",
        length or f"Content-Length: {len(part) + size + len(b'..--x--..')}",
    ]
    with socket.create_connection((rig.options.host, rig.options.port), timeout=590) as line:
        line.sendall("\r\n".join([*head, "", ""]).encode() + part)
        yield Sending(line, size)


def upload(rig: Rig, token: str, name: str, size: int, *, path: str = PUT) -> Reply:
    """Upload a file of zeros."""
    with sending(rig, token, name, size, path=path) as one:
        return one.finish()


def post(rig: Rig, token: str, path: str, fields: dict[str, Any]) -> Reply:
    """Send JSON as a user."""
    body = json.dumps(fields).encode()
    head = [
        f"POST {path} HTTP/1.1",
        "Host: localhost",
        "Connection: close",
        f"Authorization: Bearer {token}",
        f"Origin: {VO}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    ]
    with socket.create_connection((rig.options.host, rig.options.port), timeout=60) as line:
        line.sendall("\r\n".join([*head, "", ""]).encode() + body)
        return Sending(line, 0).reply()


# ---- memory


@dataclass
class Peaks:
    """The most that was seen, in bytes of PSS: pages that processes share count once."""

    application: dict[int, int] = field(default_factory=dict)  # of each process that runs the application
    front: int = 0  # of the others of Apache, together
    looks: int = 0

    def look(self, application: Sequence[psutil.Process], front: Sequence[psutil.Process]) -> None:
        """Take one sample."""
        for one in application:
            self.application[one.pid] = max(self.application.get(one.pid, 0), pss(one.pid))
        self.front = max(self.front, sum(pss(one.pid) for one in front))
        self.looks += 1


def pss(pid: int) -> int:
    """Return the proportional set size of a process in bytes, 0 when it has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024


@contextmanager
def watched(rig: Rig, every: float = 0.05) -> Iterator[Peaks]:
    """Look at the web's processes again and again, and once before and after."""
    peaks, done = Peaks(), threading.Event()

    def look() -> None:
        application = rig.web_processes()
        running = {one.pid for one in application}
        front = [one for one in living([rig.apache(), *rig.apache().children()]) if one.pid not in running]
        peaks.look(application, front)

    def watch() -> None:
        while not done.wait(every):
            look()

    look()
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peaks
    finally:
        done.set()
        watcher.join()
        look()


def all_at_once(jobs: Sequence[Callable[[], Reply]]) -> list[Reply]:
    """Run each in a thread of its own, all from the same moment."""
    start = threading.Barrier(len(jobs))
    replies: list[Reply | None] = [None] * len(jobs)

    def run(number: int, job: Callable[[], Reply]) -> None:
        start.wait()
        replies[number] = job()

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert None not in replies
    return [one for one in replies if one is not None]
