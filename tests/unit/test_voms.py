"""Proxies and attribute certificates, without a web server: what they say, and what is not believed."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Sequence
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from pandaserver.srvcore.errors import NotAuthenticated
from pandaserver.srvcore.proxies import Delegation, chain_of, delegation, looks_like_proxy
from pandaserver.srvcore.voms import VomsTrust
from pandaserver.srvcore.x509 import ProxyReader, principal_from_environ
from tests.e2e.grid_credentials import Authority, Credential, attribute_certificate, dn, proxy

NOW = dt.datetime.now(dt.UTC)
HOUR = dt.timedelta(hours=1)
CA = Authority()
JANE = CA.certify("/DC=org/DC=test/CN=Jane Doe")
SERVER = CA.certify("/DC=org/DC=test/CN=voms.test")
PRODUCTION = "/testvo/Role=production/Capability=NULL"


@pytest.fixture
def trust(tmp_path: Path) -> VomsTrust:
    (tmp_path / "certificates").mkdir()
    (tmp_path / "certificates" / "0a1b2c3d.0").write_bytes(CA.certificate.public_bytes(serialization.Encoding.PEM))
    write_lsc(tmp_path, "testvo", dn(SERVER.certificate.subject), dn(CA.certificate.subject))
    return VomsTrust(tmp_path / "vomsdir", tmp_path / "certificates", logging.getLogger("tests.voms"))


def write_lsc(directory: Path, vo: str, *names: str) -> None:
    path = directory / "vomsdir" / vo / "voms.test.lsc"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{name}\n" for name in names))


def texts(credential: Credential) -> list[str]:
    chain = (credential.certificate, *credential.chain)
    return [one.public_bytes(serialization.Encoding.PEM).decode() for one in chain]


def read(credential: Credential) -> Delegation:
    found = delegation(texts(credential))
    assert found is not None
    return found


def environ_of(credential: Credential) -> dict[str, str]:
    first, *others = texts(credential)
    names = {"SSL_CLIENT_S_DN": credential.certificate.subject, "SSL_CLIENT_I_DN": credential.certificate.issuer}
    chain = {f"SSL_CLIENT_CERT_CHAIN_{number}": text for number, text in enumerate(others)}
    return {name: dn(value) for name, value in names.items()} | {"SSL_CLIENT_CERT": first} | chain


def attributes(vo: str = "testvo", fqans: Sequence[str] = (PRODUCTION,)) -> bytes:
    return attribute_certificate(SERVER, JANE.certificate, vo, fqans)


def test_a_certificate_is_no_proxy() -> None:
    assert delegation(texts(JANE)) is None
    assert not looks_like_proxy(environ_of(JANE))


def test_a_chain_ends_at_its_owner() -> None:
    found = read(proxy(proxy(JANE)))
    assert (found.owner, len(found.proxies), found.is_limited) == (JANE.certificate, 2, False)


def test_a_limit_is_inherited() -> None:
    assert read(proxy(proxy(JANE, limited=True))).is_limited


@pytest.mark.parametrize("limited", [False, True])
def test_proxies_of_the_first_generation_are_known_by_their_names(limited: bool) -> None:
    found = read(proxy(JANE, legacy=True, limited=limited))
    assert (found.owner, found.is_limited) == (JANE.certificate, limited)


def test_certificates_may_come_in_any_order_and_twice() -> None:
    first, *others = texts(proxy(proxy(JANE)))
    found = delegation([first, *reversed(others), others[0]])
    assert found is not None
    assert found.owner == JANE.certificate


@pytest.mark.parametrize("kind", ["alone", "old and alone", "other owner", "forged", "junk"])
def test_a_proxy_that_nobody_signed_is_nobody(kind: str) -> None:
    mine = proxy(JANE)
    namesake = Authority().certify("/DC=org/DC=test/CN=Jane Doe")
    chains = {
        "alone": texts(mine)[:1],
        "old and alone": texts(proxy(JANE, legacy=True))[:1],
        "other owner": [texts(mine)[0], texts(namesake)[0]],
        "forged": texts(proxy(JANE, forged=True)),
        "junk": [texts(mine)[0], "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"],
    }
    with pytest.raises(NotAuthenticated):
        delegation(chains[kind])


def test_attributes_are_believed_while_they_are_valid(trust: VomsTrust) -> None:
    found = read(proxy(JANE, attributes=[attributes()]))
    assert trust.fqans(found, NOW) == (PRODUCTION,)
    assert trust.fqans(found, NOW + 3 * HOUR) == ()
    assert trust.fqans(found, NOW - 3 * HOUR) == ()


@pytest.mark.parametrize("names", [[], [dn(SERVER.certificate.subject)], ["/CN=other", dn(CA.certificate.subject)]])
def test_a_server_counts_by_its_whole_name(trust: VomsTrust, tmp_path: Path, names: list[str]) -> None:
    write_lsc(tmp_path, "testvo", *names)
    assert trust.fqans(read(proxy(JANE, attributes=[attributes()])), NOW) == ()


def test_a_ca_that_is_taken_away_stands_behind_nobody(trust: VomsTrust, tmp_path: Path) -> None:
    (tmp_path / "certificates" / "0a1b2c3d.0").unlink()
    assert trust.fqans(read(proxy(JANE, attributes=[attributes()])), NOW) == ()


@pytest.mark.parametrize(
    "fqans",
    [
        [],
        ["testvo"],
        ["/othervo/Role=production"],
        [PRODUCTION, "/othervo/Role=production"],
        ["/testvo2/Role=production"],
        ["/../testvo/Role=production"],
        ["/testvo/Role=x y"],
        ["/testvo/Role=x\n/testvo/Role=production"],
        ["/testvo/R"] * 1001,
    ],
)
def test_attributes_that_a_server_may_not_give_are_not_believed(trust: VomsTrust, fqans: list[str]) -> None:
    assert trust.fqans(read(proxy(JANE, attributes=[attributes(fqans=fqans)])), NOW) == ()


def test_attributes_of_somebody_else_or_of_yesterday_or_changed_are_not_believed(trust: VomsTrust) -> None:
    other = CA.certify("/DC=org/DC=test/CN=Jane Doe")  # a namesake
    held = {
        "of somebody else": attribute_certificate(SERVER, other.certificate, "testvo", [PRODUCTION]),
        "of yesterday": attribute_certificate(SERVER, JANE.certificate, "testvo", [PRODUCTION], expired=True),
        "changed": attributes(fqans=["/testvo/Role=pilotation"]).replace(b"pilotation", b"production"),
    }
    found = {name: trust.fqans(read(proxy(JANE, attributes=[one])), NOW) for name, one in held.items()}
    assert found == dict.fromkeys(held, ())


def test_a_proxy_without_belief_is_its_owner_all_the_same(
    trust: VomsTrust, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_lsc(tmp_path, "testvo")
    principal = principal_from_environ(environ_of(proxy(JANE, attributes=[attributes()])), (), ProxyReader(trust))
    assert (principal.name, principal.fqans) == ("Jane Doe", ())
    assert "attributes of the proxy of /DC=org/DC=test/CN=Jane Doe are ignored" in caplog.text


def test_a_limited_proxy_is_a_limited_caller(trust: VomsTrust) -> None:
    principal = principal_from_environ(environ_of(proxy(JANE, limited=True)), (), ProxyReader(trust))
    assert (principal.is_limited, principal.name) == (True, "Jane Doe")


def test_what_was_read_is_remembered_and_forgotten(trust: VomsTrust) -> None:
    reader, environ = ProxyReader(trust), environ_of(proxy(JANE, attributes=[attributes()]))
    assert reader.read(environ, NOW) == (False, (PRODUCTION,))
    assert reader.read(environ, NOW + dt.timedelta(minutes=4)) == (False, (PRODUCTION,))
    assert reader.read(environ, NOW + 3 * HOUR) == (False, ())


def test_a_proxy_whose_certificate_is_not_handed_over_is_nobody() -> None:
    names = {name: text for name, text in environ_of(proxy(JANE)).items() if name.endswith("_DN")}
    with pytest.raises(NotAuthenticated, match="ExportCertData"):
        principal_from_environ(names)


def test_the_chain_is_read_in_its_order() -> None:
    numbered = {f"SSL_CLIENT_CERT_CHAIN_{number}": str(number) for number in (10, 2, 0)}
    assert chain_of({"SSL_CLIENT_CERT": "leaf"} | numbered) == ("leaf", "0", "2", "10")
