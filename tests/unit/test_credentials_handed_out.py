"""Key pairs and proxies out of directories, and access tokens out of issuers."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from pandaserver.srvcore.access_tokens import KEY_PERIOD, AccessTokens
from pandaserver.srvcore.credential_files import LARGEST, proxy_name, read_key, read_proxy
from pandaserver.srvcore.errors import ExternalError, NotFound

SECRET = "very secret"


# -- files


def test_a_key_is_found_by_the_last_part_of_its_name(tmp_path: Path) -> None:
    (tmp_path / "s3.pub").write_text("KEY")
    assert read_key(tmp_path, "s3.pub") == read_key(tmp_path, "../odd/s3.pub") == "KEY"


@pytest.mark.parametrize(
    "name", ["", "..", "none", ".hidden", "a/", "x" * 300, "nul\0", "dir", "large", "empty", "latin"]
)
def test_what_is_no_key_is_not_found(tmp_path: Path, name: str) -> None:
    (tmp_path / ".hidden").write_text("KEY")
    (tmp_path / "dir").mkdir()
    (tmp_path / "large").write_bytes(b"x" * (LARGEST + 1))
    (tmp_path / "empty").touch()
    (tmp_path / "latin").write_bytes(b"\xff\xfe")
    with pytest.raises(NotFound):
        read_key(tmp_path, name)


def test_the_missing_setting_is_named() -> None:
    with pytest.raises(NotFound, match="keyDir is not set"):
        read_key(None, "s3.pub")
    with pytest.raises(NotFound, match="proxy_dir is not set"):
        read_proxy(None, "/CN=x", "")
    with pytest.raises(NotFound, match="token_cache_config is not set"):
        AccessTokens(None).client("x")


def test_names_of_proxies_are_as_documented() -> None:
    assert proxy_name("/DC=org/CN=Jane Doe/CN=123/CN=proxy", "") == "%2FDC=org%2FCN=Jane Doe.pem"
    role = "atlas:/atlas/Role=pilot"
    assert proxy_name("/DC=org/CN=Jane Doe", role) == "%2FDC=org%2FCN=Jane Doe+atlas:%2Fatlas%2FRole=pilot.pem"


def test_no_dn_leaves_the_directory(tmp_path: Path) -> None:
    inside = tmp_path / "proxies"
    inside.mkdir()
    (tmp_path / "x.pem").write_text("PEM")
    for dn in ("../x", "/../x", "\0"):
        with pytest.raises(NotFound):
            read_proxy(inside, dn, "")


def test_a_long_dn_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        read_proxy(tmp_path, "/CN=" + "x" * 300, "")


# -- tokens


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "clients.json"
    path.write_text(json.dumps({"c": {"client_id": "id", "secret": SECRET, "endpoint": "https://iam.example/token"}}))
    return path


def test_a_token_is_asked_for_again_before_it_ends(config: Path) -> None:
    asked: list[str] = []

    def fetch(source: str, /, *, seconds: float, most: int, form: bytes | None = None) -> Any:
        asked.append(source)
        if len(asked) == 3:
            raise ExternalError("down")
        return {"access_token": f"t{len(asked)}", "expires_in": 1000}

    clock = Clock()
    tokens = AccessTokens(config, fetch=fetch, clock=clock)
    given = []
    for step in (0, 700, 100, 800, 300):  # 800: in the last quarter; 1600: too, and the issuer is down; 1900: again
        clock.now += step
        given.append(tokens.token(tokens.client("c")))
    assert given == ["t1", "t1", "t2", "t2", "t4"]
    assert asked == ["https://iam.example/token"] * 4


def test_an_issuer_that_gives_nothing_is_named(config: Path) -> None:
    replies: list[Any] = [{}, [], {"access_token": ""}, {"access_token": 1}]
    for reply in replies:
        tokens = AccessTokens(config, fetch=lambda *_, reply=reply, **__: reply)
        with pytest.raises(ExternalError, match=re.escape("https://iam.example/token: the answer has no access_token")):
            tokens.token(tokens.client("c"))


def test_the_file_is_read_again_when_it_changes(config: Path) -> None:
    tokens = AccessTokens(config)
    assert tokens.client("c").client_id == "id"
    config.write_text(json.dumps({"d": {"client_id": "other", "secret": "s", "endpoint": "e"}}))
    assert tokens.client("d").client_id == "other"
    with pytest.raises(NotFound, match="there is no client 'c'"):
        tokens.client("c")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("[1]", "must be a JSON object"),
        ('{"c": 1}', "client c must be an object"),
        (json.dumps({"c": {"client_id": "i", "secret": SECRET}}), "client c needs a text endpoint"),
        ('{"c": {"secret": "' + SECRET + '"', "no JSON"),
    ],
)
def test_a_bad_file_is_described_without_its_secrets(config: Path, content: str, told: str) -> None:
    config.write_text(content)
    with pytest.raises(NotFound, match=told) as raised:
        AccessTokens(config).client("c")
    assert SECRET not in str(raised.value)


def test_the_key_of_yesterday_is_accepted_and_no_other(config: Path) -> None:
    clock = Clock()
    here, elsewhere = AccessTokens(config, clock=clock), AccessTokens(config, clock=clock)
    client = here.client("c")
    key = here.current_key(client)
    assert elsewhere.is_key(client, key)
    clock.now += KEY_PERIOD
    assert here.is_key(client, key)
    assert here.current_key(client) != key
    clock.now += KEY_PERIOD
    assert not here.is_key(client, key)
    assert not here.is_key(client, "é")


class Issuer(BaseHTTPRequestHandler):
    forms: list[dict[str, list[str]]] = []

    def do_GET(self) -> None:
        self._answer({"token_endpoint": f"http://{self.headers['Host']}/token"})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        assert self.headers["Content-Type"] == "application/x-www-form-urlencoded"
        self.forms.append(parse_qs(body))
        self._answer({"access_token": "eyJ", "token_type": "Bearer"})

    def _answer(self, document: Any) -> None:
        data = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def issuer() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Issuer)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    Issuer.forms.clear()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("path", ["/token", "/.well-known/openid-configuration"])
def test_a_real_issuer_is_asked_by_a_form(config: Path, issuer: str, path: str) -> None:
    config.write_text(json.dumps({"c": {"client_id": "id", "secret": SECRET, "endpoint": issuer + path}}))
    tokens = AccessTokens(config)
    assert [tokens.token(tokens.client("c")) for _ in range(2)] == ["eyJ", "eyJ"]
    form = {"grant_type": ["client_credentials"], "client_id": ["id"], "client_secret": [SECRET]}
    assert Issuer.forms == [form]
