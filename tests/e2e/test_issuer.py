"""Tokens of issuers that are servers of their own, over https, through a real Apache."""

from __future__ import annotations

import json
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from pandaserver.testing.development_ca import DevelopmentCA
from tests.chaos.web_rig import Answer, Rig, directory
from tests.e2e.conftest import free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

KEY = ec.generate_private_key(ec.SECP256R1())
ATTRIBUTES = "/api/v1/system/get_user_attributes"


class _Issuer(BaseHTTPRequestHandler):
    """Publishes a discovery document and one key."""

    def do_GET(self) -> None:
        url = f"https://{self.headers['Host']}"
        key = {**jwt.algorithms.ECAlgorithm.to_jwk(KEY.public_key(), as_dict=True), "kid": "ec-1", "use": "sig"}
        documents = {
            "/.well-known/openid-configuration": {"issuer": url, "jwks_uri": f"{url}/keys"},
            "/keys": {"keys": [key]},
        }
        body = json.dumps(documents.get(self.path, {})).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def issuer(authority: DevelopmentCA, directory: Path) -> Iterator[str]:
    """Run an issuer whose certificate is by that authority, and give its URL."""
    certificate, key = directory / "issuer.pem", directory / "issuer-key.pem"
    authority.certify_host(["localhost"], certificate, key)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Issuer)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"https://localhost:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class TokenRig(Rig):
    """A server with several issuers: VO -> URL."""

    def __init__(self, home: Path, issuers: dict[str, str], trusted: Path) -> None:
        super().__init__(home, "sqlite", daemon=False, variables={"SSL_CERT_FILE": str(trusted)})
        self.issuers = issuers

    def _write_credentials(self) -> None:
        super()._write_credentials()
        for vo, url in self.issuers.items():
            entry = {"audience": f"{url}/panda", "client_id": f"client-of-{vo}", "client_secret": None, "vo": vo}
            entry["oidc_config_url"] = f"{url}/.well-known/openid-configuration"
            (self.layout.auth / f"{vo}_auth_config.json").write_text(json.dumps(entry))
            role = entry | {"vo": f"{vo}.production"}
            (self.layout.auth / f"{vo}.production_auth_config.json").write_text(json.dumps(role))

    def ask_as(self, vo: str, origin: str = "", **claims: Any) -> Answer:
        """Ask who we are with a token of a VO's issuer."""
        standard = {
            "iss": self.issuers[vo],
            "aud": f"client-of-{vo}",
            "sub": "jdoe",
            "name": "jane doe",
            "groups": [vo, f"{vo}/production"],
            "exp": time.time() + 300,
        }
        token = jwt.encode(standard | claims, KEY, "ES256", headers={"kid": "ec-1"})
        headers = {"Authorization": f"Bearer {token}", "Origin": origin or vo}
        request = urllib.request.Request(self.https + ATTRIBUTES, headers=headers)
        context = ssl.create_default_context(cafile=str(self.authorities))
        try:
            with urllib.request.urlopen(request, timeout=60, context=context) as reply:
                return Answer(reply.status, reply.read().decode())
        except urllib.error.HTTPError as error:
            return Answer(error.code, error.read().decode())


@pytest.fixture(scope="module")
def rig() -> Iterator[TokenRig]:
    with ExitStack() as stack:
        home = stack.enter_context(directory())
        for name in ("known", "strange"):
            (home / name).mkdir()
        known, strange = DevelopmentCA(home / "known"), DevelopmentCA(home / "strange")
        for path in (home / "known", known.certificate_file):
            path.chmod(0o755)
        issuers = {
            "goodvo": stack.enter_context(issuer(known, home / "known")),
            "fakevo": stack.enter_context(issuer(strange, home / "strange")),
            "deadvo": f"https://localhost:{free_port()}",
        }
        made = TokenRig(home / "var", issuers, known.certificate_file)
        stack.enter_context(made)
        yield made


def test_a_token_of_an_issuer_names_its_owner(rig: TokenRig) -> None:
    found = json.loads(rig.ask_as("goodvo", "goodvo.production").text)["data"]
    assert (found["user_dn_clean"], found["fqans"]) == ("Jane Doe", ["/goodvo/Role=production"])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"exp": 1}, "expired"),
        ({"aud": "somebody"}, "unknown client"),
        ({"aud": "client-of-deadvo"}, "VO goodvo has clients of its own"),
        ({"iss": "https://other.example"}, "issuer"),
        ({"groups": ["goodvo"], "origin": "goodvo.production"}, "not in group goodvo/production"),
    ],
)
def test_a_token_that_proves_less_is_refused(rig: TokenRig, changes: dict[str, Any], reason: str) -> None:
    answer = rig.ask_as("goodvo", **changes)
    assert (answer.status, answer.text.startswith("ERROR : Token authentication failed. ")) == (403, True), answer
    assert reason in answer.text


@pytest.mark.parametrize("vo", ["deadvo", "fakevo"])
def test_an_issuer_that_cannot_be_asked_is_nobodys_fault(rig: TokenRig, vo: str) -> None:
    """It is down, or somebody else answers in its place: not refused for good, and not believed either."""
    answer = rig.ask_as(vo)
    assert (answer.status, "the keys of the issuer at" in answer.text) == (503, True), answer
