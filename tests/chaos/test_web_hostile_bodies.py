"""Large and ambiguous bodies through a real Apache, with the limits as shipped: memory stays small, nothing hides."""

from __future__ import annotations

import json
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

import psutil
import pytest

from pandaserver.testing.development_issuer import VO
from tests.chaos.test_web_malice import post, talk
from tests.chaos.web_cycles import books
from tests.chaos.web_rig import Answer, Rig, directory

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

MB: Final = 2**20

#: What a body of the largest size allowed (200 MB) may cost a web process while it is read and refused.
BOUND: Final = 1000 * MB
#: The same for requests that are neither submissions nor reports of many, of which each may have 20 MB.
SMALL_BOUND: Final = 300 * MB


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with ExitStack() as stack:
        home = stack.enter_context(directory())
        yield stack.enter_context(Rig(home / "var", "sqlite", daemon=False))


@pytest.fixture(autouse=True)
def _nothing_comes_of_it(rig: Rig) -> Iterator[None]:
    before = sorted(process.pid for process in rig.web_processes())
    yield
    assert rig.ask("isAlive") == Answer(200, "alive=yes")
    assert sorted(process.pid for process in rig.web_processes()) == before
    assert books(rig, "malice").rows == {}
    log = "".join(path.read_text(errors="replace") for path in rig.layout.log.glob("panda-Entry.log*"))
    assert "internal error" not in log


@contextmanager
def growth(rig: Rig) -> Iterator[Callable[[], int]]:
    """Give what any web process had at most beyond what it had before, in bytes."""
    processes = rig.web_processes()
    before = {process.pid: process.memory_info().rss for process in processes}
    most, stop = 0, threading.Event()

    def watch() -> None:
        nonlocal most
        while not stop.wait(0.005):
            for process in processes:
                try:
                    most = max(most, process.memory_info().rss - before[process.pid])
                except psutil.NoSuchProcess:
                    continue

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield lambda: most
    finally:
        stop.set()
        thread.join()


def packed(parts: Iterator[bytes]) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join([*(packer.compress(part) for part in parts), packer.flush()])


def repeated(text: bytes, size: int) -> Iterator[bytes]:
    block = text * (MB // len(text))
    for _ in range(size // len(block)):
        yield block


def as_user(rig: Rig, path: str, body: bytes, media: str) -> tuple[int, str]:
    user = (f"Authorization: Bearer {rig.token('Jane Doe')}", f"Origin: {VO}")
    return talk(rig, post(path, body, f"Content-Type: {media}", *user), wait=60)


LARGE: Final = {
    "zeros beyond the limit": lambda: repeated(b"\0", 300 * MB),
    "lists": lambda: iter([b'{"jobs": [', *repeated(b"[],", 150 * MB), b"[]]}"]),
    "maps": lambda: iter([b'{"jobs": [', *repeated(b"{},", 150 * MB), b"{}]}"]),
    "short texts": lambda: iter([b'{"jobs": [', *repeated(b'"ab",', 150 * MB), b'""]}']),
    "lists in a text": lambda: iter([b'{"jobs": "[', *repeated(b"[],", 100 * MB), b'[]]"}']),
}


@pytest.mark.parametrize("kind", LARGE)
def test_a_submission_that_expands_costs_bounded_memory(rig: Rig, kind: str) -> None:
    body = packed(LARGE[kind]())
    assert len(body) < 2 * MB
    with growth(rig) as grown:
        status, text = as_user(rig, "/api/v1/job/submit", body, "application/json")
    assert (status, json.loads(text)["success"]) == (200, False), text[:300]
    assert grown() < BOUND


@pytest.mark.parametrize("text", [b"[],", b"{},", b'{"a":1},', b'"ab",', b"1.5,"])
def test_any_other_request_that_expands_costs_little(rig: Rig, text: bytes) -> None:
    body = packed(iter([b'{"job_ids": [', *repeated(text, 19 * MB), b"0]}"]))
    with growth(rig) as grown:
        status, reply = as_user(rig, "/api/v1/job/kill", body, "application/json")
    assert (status, json.loads(reply)["success"]) == (200, False), reply[:300]
    assert grown() < SMALL_BOUND


def test_a_form_of_many_fields_and_a_multipart_body_of_many_parts_cost_little(rig: Rig) -> None:
    form = b"a=1&" * (18 * MB // 4)
    part = b'--B\r\nContent-Disposition: form-data; name="x"\r\n\r\ny\r\n'
    header = b"--B\r\n" + b"X: y\r\n" * (5 * MB) + b"\r\n"
    with growth(rig) as grown:
        for path in ("/server/panda/killJobs", "/api/v1/job/kill"):
            assert as_user(rig, path, form, "application/x-www-form-urlencoded")[0] == 200
        for body in (part * 200_000 + b"--B--\r\n", header):
            status, text = as_user(rig, "/server/panda/putFile", body, "multipart/form-data; boundary=B")
            assert (status, text[:8]) == (200, "ERROR : ")
    assert grown() < SMALL_BOUND


# ---- where one request ends and the next begins

HIDDEN: Final = "GET /server/panda/getAttr HTTP/1.1\r\nHost: localhost\r\nX-Smuggled: yes\r\n\r\n"


@pytest.mark.parametrize(
    "headers",
    [
        "Content-Length: 6\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 6",
        "Content-Length: 6\r\nContent-Length: 5",
        "Content-Length: 6, 6",
        "Content-Length: +6",
        "Content-Length: 0x6",
        "Content-Length : 6",
        "Content-Length:\t6\r\nTransfer-Encoding:\tchunked",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: identity, chunked\r\nContent-Length: 6",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: x",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding:\x0bchunked",
        " Transfer-Encoding: chunked",
        "X: y\r\n Transfer-Encoding: chunked",
        "X: y\nTransfer-Encoding: chunked",
    ],
)
def test_no_request_hides_behind_another(rig: Rig, headers: str) -> None:
    """Whatever length is believed, what follows is a request of its own, refused or never answered as one of ours.

    A proxy before Apache that believes the other length would see one request only; so if both lengths are there, the
    connection must end with the first answer.
    """
    head = f"POST /server/panda/isAlive HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n\r\n"
    status, body = talk(rig, f"{head}0\r\n\r\nX{HIDDEN}")
    assert status in (200, 400, 411, 413, 501), body[:300]
    answers = 1 + body.count("HTTP/1.1 ")
    assert "X-Smuggled" not in body
    assert "HTTP_X_SMUGGLED" not in body
    if "chunked" in headers and "Content-Length" in headers:
        assert answers == 1 or "400 Bad Request" in body


@pytest.mark.parametrize("chunk", ["-1", "ffffffffffffffff", "0x5", "5;" + "x" * 9000, "zz", "5\n", ""])
def test_a_chunk_without_a_size_is_refused(rig: Rig, chunk: str) -> None:
    head = "POST /server/panda/isAlive HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
    head += "Content-Type: application/json\r\nConnection: close\r\n\r\n"
    status, _ = talk(rig, f"{head}{chunk}\r\nhello\r\n0\r\n\r\n")
    assert status in (200, 400, 411, 413), status
