"""A web server that answers, one that is not ready, none; and the certificate that it shows."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pandaserver.health import web
from pandaserver.testing.development_ca import DevelopmentCA
from tests.health import found, make_scene

Replies = dict[str, tuple[int, str]]
Start = Callable[..., int]

WELL: Replies = {web.ALIVE: (200, "alive=yes"), web.READY: (200, "{}")}


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a server that gives these replies, and return its port."""
    servers: list[ThreadingHTTPServer] = []

    def make(replies: Replies, context: ssl.SSLContext | None = None) -> int:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                status, text = replies[self.path]
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        return int(server.server_address[1])

    yield make
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_server_that_is_well(tmp_path: Path, start: Start) -> None:
    ((severity, message),) = found(web.plain, make_scene(tmp_path, {"pserverporthttp": start(WELL)}))
    assert severity == "ok"
    assert message.endswith("and ready")


def test_a_server_that_is_not_ready(tmp_path: Path, start: Start) -> None:
    port = start(WELL | {web.READY: (503, "the database is down")})
    ((severity, message),) = found(web.plain, make_scene(tmp_path, {"pserverporthttp": port}))
    assert severity == "failure"
    assert "not ready: 503 the database is down" in message


def test_another_server_on_the_port(tmp_path: Path, start: Start) -> None:
    port = start({web.ALIVE: (404, "what?")})
    ((severity, message),) = found(web.plain, make_scene(tmp_path, {"pserverporthttp": port}))
    assert (severity, "answers 404 'what?'" in message) == ("failure", True)


def test_nobody_on_the_port(tmp_path: Path) -> None:
    for check, key in ((web.plain, "pserverporthttp"), (web.secure, "pserverport")):
        ((severity, message),) = found(check, make_scene(tmp_path, {key: 1}))
        assert (severity, "does not answer" in message) == ("failure", True)


@pytest.mark.parametrize(
    ("name", "server_name", "severity"),
    [("localhost", "localhost", "ok"), ("*.example.org", "a.example.org", "ok"), ("other", "localhost", "warning")],
)
def test_the_certificate_that_is_shown(
    tmp_path: Path, start: Start, name: str, server_name: str, severity: str
) -> None:
    DevelopmentCA(tmp_path / "ca").certify_host([name], tmp_path / "host.pem", tmp_path / "key.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "host.pem", tmp_path / "key.pem")
    scene = make_scene(tmp_path, {"pserverport": start(WELL, context), "pserverhost": server_name})
    results = found(web.secure, scene)
    assert [got for got, _ in results[:2]] == ["ok", "ok"]
    assert max(got for got, _ in results) == severity
