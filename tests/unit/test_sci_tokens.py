"""SciTokens: listed issuers, our audience, roles of the issuer's own VO."""

from __future__ import annotations

from typing import Any

import pytest

from pandaserver.srvcore.errors import NotAuthenticated
from pandaserver.srvcore.oidc_keys import IssuerKeys
from pandaserver.srvcore.principal import ANONYMOUS, Principal
from pandaserver.srvcore.sci_tokens import SciTokens, issuers_of
from tests.unit.oidc_fixture import OTHER_RSA_KEY, Issuer, issuer, token

__all__ = ["issuer"]

AUDIENCE = "https://panda.example"
ISSUER = "https://iam.example.org/"


@pytest.fixture
def tokens(issuer: Issuer) -> SciTokens:
    return SciTokens(AUDIENCE, issuers_of([f"testvo={ISSUER}"]), keys=IssuerKeys(issuer.fetch))


def sci(key: Any = None, **claims: Any) -> str:
    standard = {"aud": AUDIENCE, "scope": "role:/testvo/Role=production role:/othervo/Role=production", "groups": None}
    return token(**({"key": key} if key else {}), **(standard | claims))


def test_the_scope_gives_roles_of_the_issuers_vo(tokens: SciTokens) -> None:
    principal = tokens.principal(sci(), "othervo.production", ANONYMOUS)
    assert (principal.name, principal.vo, principal.fqans) == ("Jane Doe", "testvo", ("/testvo/Role=production",))


def test_a_certificate_beside_it_keeps_its_name(tokens: SciTokens) -> None:
    principal = tokens.principal(sci(), "", Principal.of("/DC=org/CN=Cert Owner"))
    assert (principal.name, principal.has_production_role) == ("Cert Owner", True)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (sci(aud="ANY"), "udience"),
        (sci(aud=None), "aud"),
        (sci(iss="https://evil.example/"), "does not list the issuer"),
        (sci(iss="https://iam.example.org"), "does not list the issuer"),
        (sci(iss=None), "does not list the issuer"),
        (sci(exp=1), "expired"),
        (sci(OTHER_RSA_KEY), "ignature"),
    ],
)
def test_what_proves_less_is_refused(tokens: SciTokens, bad: str, reason: str) -> None:
    with pytest.raises(NotAuthenticated, match=reason):
        tokens.principal(bad, "", ANONYMOUS)


def test_an_issuer_that_publishes_for_another_one_is_refused(issuer: Issuer, tokens: SciTokens) -> None:
    next(iter(issuer.documents.values()))["issuer"] = "https://other.example/"
    with pytest.raises(NotAuthenticated, match="publishes the keys of"):
        tokens.principal(sci(), "", ANONYMOUS)


def test_nobody_is_believed_unless_listed() -> None:
    assert issuers_of(["testvo=https://a.example/", "https://b.example/", "=x", "x="]) == {
        "https://a.example/": "testvo"
    }
