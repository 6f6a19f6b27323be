"""Requests of somebody who means harm, through a real Apache: refused clearly, and nothing is written."""

from __future__ import annotations

import gzip
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from time import monotonic

import pytest

from pandaserver.testing.development_issuer import VO
from tests.chaos.web_cycles import User, books, submission
from tests.chaos.web_rig import Answer, Rig, directory

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

MB = 2**20
LIMIT = 4 * MB
#: How long Apache waits for a body here.
BODY_SECONDS = 2
DN = "/DC=org/DC=testvo/CN=Jane Doe"
#: Every spelling under which a header could pretend to be what mod_ssl, mod_gridsite or the program sets.
SPOOFED = [
    "SSL_CLIENT_S_DN",
    "SSL-Client-S-DN",
    "ssl-client-s-dn",
    "HTTP_SSL_CLIENT_S_DN",
    "X-SSL-Client-S-DN",
    "REMOTE_USER",
    "Remote-User",
    "GRST_CRED_0",
    "GRST-Cred-Auth-Token-0",
    "PANDA_OIDC_VO",
]


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with ExitStack() as stack:
        home = stack.enter_context(directory())
        limits = {"max_request_body": LIMIT, "max_sandbox_upload": MB}
        patience = {"body=20,": f"body={BODY_SECONDS},"}
        yield stack.enter_context(Rig(home / "var", "sqlite", daemon=False, server=limits, httpd=patience))


@pytest.fixture(autouse=True)
def _nothing_is_written(rig: Rig) -> Iterator[None]:
    """Whatever these tests send, neither jobs nor files come of it, and the server goes on."""
    before = (files_of(rig), [process.pid for process in rig.web_processes()])
    yield
    assert rig.ask("isAlive") == Answer(200, "alive=yes")
    assert (files_of(rig), [process.pid for process in rig.web_processes()]) == before
    assert books(rig, "malice").rows == {}


def files_of(rig: Rig) -> set[str]:
    """Return the files of the instance, and of a place where an attacker would like to have one."""
    ours = {rig.layout.database, rig.layout.log, rig.layout.home / "metrics"}  # the server's own, written at any time
    everything = {path for path in rig.layout.home.rglob("*") if not ours & set(path.parents)}
    return {str(path) for path in (*everything, *rig.layout.log.glob("req_dump_*"), *Path("/etc/cron.d").glob("*"))}


def talk(rig: Rig, text: str | bytes, *, wait: float = 20.0) -> tuple[int, str]:
    """Send bytes as they are and return status and body of what comes back until the server closes."""
    with socket.create_connection((rig.options.host, rig.options.port), timeout=wait) as line:
        line.sendall(text if isinstance(text, bytes) else text.encode())
        line.shutdown(socket.SHUT_WR)
        return read_reply(line)


def read_reply(line: socket.socket) -> tuple[int, str]:
    reply = b""
    while piece := line.recv(65536):
        reply += piece
    head, _, body = reply.partition(b"\r\n\r\n")
    return int(head.split(b" ", 2)[1]), body.decode(errors="replace")


def get(rig: Rig, path: str, verb: str = "GET") -> tuple[int, str]:
    return talk(rig, f"{verb} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")


