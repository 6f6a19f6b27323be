"""An issuer of tokens that is a server of its own, over https: discovery, keys, device flow, and new tokens for old."""

from __future__ import annotations

import json
import ssl
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Final
from urllib.parse import parse_qs

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from pandaserver.testing.development_ca import DevelopmentCA

DEVICE: Final = "urn:ietf:params:oauth:grant-type:device_code"
_LIFETIME: Final = 3600
_KEY_ID: Final = "issuer-1"


class Refused(Exception):
    """The issuer says no, with a word of RFC 8628."""


class DeviceIssuer:
    """An issuer for one client. Whoever asks is ``user``, a member of ``groups``, who signs in at once."""

    def __init__(self, client_id: str, groups: list[str], authority: DevelopmentCA, directory: Path) -> None:
        self.client_id, self.groups, self.user = client_id, groups, ""
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._asked: dict[str, int] = {}  # device code -> how often its token was asked for
        self._refresh: dict[str, str] = {}  # refresh token -> user
        self._lifetime = _LIFETIME
        self.refreshed = 0  # tokens given for old ones
        certificate, key = directory / "issuer.pem", directory / "issuer-key.pem"
        authority.certify_host(["localhost"], certificate, key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self.url = f"https://localhost:{self._server.server_address[1]}"

    def __enter__(self) -> DeviceIssuer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @contextmanager
    def short_lived(self) -> Iterator[None]:
        """Give tokens that are good for a minute: so short before the end clients ask for others."""
        self._lifetime = 60
        try:
            yield
        finally:
            self._lifetime = _LIFETIME

    def entry(self, vo: str) -> dict[str, Any]:
        """Return what servers and clients read about it."""
        discovery = f"{self.url}/.well-known/openid-configuration"
        audience = f"{self.url}/panda"
        known = {"client_id": self.client_id, "client_secret": None, "vo": vo}
        return {"audience": audience, "oidc_config_url": discovery} | known

    def document(self, path: str) -> dict[str, Any] | None:
        """Return a document that anybody may read."""
        key = jwt.algorithms.ECAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        discovery = {
            "issuer": self.url,
            "jwks_uri": f"{self.url}/keys",
            "device_authorization_endpoint": f"{self.url}/device",
            "token_endpoint": f"{self.url}/token",
        }
        published: dict[str, dict[str, Any]] = {
            "/.well-known/openid-configuration": discovery,
            "/keys": {"keys": [{**key, "kid": _KEY_ID, "use": "sig"}]},
        }
        return published.get(path)

    def asked(self, path: str, form: dict[str, str]) -> dict[str, Any]:
        """Answer what a client sent."""
        if form.get("client_id") != self.client_id:
            raise Refused("invalid_client")
        if path == "/device" and "openid" in form["scope"].split() and form["audience"] == f"{self.url}/panda":
            code = str(uuid.uuid4())
            self._asked[code] = 0
            page = {"verification_uri": f"{self.url}/sign-in", "verification_uri_complete": f"{self.url}/sign-in?x"}
            return page | {"device_code": code, "user_code": "X", "expires_in": 60, "interval": 0}
        if path == "/token" and form["grant_type"] == DEVICE:
            return self._token_for_device(form["device_code"])
        if path == "/token" and form["grant_type"] == "refresh_token" and form["refresh_token"] in self._refresh:
            self.refreshed += 1
            return self._tokens(self._refresh.pop(form["refresh_token"]))
        raise Refused("invalid_request")

    def _token_for_device(self, code: str) -> dict[str, Any]:
        if code not in self._asked:
            raise Refused("invalid_grant")
        self._asked[code] += 1
        if self._asked[code] == 1:  # nobody is that quick
            raise Refused("authorization_pending")
        del self._asked[code]
        return self._tokens(self.user)

    def _tokens(self, user: str) -> dict[str, Any]:
        nickname = "".join(user.lower().split())
        claims = {
            "iss": self.url,
            "aud": self.client_id,
            "sub": nickname,
            "name": user.lower(),
            "preferred_username": nickname,
            "groups": self.groups,
            "exp": int(time.time()) + self._lifetime,
        }
        token = jwt.encode(claims, self._key, "ES256", headers={"kid": _KEY_ID})
        refresh = str(uuid.uuid4())
        self._refresh[refresh] = user
        return {"id_token": token, "access_token": token, "refresh_token": refresh, "expires_in": self._lifetime}


def _handler(issuer: DeviceIssuer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            document = issuer.document(self.path)
            self._answer(200 if document else 404, document or {})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            form = {name: values[0] for name, values in parse_qs(body).items()}
            try:
                self._answer(200, issuer.asked(self.path, form))
            except Refused as reason:
                self._answer(400, {"error": str(reason)})

        def _answer(self, status: int, document: dict[str, Any]) -> None:
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Handler
