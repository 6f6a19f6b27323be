"""Where the address of a user comes from, and what is none."""

from __future__ import annotations

from typing import Any

import pytest

from pandaserver.srvcore.mail_address import address_in
from pandaserver.srvcore.oidc_utils import OidcTokens
from pandaserver.srvcore.principal import ANONYMOUS, Principal
from pandaserver.srvcore.x509 import principal_from_environ
from tests.unit.oidc_fixture import directory, issuer, token, tokens

__all__ = ["directory", "issuer", "tokens"]

JANE = "/DC=org/CN=Jane Doe"
ADDRESS = "jane@example.org"


@pytest.mark.parametrize(
    "environ",
    [
        {"SSL_CLIENT_S_DN": JANE, "SSL_CLIENT_SAN_Email_0": ADDRESS},
        {"SSL_CLIENT_S_DN": f"{JANE}/emailAddress={ADDRESS}"},
        {"SSL_CLIENT_S_DN": f"/Email={ADDRESS}/CN=Jane Doe"},
        {"SSL_CLIENT_S_DN": f"{JANE}/emailAddress=old@example.org", "SSL_CLIENT_SAN_Email_0": ADDRESS},
    ],
)
def test_an_address_in_a_certificate(environ: dict[str, str]) -> None:
    found = principal_from_environ(environ)
    assert (found.email, found.name) == (ADDRESS, "Jane Doe")


@pytest.mark.parametrize(
    "environ",
    [
        {"SSL_CLIENT_S_DN": JANE},
        {"SSL_CLIENT_S_DN": JANE, "SSL_CLIENT_SAN_Email_0": ADDRESS, "SSL_CLIENT_VERIFY": "GENEROUS"},
        {"SSL_CLIENT_S_DN": JANE, "HTTP_SSL_CLIENT_SAN_EMAIL_0": ADDRESS},
        {"SSL_CLIENT_S_DN": JANE, "SSL_CLIENT_SAN_Email_0": "jane"},
    ],
)
def test_a_certificate_without_a_usable_address(environ: dict[str, str]) -> None:
    assert principal_from_environ(environ).email == ""


@pytest.mark.parametrize(
    ("claims", "address"),
    [
        ({"email": ADDRESS}, ADDRESS),
        ({"email": ADDRESS, "email_verified": True}, ADDRESS),
        ({"email": ADDRESS, "email_verified": False}, ""),
        ({"email": ["jane@example.org"]}, ""),
        ({"email": "jane@example.org\nBcc: all@example.org"}, ""),
        ({}, ""),
    ],
)
def test_an_address_in_a_token(tokens: OidcTokens, claims: dict[str, Any], address: str) -> None:
    assert tokens.principal(token(**claims), "testvo", ANONYMOUS).email == address


def test_a_token_without_an_address_comes_with_a_certificate_that_has_one(tokens: OidcTokens) -> None:
    certificate = Principal.of(JANE, email=ADDRESS)
    assert tokens.principal(token(), "testvo", certificate).email == ADDRESS


@pytest.mark.parametrize("text", ["", "jane", "a b@c", "a@b@c", "a@b,c@d", "notsend", f"{'x' * 55}@b.org", None, 5])
def test_what_is_no_address(text: object) -> None:
    assert address_in(text) == ""


def test_blanks_around_an_address_do_not_count() -> None:
    assert address_in(f" {ADDRESS}\n") == ADDRESS
