"""Certificates near their end, beyond it, and lists of revoked ones."""

from __future__ import annotations

import datetime as dt
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pandaserver.health.certificates import DAY, certificates
from pandaserver.health.scene import Scene
from pandaserver.testing.development_ca import DevelopmentCA
from tests.health import found, make_scene


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A directory with a host certificate for a year, and an Apache configuration that names it."""
    DevelopmentCA(tmp_path / "ca").certify_host(["localhost"], tmp_path / "host.pem", tmp_path / "key.pem")
    (tmp_path / "etc/panda").mkdir(parents=True)
    (tmp_path / "etc/panda/panda_server-httpd.conf").write_text(
        f'SSLCertificateFile "{tmp_path}/host.pem"\nSSLCertificateKeyFile "{tmp_path}/key.pem"\n'
        f'SSLCARevocationPath "{tmp_path}/crls"\n'
    )
    (tmp_path / "crls").mkdir()
    return tmp_path


def scene_in(home: Path, days: float) -> Scene:
    return make_scene(home, now=time.time() + days * DAY)


@pytest.mark.parametrize(
    ("days", "severity", "words"),
    [
        (0, "ok", "is valid until"),
        (360, "warning", "for 5 days"),
        (366, "failure", "expired on"),
        (-2, "failure", "is not valid before"),
    ],
)
def test_a_certificate_and_its_dates(home: Path, days: float, severity: str, words: str) -> None:
    ((got, message),) = found(certificates, scene_in(home, days))
    assert (got, words in message) == (severity, True), message


def test_files_that_are_not_there(home: Path) -> None:
    (home / "host.pem").unlink()
    (home / "key.pem").unlink()
    assert [severity for severity, _ in found(certificates, scene_in(home, 0))] == ["failure", "failure"]


def test_apache_does_not_start_without_a_ca(home: Path) -> None:
    conf = home / "etc/panda/panda_server-httpd.conf"
    conf.write_text(conf.read_text() + f"SSLCACertificatePath {home}/cas\n")
    (home / "cas").mkdir()
    (severity, message) = found(certificates, scene_in(home, 0))[-1]
    assert (severity, "no CA of users" in message) == ("failure", True)
    (home / "cas/0a1b2c3d.0").touch()
    assert [severity for severity, _ in found(certificates, scene_in(home, 0))] == ["ok"]


def test_a_proxy_is_warned_about_a_day_before_its_end(home: Path) -> None:
    (home / "proxy").write_bytes(DevelopmentCA(home / "ca").certify_user("Jane Doe"))
    for days, severity in ((350, "ok"), (364.5, "warning"), (366, "failure")):
        scene = make_scene(home, environ={"X509_USER_PROXY": str(home / "proxy")}, now=time.time() + days * DAY)
        assert found(certificates, scene)[-1][0] == severity


def revocation_list(path: Path, days: int) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    now = dt.datetime.now(dt.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "CA")])
    builder = x509.CertificateRevocationListBuilder(name, now - dt.timedelta(days=9), now + dt.timedelta(days=days))
    path.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))


def test_lists_of_revoked_certificates(home: Path) -> None:
    revocation_list(home / "crls/11111111.r0", days=5)
    assert len(found(certificates, scene_in(home, 0))) == 1
    revocation_list(home / "crls/22222222.r0", days=-1)
    severity, message = found(certificates, scene_in(home, 0))[-1]
    assert severity == "failure"
    assert "1 lists of revoked certificates" in message
    assert "(22222222.r0)" in message


def test_an_instance_without_apache(tmp_path: Path) -> None:
    assert [severity for severity, _ in found(certificates, make_scene(tmp_path))] == ["skipped"]
