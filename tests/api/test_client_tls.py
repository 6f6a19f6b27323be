"""Our own client over TLS: it shows its certificate, and believes no server that its authorities do not know."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from pandaserver.testing.development_ca import DevelopmentCA
from pandaserver.userinterface.Client import Client


class _TellsWho(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        certificate: Any = self.connection.getpeercert()
        body = dict(pair[0] for pair in certificate["subject"])["commonName"].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def authority(tmp_path: Path) -> DevelopmentCA:
    return DevelopmentCA(tmp_path)


@pytest.fixture
def url(authority: DevelopmentCA, tmp_path: Path) -> Iterator[str]:
    certificate, key = tmp_path / "host.pem", tmp_path / "host.key"
    authority.certify_host(["127.0.0.1"], certificate, key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(authority.certificate_file)
    context.verify_mode = ssl.CERT_REQUIRED
    server = HTTPServer(("127.0.0.1", 0), _TellsWho)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"https://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("place", ["certificate_file", "certificates"])
def test_a_certificate_is_shown(url: str, authority: DevelopmentCA, tmp_path: Path, place: str) -> None:
    proxy = tmp_path / "x509up"
    proxy.write_bytes(authority.certify_user("Jane Doe"))
    panda = Client(url, certificate=proxy, authorities=getattr(authority, place))
    assert panda.isAlive() == (0, "Jane Doe")


def test_a_server_of_an_unknown_authority_is_told_nothing(url: str) -> None:
    panda = Client(url, token="secret", timeout=5)
    panda.connection._wait = 0.0
    status, problem = panda.isAlive()
    assert (status, "CERTIFICATE_VERIFY_FAILED" in problem) == (255, True)
