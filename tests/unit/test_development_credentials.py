"""Certificates and tokens of a development instance are what servers and clients expect of real ones."""

from __future__ import annotations

import json
import ssl
import stat
import subprocess
from pathlib import Path

import jwt
import pytest
from click.testing import CliRunner
from cryptography import x509

from pandaserver.admin.main import main as panda_admin
from pandaserver.testing.development_ca import DevelopmentCA
from pandaserver.testing.development_issuer import CLIENT_ID, DevelopmentIssuer
from pandaserver.testing.layout import Layout

URL = "http://localhost:25080/auth"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout(tmp_path)
    made.auth.mkdir()
    DevelopmentCA(made.ca)
    DevelopmentIssuer(made.issuer, made.auth).publish(URL)
    return made


def test_the_ca_stays_the_same_when_it_is_opened_again(layout: Layout) -> None:
    before = (layout.ca / "ca.pem").read_bytes()
    DevelopmentCA(layout.ca)
    assert (layout.ca / "ca.pem").read_bytes() == before


def test_openssl_finds_the_ca_by_its_hash(layout: Layout) -> None:
    user = layout.home / "user.pem"
    user.write_bytes(DevelopmentCA(layout.ca).certify_user("Jane Doe"))
    command = ["openssl", "verify", "-no-CAfile", "-CApath", str(layout.ca / "certificates"), str(user)]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_a_user_certificate_names_its_user(layout: Layout) -> None:
    certificate = x509.load_pem_x509_certificate(DevelopmentCA(layout.ca).certify_user("Jane Doe"))
    assert certificate.subject.rfc4514_string() == "CN=Jane Doe,OU=Users,O=PanDA Development"


def test_client_and_server_trust_each_other_by_the_ca(layout: Layout) -> None:
    ca = DevelopmentCA(layout.ca)
    ca.certify_host(["localhost", "127.0.0.1"], layout.hostcert, layout.hostkey)
    user = layout.home / "user.pem"
    user.write_bytes(ca.certify_user("Jane Doe"))
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(ca.certificate_file))
    server.verify_mode = ssl.CERT_REQUIRED
    server.load_cert_chain(layout.hostcert, layout.hostkey)
    client = ssl.create_default_context(cafile=str(ca.certificate_file))
    client.load_cert_chain(user)
    assert _subject_seen(server, client) == "Jane Doe"


def _subject_seen(server: ssl.SSLContext, client: ssl.SSLContext) -> str:
    """Shake hands in memory and return the common name that the server sees."""
    pipes = [ssl.MemoryBIO() for _ in range(4)]
    near = client.wrap_bio(pipes[0], pipes[1], server_hostname="localhost")
    far = server.wrap_bio(pipes[2], pipes[3], server_side=True)
    done: set[ssl.SSLObject] = set()
    for _ in range(10):
        for end in (near, far):
            try:
                end.do_handshake()
                done.add(end)
            except ssl.SSLWantReadError:
                pass
            pipes[2].write(pipes[1].read())
            pipes[0].write(pipes[3].read())
    assert done == {near, far}
    certificate = far.getpeercert()
    assert certificate
    return dict(pair[0] for pair in certificate["subject"])["commonName"]


@pytest.mark.parametrize("name", ["ca/ca-key.pem", "issuer/issuer-key.pem"])
def test_private_keys_are_private(layout: Layout, name: str) -> None:
    assert stat.S_IMODE((layout.home / name).stat().st_mode) == 0o600


def test_a_token_is_verified_by_what_is_published(layout: Layout) -> None:
    token = DevelopmentIssuer(layout.issuer, layout.auth).token("Jane Doe", ["testvo/production"])
    discovery = json.loads((layout.auth / ".well-known" / "openid-configuration").read_text())
    keys = jwt.PyJWKSet.from_dict(json.loads((layout.auth / "jwks.json").read_text()))
    key = keys[jwt.get_unverified_header(token)["kid"]]
    claims = jwt.decode(token, key, algorithms=["RS256"], audience=CLIENT_ID, issuer=discovery["issuer"])
    assert claims["groups"] == ["testvo", "testvo/production"]


def test_what_is_published_has_no_private_part(layout: Layout) -> None:
    (key,) = json.loads((layout.auth / "jwks.json").read_text())["keys"]
    assert not {"d", "p", "q", "dp", "dq", "qi"} & key.keys()


def test_panda_admin_token_prints_the_token_and_nothing_else(layout: Layout) -> None:
    done = CliRunner().invoke(panda_admin, ["token", "--name", "Jane Doe", "--dir", str(layout.home)])
    claims = jwt.decode(done.stdout.removesuffix("\n"), options={"verify_signature": False})
    assert (claims["name"], claims["iss"]) == ("Jane Doe", URL)


def test_panda_admin_certificate_writes_certificate_and_key(layout: Layout, tmp_path: Path) -> None:
    path = tmp_path / "jane.pem"
    CliRunner().invoke(panda_admin, ["certificate", "--cn", "Jane Doe", "--out", str(path), "--dir", str(layout.home)])
    ssl.create_default_context().load_cert_chain(path)


@pytest.mark.parametrize("command", [["token", "--name", "X"], ["certificate", "--cn", "X"]])
def test_without_an_instance_there_are_no_credentials(command: list[str], tmp_path: Path) -> None:
    done = CliRunner().invoke(panda_admin, [*command, "--dir", str(tmp_path)])
    assert done.exit_code == 1
    assert "make run" in done.stderr
