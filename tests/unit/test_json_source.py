"""Documents of other services: whole or not at all, from files and from servers that misbehave."""

from __future__ import annotations

import json
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest

from pandaserver.srvcore.errors import ExternalError
from pandaserver.srvcore.json_source import Access, read_json
from pandaserver.testing.development_ca import DevelopmentCA

SOURCES = Path(__file__).resolve().parents[1] / "data/site_sources"
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"

Speak = Callable[[socket.socket], None]
Serve = Callable[[Speak], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts servers that answer every connection in their own way; the address of each."""
    listeners: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def start(speak: Speak) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def work() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:  # closed: the test is over
                    return
                with connection:
                    try:
                        speak(connection)
                    except OSError:  # the client has left
                        continue

        threads.append(threading.Thread(target=work, daemon=True))
        threads[-1].start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}/dump"

    yield start
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
    for thread in threads:
        thread.join(10)


def answering(head: bytes, body: bytes) -> Speak:
    def speak(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(head + b"\r\n" + body)

    return speak


def hang_up(connection: socket.socket) -> None:
    connection.recv(65536)


def slow(first: bytes) -> Speak:
    """A byte now and then, for ever: no wait between two packets is long."""

    def speak(connection: socket.socket) -> None:
        connection.sendall(first)
        while True:
            connection.sendall(b" ")
            sleep(0.05)

    return speak


def redirecting(place: str) -> Speak:
    return answering(f"HTTP/1.1 302 Found\r\nLocation: {place}\r\nContent-Length: 0\r\n".encode(), b"")


def problem_of(source: str, **limits: float) -> str:
    with pytest.raises(ExternalError) as raised:
        read_json(source, **limits)  # type: ignore[arg-type]
    assert raised.value.message.startswith(source)
    return raised.value.message.removeprefix(f"{source}: ")


@pytest.mark.parametrize("form", ["{}", "file:{}", "file://{}"])
def test_a_file_is_named_in_three_ways(form: str) -> None:
    path = SOURCES / "closeness.json"
    assert read_json(form.format(path)) == json.loads(path.read_text())


def test_a_path_may_be_relative(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(SOURCES)
    assert read_json("closeness.json")[0]["closeness"] == 3


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("nothing.json", "Expecting value"),
        ("truncated.json", "Unterminated string"),
        ("duplicates.json", "'EXAMPLE_QUEUE' stands twice in one object"),
        ("error_page.json", "Expecting value"),
        ("nan.json", "NaN is no number of JSON"),
        ("not_utf8.json", "can't decode"),
        ("../nowhere.json", "No such file"),
        ("", "not a file"),
    ],
)
def test_a_file_that_is_no_document_is_refused(name: str, problem: str) -> None:
    assert problem in problem_of(str(SOURCES / "bad" / name))


@pytest.mark.parametrize(
    ("text", "problem"),
    [("[1e999]", "is no number"), ("[" * 100_000, "recursion"), ('{"a": ' + "9" * 5000 + "}", "digits")],
)
def test_what_python_would_choke_on_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "x").write_text(text)
    assert problem in problem_of(str(tmp_path / "x"))


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert problem_of(str(tmp_path / "pipe")) == "not a file"


def test_a_file_may_not_be_larger_than_the_limit(tmp_path: Path) -> None:
    (tmp_path / "x").write_text(json.dumps("x" * 1000))
    assert read_json(str(tmp_path / "x"), most=1002) == "x" * 1000
    assert problem_of(str(tmp_path / "x"), most=1001) == "larger than 1001 bytes"


@pytest.mark.parametrize(
    ("head", "body"),
    [
        (b"Content-Length: 8\r\n", b'{"a": 1}'),
        (b"Connection: close\r\n", b'{"a": 1}'),
        (b"Transfer-Encoding: chunked\r\n", b'4\r\n{"a"\r\n4\r\n: 1}\r\n0\r\n\r\n'),
    ],
)
def test_a_server_is_read(serve: Serve, head: bytes, body: bytes) -> None:
    assert read_json(serve(answering(OK + head, body))) == {"a": 1}


def test_a_redirection_is_followed(serve: Serve) -> None:
    target = serve(answering(OK + b"Content-Length: 2\r\n", b"{}"))
    assert read_json(serve(redirecting(target))) == {}


@pytest.mark.parametrize("place", ["file:///etc/hostname", "ftp://127.0.0.1/x"])
def test_a_server_cannot_send_us_elsewhere(serve: Serve, place: str) -> None:
    assert "302" in problem_of(serve(redirecting(place))) or "unknown url type" in problem_of(serve(redirecting(place)))


@pytest.mark.parametrize(
    ("speak", "problem"),
    [
        (answering(b"HTTP/1.1 500 Oops\r\nContent-Length: 2\r\n", b"{}"), "HTTP status 500"),
        (answering(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n", b""), "HTTP status 404"),
        (answering(OK + b"Content-Length: 100\r\n", b"{}"), "ends after 2 bytes, 98 are missing"),
        (answering(OK + b"Transfer-Encoding: chunked\r\n", b"2\r\n{}\r\n"), "IncompleteRead"),
        (answering(OK + b"Connection: close\r\n", b'{"a": '), "Expecting value"),
        (answering(b"220 mail.example.org ESMTP\r\n", b""), "220"),
        (hang_up, "closed connection"),
    ],
    ids=["500", "404", "cut off", "chunk missing", "half", "no http", "silent"],
)
def test_a_server_that_fails_is_told_apart(serve: Serve, speak: Speak, problem: str) -> None:
    assert problem in problem_of(serve(speak))


def test_nobody_there_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert "refused" in problem_of(f"http://127.0.0.1:{port}/")


@pytest.mark.parametrize(
    "first", [b"", b"HTTP/1.1 200 OK\r\nX-Slow: ", OK + b"\r\n[1,"], ids=["status", "head", "body"]
)
def test_a_slow_server_costs_the_deadline_and_no_more(serve: Serve, first: bytes) -> None:
    address = serve(slow(first))
    start = monotonic()
    assert problem_of(address, seconds=0.5) == "no answer within 0.5 s"
    assert 0.4 < monotonic() - start < 2


def test_a_server_that_never_ends_is_cut_off_at_the_limit(serve: Serve) -> None:
    def speak(connection: socket.socket) -> None:
        connection.sendall(OK + b"\r\n")
        while True:
            connection.sendall(b" " * 65536)

    assert problem_of(serve(speak), most=10**6) == "larger than 1000000 bytes"


@pytest.fixture
def https(tmp_path: Path) -> tuple[DevelopmentCA, ssl.SSLContext]:
    """A CA, and what a server of it needs that asks for certificates of the CA."""
    ca = DevelopmentCA(tmp_path / "ca")
    ca.certify_host(["127.0.0.1"], tmp_path / "host.pem", tmp_path / "host.key")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "host.pem", tmp_path / "host.key")
    context.load_verify_locations(ca.certificate_file)
    context.verify_mode = ssl.CERT_OPTIONAL
    return ca, context


def test_https_trusts_the_directory_of_authorities_and_shows_the_certificate(
    serve: Serve, https: tuple[DevelopmentCA, ssl.SSLContext], tmp_path: Path
) -> None:
    ca, context = https
    (tmp_path / "user.pem").write_bytes(ca.certify_user("Jane Doe"))

    def tell_the_caller(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secure:
            secure.recv(65536)
            certificate: Any = secure.getpeercert() or {}
            subject = dict(part[0] for part in certificate.get("subject", ()))
            body = json.dumps(subject.get("commonName")).encode()
            secure.sendall(OK + b"Content-Length: %d\r\n\r\n" % len(body) + body)

    address = serve(tell_the_caller).replace("http:", "https:")
    assert "certificate verify failed" in problem_of(address)
    assert read_json(address, access=Access(authorities=ca.certificates)) is None
    assert read_json(address, access=Access(tmp_path / "user.pem", ca.certificates)) == "Jane Doe"


def test_a_certificate_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ExternalError, match="No such file"):
        read_json("https://127.0.0.1:9/", access=Access(certificate=tmp_path / "none.pem"))