def post(path: str, body: bytes, *headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", "Connection: close", *headers, f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


# ---- who is calling


@pytest.mark.parametrize("header", SPOOFED)
def test_a_header_makes_nobody_somebody(rig: Rig, header: str) -> None:
    body = b"jobs=" + submission(1, "malice").encode()
    form = "Content-Type: application/x-www-form-urlencoded"
    assert talk(rig, post("/server/panda/submitJobs", body, form, f"{header}: {DN}")) == (200, "False")
    status, text = talk(rig, post("/server/panda/getAttr", b"", form, f"{header}: {DN}"))
    assert (status, f"\nSSL_CLIENT_S_DN : {DN}" in text, f"\nREMOTE_USER : {DN}" in text) == (200, False, False)


@pytest.mark.parametrize("header", ["Transfer-Encoding: chunked", "Content-Length: 4"])
def test_two_lengths_of_one_body_are_refused(rig: Rig, header: str) -> None:
    smuggled = "0\r\n\r\nGET /server/panda/getAttr HTTP/1.1\r\nHost: localhost\r\n\r\n"
    text = post("/server/panda/getJob", smuggled.encode(), header)
    status, body = talk(rig, text)
    assert status in (200, 400, 411)
    assert "HTTP_HOST" not in body  # what getAttr would tell
    assert body.count("HTTP/1.1 ") == 0


# ---- paths


@pytest.mark.parametrize(
    "path",
    [
        "/server/panda/../../etc/passwd",
        "/server/panda/%2e%2e/%2e%2e/etc/passwd",
        "/server/panda/..%2f..%2fetc%2fpasswd",
        "/server/panda/isAlive%2f..%2fgetAttr",
        "/server/panda/isAlive/",
        "/server/panda/isAlive%00",
        "/server/panda/isAlive%0a",
        "/server/panda/__class__",
        "/server/panda/.isAlive",
        "/server/panda.py/isAlive",
        "/api/v1/../../server/panda.py",
        "/cache/../etc/panda/panda_server.cfg",
        "/cache/%2e%2e/etc/panda/panda_server.cfg",
        "/cache/..%2fetc%2fpanda%2fpanda_server.cfg",
        "/cache/.%2e/etc/panda/panda_server.cfg",
        "/cache//../../etc/panda/panda_server.cfg",
        "/cache/%252e%252e/etc/panda/panda_server.cfg",
        "/cache/",
        "/cache/schedconfig/",
        "/trf/../db/panda.sqlite",
        "/auth/../issuer/issuer-key.pem",
        "/ca/hostkey.pem",
        "/issuer/issuer-key.pem",
        "/server-status/../etc",
    ],
)
def test_a_path_leads_nowhere_else(rig: Rig, path: str) -> None:
    status, text = get(rig, path)
    assert status in (400, 403, 404) or text.startswith("False : "), (status, text[:200])
    assert not any(word in text for word in ("root:", "dbpasswd", "PRIVATE KEY", "SQLite format", "HTTP_HOST"))


@pytest.mark.parametrize("name", ["..", ".", "a/..", "a/", "evil\0.txt", ".htaccess/.", ""])
def test_an_upload_without_a_name_of_its_own_is_refused(rig: Rig, name: str) -> None:
    status, text = talk(rig, upload(rig, name))
    assert (status, text[:8]) == (200, "ERROR : ")


@pytest.mark.parametrize(
    "name", ["/etc/cron.d/evil.txt", "../../evil.txt", "a/../../evil.txt", "../etc/panda/evil.txt"]
)
def test_an_uploaded_file_stays_in_the_cache(rig: Rig, name: str) -> None:
    assert talk(rig, upload(rig, name)) == (200, "True")
    (rig.layout.cache / "evil.txt").unlink()  # and it was nothing else, as the fixture finds


def upload(rig: Rig, name: str) -> bytes:
    part = f'--x\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
    body = f"{part}Content-Type: application/octet-stream\r\n\r\nevil\r\n--x--\r\n".encode()
    user = (f"Authorization: Bearer {rig.token('Jane Doe')}", f"Origin: {VO}")
    return post("/server/panda/putFile", body, "Content-Type: multipart/form-data; boundary=x", *user)


# ---- methods


@pytest.mark.parametrize("verb", ["TRACE", "TRACK", "CONNECT", "PATCH", "PROPFIND", "get", "FOO"])
def test_a_method_that_nobody_needs_is_refused(rig: Rig, verb: str) -> None:
    status, text = get(rig, "/server/panda/isAlive", verb)
    assert status in (400, 403, 405, 501), text


@pytest.mark.parametrize("verb", ["PUT", "DELETE"])
def test_files_can_only_be_read(rig: Rig, verb: str) -> None:
    assert get(rig, "/cache/schedconfig/TEST_PQ.all.json", verb)[0] in (403, 405)


# ---- bodies


def test_a_body_above_the_limit_is_refused_with_its_reason(rig: Rig) -> None:
    reply = User(rig).ask("job/submit", {"jobs": "x" * (LIMIT + 1)})
    assert (reply[0], reply[1]["success"]) == (200, False)
    assert "larger" in reply[1]["message"] or "limit" in reply[1]["message"] or "at most" in reply[1]["message"]


def test_a_small_body_that_unpacks_to_more_than_the_limit_is_refused(rig: Rig) -> None:
    bomb = gzip.compress(b'{"siteName": "' + b"x" * 40 * MB + b'"}')
    assert len(bomb) < MB
    before = max(process.memory_info().rss for process in rig.web_processes())
    request = post("/server/panda/getJob", bomb, "Content-Type: application/json", "Content-Encoding: gzip")
    status, text = talk(rig, request)
    assert (status, text[:14]) == (200, "StatusCode=30&")
    assert max(process.memory_info().rss for process in rig.web_processes()) < before + 30 * MB


@pytest.mark.parametrize("length", ["-1", "1e9", "99999999999999999999", "abc", "5, 5"])
def test_a_length_that_is_no_length_is_refused(rig: Rig, length: str) -> None:
    text = f"POST /server/panda/getJob HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n"
    assert talk(rig, text)[0] in (400, 413)


def test_a_header_larger_than_any_is_refused(rig: Rig) -> None:
    text = f"GET /server/panda/isAlive HTTP/1.1\r\nHost: localhost\r\nX: {'x' * 20000}\r\n\r\n"
    assert talk(rig, text)[0] == 400


def test_a_body_that_never_comes_is_given_up_and_keeps_others_waiting_no_longer(rig: Rig) -> None:
    head = post("/server/panda/getJob", b"x" * 1000, "Content-Type: application/x-www-form-urlencoded")[:-900]
    with ExitStack() as stack:
        address = (rig.options.host, rig.options.port)
        lines = [stack.enter_context(socket.create_connection(address, timeout=20)) for _ in rig.web_processes()]
        for line in lines:
            line.sendall(head)
        started = monotonic()
        assert rig.ask("isAlive").text == "alive=yes"
        assert monotonic() - started < BODY_SECONDS + 3
        assert {read_reply(line)[0] for line in lines} <= {400, 408}
