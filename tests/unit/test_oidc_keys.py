"""Keys of issuers and decisions about tokens: how long they are remembered, and what happens in an outage."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest

from pandaserver.srvcore import oidc_keys
from pandaserver.srvcore.errors import ExternalError, NotAuthenticated
from pandaserver.srvcore.oidc_keys import LIFETIME, OUTAGE, PAUSE, IssuerKeys, fetch_json
from pandaserver.srvcore.oidc_utils import OidcTokens
from pandaserver.srvcore.principal import ANONYMOUS
from tests.unit.oidc_fixture import (
    DISCOVERY,
    LOG,
    OTHER_RSA_KEY,
    Issuer,
    directory,
    issuer,
    jwk,
    token,
    tokens,
)

__all__ = ["directory", "issuer", "tokens"]


def test_documents_of_an_issuer_serve_ten_minutes(tokens: OidcTokens, issuer: Issuer) -> None:
    for n in range(3):
        tokens.principal(token(jti=str(n)), "testvo", ANONYMOUS)
    assert issuer.fetched == 2
    issuer.now += 601
    tokens.principal(token(jti="later"), "testvo", ANONYMOUS)
    assert issuer.fetched == 4


def test_a_new_key_of_an_issuer_is_found(tokens: OidcTokens, issuer: Issuer) -> None:
    tokens.principal(token(), "testvo", ANONYMOUS)
    issuer.documents["https://iam.example.org/jwk"]["keys"].append(jwk(OTHER_RSA_KEY, "new"))
    issuer.now += 31
    assert tokens.principal(token(OTHER_RSA_KEY, "new"), "testvo", ANONYMOUS).name == "Jane Doe"


def test_a_silent_issuer_leaves_its_old_keys_in_force(tokens: OidcTokens, issuer: Issuer) -> None:
    tokens.principal(token(), "testvo", ANONYMOUS)
    issuer.down = True
    issuer.now += 601
    assert tokens.principal(token(jti="2"), "testvo", ANONYMOUS).name == "Jane Doe"


def test_old_keys_do_not_serve_for_ever(tokens: OidcTokens, issuer: Issuer) -> None:
    tokens.principal(token(), "testvo", ANONYMOUS)
    issuer.down = True
    issuer.now += OUTAGE
    with pytest.raises(ExternalError, match="no route to host"):
        tokens.principal(token(jti="2"), "testvo", ANONYMOUS)
    issuer.down = False
    issuer.now += PAUSE
    assert tokens.principal(token(jti="2"), "testvo", ANONYMOUS).name == "Jane Doe"


def test_unknown_keys_make_us_ask_once_in_a_while(tokens: OidcTokens, issuer: Issuer) -> None:
    tokens.principal(token(), "testvo", ANONYMOUS)
    asked = issuer.fetched
    for n in range(20):
        issuer.now += PAUSE / 10
        with pytest.raises(NotAuthenticated, match="no key"):
            tokens.principal(token(kid=f"invented-{n}"), "testvo", ANONYMOUS)
    assert issuer.fetched == asked + 2 * 2  # discovery and keys, for each pause that passed


def test_a_crowd_asks_a_new_issuer_once(directory: Path, issuer: Issuer) -> None:
    arrived, asked = threading.Event(), []

    def slow(url: str) -> Any:
        asked.append(url)
        arrived.wait(10)
        return issuer.documents[url]

    tokens = OidcTokens(directory, LOG, keys=IssuerKeys(slow))
    names: list[str] = []
    crowd = [
        threading.Thread(target=lambda n=n: names.append(tokens.principal(token(jti=str(n)), "testvo", ANONYMOUS).name))
        for n in range(8)
    ]
    for one in crowd:
        one.start()
    arrived.set()
    for one in crowd:
        one.join(20)
    assert (names, len(asked)) == (["Jane Doe"] * 8, 2)


def test_who_has_a_key_does_not_wait_for_whoever_asks_again(issuer: Issuer) -> None:
    asking, answer = threading.Event(), threading.Event()

    def fetch(url: str) -> Any:
        if issuer.now > 1000:
            asking.set()
            answer.wait(20)
        return issuer.documents[url]

    keys = IssuerKeys(fetch, lambda: issuer.now)
    keys.find(DISCOVERY, "rsa")
    issuer.now += LIFETIME
    other = threading.Thread(target=keys.find, args=(DISCOVERY, "rsa"))
    other.start()
    assert asking.wait(20)
    assert keys.find(DISCOVERY, "rsa")[1] == "https://iam.example.org/"  # while the other one still waits
    assert other.is_alive()
    answer.set()
    other.join(20)


def test_a_silent_issuer_is_not_asked_by_every_request(tokens: OidcTokens, issuer: Issuer) -> None:
    issuer.down = True
    for _ in range(3):
        with pytest.raises(ExternalError, match="no route to host"):
            tokens.principal(token(), "testvo", ANONYMOUS)
    assert issuer.fetched == 1


def test_a_decision_does_not_outlive_its_token(directory: Path, issuer: Issuer) -> None:
    now = [time.time()]
    tokens = OidcTokens(directory, LOG, keys=IssuerKeys(issuer.fetch), clock=lambda: now[0])
    short = token(exp=time.time() - 5)  # within the leeway
    tokens.principal(short, "testvo", ANONYMOUS)
    assert not [until for until, _ in tokens._decisions.values() if until > now[0]]


def test_a_decision_is_made_once(tokens: OidcTokens, monkeypatch: pytest.MonkeyPatch) -> None:
    same = token()
    first = tokens.principal(same, "testvo", ANONYMOUS)
    monkeypatch.setattr(tokens, "_decide", None)
    assert tokens.principal(same, "testvo", ANONYMOUS) is first


@pytest.mark.parametrize("url", ["http://iam.example.org/x", "ftp://x/y", "http://127.0.0.1.evil.example/"])
def test_keys_come_over_https_only(url: str) -> None:
    with pytest.raises(ValueError, match="must be https"):
        fetch_json(url)


def test_a_development_issuer_may_be_a_file(tmp_path: Path) -> None:
    (tmp_path / "doc.json").write_text('{"issuer": "x"}')
    assert fetch_json((tmp_path / "doc.json").as_uri()) == {"issuer": "x"}


class _Odd(BaseHTTPRequestHandler):
    """An issuer that answers in ways that cost time or memory, or that lead elsewhere."""

    def do_GET(self) -> None:
        self.send_response(302 if self.path == "/elsewhere" else 200)
        self.send_header("Location", "file:///etc/passwd")
        self.end_headers()
        with suppress(OSError):  # the other end has had enough
            for piece in {"/large": [b"x" * 2**16] * 17, "/slow": repeat(b" ")}.get(self.path, ()):
                self.wfile.write(piece)
                self.server.closing.wait(0.05 if self.path == "/slow" else 0)  # type: ignore[attr-defined]

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def odd_issuer() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Odd)
    server.closing = threading.Event()  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.closing.set()  # type: ignore[attr-defined]
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize(
    ("path", "reason"), [("/slow", "no answer within"), ("/large", "larger than"), ("/elsewhere", "HTTP status 302")]
)
def test_an_odd_issuer_costs_a_bounded_time_and_leads_nowhere(
    odd_issuer: str, path: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oidc_keys, "FETCH_TIMEOUT", 0.5 if path == "/slow" else 5.0)
    with pytest.raises(ExternalError, match=reason):
        fetch_json(odd_issuer + path)
