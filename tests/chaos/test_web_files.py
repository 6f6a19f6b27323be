"""What Apache serves of the directories of files, and that it serves nothing else of them."""

from __future__ import annotations

import gzip
import http.client
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.web_rig import Rig, directory

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

SECRET = b"nobody's business"
ALIASES = ("cache", "cache/jedilog", "cache/schedconfig", "trf", "cric", "auth")


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with directory() as path, (made := Rig(path / "var", "sqlite", daemon=False)):
        for alias in ALIASES:
            place = place_of(made, alias)
            (place / "sub").mkdir(exist_ok=True)
            (place / "a.json").write_bytes(gzip.compress(b"{}") if alias == "cache/jedilog" else b"{}")
            for name in (".hidden", ".upload-x1", "evp.1", "recov.1", "workflow.1", "sub/.hidden"):
                (place / name).write_bytes(SECRET)
            (path / "outside").write_bytes(SECRET)
            (path / "outside").chmod(0o644)
            (place / "link").symlink_to(path / "outside")
            (place / "away").symlink_to(path)
        made.account.give(made.layout.home)
        yield made


def place_of(rig: Rig, alias: str) -> Path:
    layout = rig.layout
    places = {
        "cache": layout.cache,
        "cache/jedilog": layout.cache / "jedilog",
        "cache/schedconfig": layout.schedconfig,
        "trf": layout.trf,
        "cric": layout.cric,
        "auth": layout.auth,
    }
    return places[alias]


def ask(rig: Rig, path: str, verb: str = "GET", *, secure: bool = False) -> tuple[int, http.client.HTTPMessage, bytes]:
    """Ask for a path exactly as it is written."""
    line: http.client.HTTPConnection
    if secure:
        context = ssl.create_default_context(cafile=str(rig.authorities))
        line = http.client.HTTPSConnection(rig.options.host, rig.options.tls_port, timeout=20, context=context)
    else:
        line = http.client.HTTPConnection(rig.options.host, rig.options.port, timeout=20)
    try:
        line.request(verb, path)
        reply = line.getresponse()
        return reply.status, reply.headers, reply.read()
    finally:
        line.close()


@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
@pytest.mark.parametrize(
    ("alias", "kind"),
    [
        ("cache", "application/octet-stream"),
        ("cache/jedilog", "text/plain"),
        ("cache/schedconfig", "application/json"),
        ("trf", "application/octet-stream"),
        ("cric", "application/json"),
        ("auth", "application/json"),
    ],
)
def test_files_are_served_to_anybody(rig: Rig, alias: str, kind: str, secure: bool) -> None:
    status, headers, body = ask(rig, f"/{alias}/a.json", secure=secure)
    assert (status, headers["Content-Type"], headers["X-Content-Type-Options"]) == (200, kind, "nosniff")
    if alias == "cache/jedilog":
        assert (headers["Content-Encoding"], gzip.decompress(body)) == ("gzip", b"{}")
    else:
        assert (headers["Content-Encoding"], body) == (None, b"{}")


def test_only_logs_that_exist_are_announced_as_compressed(rig: Rig) -> None:
    status, headers, _ = ask(rig, "/cache/jedilog/none.log")
    assert (status, headers["Content-Encoding"]) == (404, None)


@pytest.mark.parametrize("alias", ALIASES)
@pytest.mark.parametrize("inner", ["", "sub/", "sub", ".", "sub/.."])
def test_no_directory_is_listed(rig: Rig, alias: str, inner: str) -> None:
    status, _, body = ask(rig, f"/{alias}/{inner}")
    assert status in (301, 403, 404)
    assert b"a.json" not in body


@pytest.mark.parametrize("alias", ALIASES)
@pytest.mark.parametrize(
    "name",
    [
        ".hidden",
        "%2ehidden",
        ".upload-x1",
        "sub/.hidden",
        "sub/..//.hidden",
        "./.hidden",
        "/.hidden",
        "evp.1",
        "recov.1",
        "workflow.1",
        "sub/../evp.1",
        "%65vp.1",
    ],
)
def test_hidden_files_and_requests_are_served_to_nobody(rig: Rig, alias: str, name: str) -> None:
    for verb in ("GET", "HEAD", "POST"):
        status, _, body = ask(rig, f"/{alias}/{name}", verb)
        assert status in (400, 403, 404, 405), (verb, status)
        assert SECRET not in body


@pytest.mark.parametrize("alias", [alias for alias in ALIASES if alias != "auth"])
@pytest.mark.parametrize("name", ["link", "away/outside", "away/var/etc/panda/panda_server.cfg"])
def test_links_lead_nowhere(rig: Rig, alias: str, name: str) -> None:
    status, _, body = ask(rig, f"/{alias}/{name}")
    assert (status, SECRET in body) == (403, False)


def test_a_link_beside_token_configurations_leads_to_files_of_its_owner_only(rig: Rig) -> None:
    """Kubernetes makes such links. Who is not root owns whatever they make here."""
    status, _, body = ask(rig, "/auth/link")
    assert (status, body == SECRET) == ((403, False) if rig.account.switch else (200, True))


@pytest.mark.parametrize("alias", ALIASES)
@pytest.mark.parametrize(
    "path",
    [
        "..%2f..%2fetc%2fpasswd",
        "%2e%2e/%2e%2e/etc/passwd",
        "../../../../etc/passwd",
        "a.json/../../../etc/passwd",
        "a.json%00",
    ],
)
def test_no_path_leads_out(rig: Rig, alias: str, path: str) -> None:
    status, _, body = ask(rig, f"/{alias}/{path}")
    assert (status in (400, 403, 404), b"root:" in body) == (True, False)


@pytest.mark.parametrize("verb", ["PUT", "DELETE"])
def test_files_are_only_read(rig: Rig, verb: str) -> None:
    assert ask(rig, "/cache/a.json", verb)[0] in (403, 405)
    assert ask(rig, "/cache/a.json")[2] == b"{}"


def test_harvesters_read_checkpoints_by_post(rig: Rig) -> None:
    assert ask(rig, "/cache/a.json", "POST")[2] == b"{}"
