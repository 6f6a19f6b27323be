"""Tokens of somebody who means harm."""

from __future__ import annotations

import base64
import hmac
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from pandaserver.srvcore.errors import NotAuthenticated
from pandaserver.srvcore.oidc_utils import OidcTokens
from pandaserver.srvcore.principal import ANONYMOUS
from tests.unit.oidc_fixture import (
    OTHER_RSA_KEY,
    RSA_KEY,
    Issuer,
    directory,
    issuer,
    jwk,
    tokens,
)

__all__ = ["directory", "issuer", "tokens"]


def crafted(header: dict[str, Any], claims: Any, key: Any = RSA_KEY) -> str:
    """Return a token with any header, signed as RS256."""
    parts = [json.dumps(header), claims if isinstance(claims, str) else json.dumps(claims)]
    text = ".".join(base64.urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in parts)
    signature = jwt.algorithms.RSAAlgorithm(jwt.algorithms.RSAAlgorithm.SHA256).sign(text.encode(), key)
    return f"{text}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


GOOD = {"aud": "client-1", "sub": "s", "iss": "https://iam.example.org/", "exp": 4_000_000_000, "groups": ["testvo"]}
ATTACKER = jwk(OTHER_RSA_KEY, "rsa")


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "RS256", "kid": "rsa", "jku": "https://evil.example/jwks", "x5u": "https://evil.example/cert"},
        {"alg": "RS256", "kid": "rsa", "jwk": ATTACKER},
        {"alg": "RS256", "kid": "https://evil.example/jwks"},
        {"alg": "RS256", "kid": "../../../../dev/null"},
        {"alg": "RS256", "kid": "rsa' OR '1'='1"},
        {"alg": "RS256", "kid": ""},
        {"alg": "RS256", "kid": ["rsa"]},
        {"alg": "RS256", "kid": 7},
        {"alg": "RS256", "kid": "rsa", "crit": ["exp"]},
        {"alg": "rs256", "kid": "rsa"},
        {"alg": "PS256", "kid": "rsa"},
        {"alg": "RS512", "kid": "rsa"},
        {"alg": ["RS256"], "kid": "rsa"},
        {"alg": "None", "kid": "rsa"},
    ],
)
def test_a_header_chooses_neither_key_nor_algorithm(tokens: OidcTokens, issuer: Issuer, header: dict[str, Any]) -> None:
    with pytest.raises(NotAuthenticated):
        tokens.principal(crafted(header, GOOD, OTHER_RSA_KEY), "testvo", ANONYMOUS)
    assert issuer.fetched in (0, 2)  # the configured documents, and nothing that the token names


def test_extensions_that_must_be_understood_are_refused(tokens: OidcTokens) -> None:
    header = {"alg": "RS256", "kid": "rsa", "crit": ["exp"], "exp": 1}
    with pytest.raises(NotAuthenticated, match="crit"):
        tokens.principal(crafted(header, GOOD), "testvo", ANONYMOUS)


def test_the_public_key_is_no_shared_secret(tokens: OidcTokens) -> None:
    pem = RSA_KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    for secret in (pem, pem.strip(), json.dumps(jwk(RSA_KEY, "rsa")).encode()):
        head = base64.urlsafe_b64encode(json.dumps({"alg": "HS256", "kid": "rsa"}).encode()).decode().rstrip("=")
        body = base64.urlsafe_b64encode(json.dumps(GOOD).encode()).decode().rstrip("=")
        made = hmac.digest(secret, f"{head}.{body}".encode(), "sha256")
        forged = f"{head}.{body}.{base64.urlsafe_b64encode(made).decode().rstrip('=')}"
        with pytest.raises(NotAuthenticated, match="alg"):
            tokens.principal(forged, "testvo", ANONYMOUS)


@pytest.mark.parametrize(
    "claims",
    [
        "[" * 7000 + "]" * 7000,
        '{"a":' * 2000 + "1" + "}" * 2000,
        "[]",
        "7",
        "null",
        '"text"',
        "{",
        json.dumps(GOOD | {"exp": "soon"}),
        json.dumps(GOOD | {"exp": float("inf")}),
        json.dumps(GOOD | {"exp": float("nan")}),
        json.dumps(GOOD | {"exp": [1]}),
        json.dumps(GOOD | {"exp": 10**400}).replace("1" + "0" * 400, "1e400"),
        json.dumps(GOOD | {"sub": ["s"]}),
        json.dumps(GOOD | {"sub": None}),
        json.dumps(GOOD | {"aud": {"client-1": 1}}),
        json.dumps(GOOD | {"aud": []}),
        json.dumps(GOOD | {"iss": ["https://iam.example.org/"]}),
        json.dumps(GOOD | {"groups": {"testvo": 1}}),
        json.dumps(GOOD | {"groups": [["testvo"]]}),
    ],
)
def test_claims_of_odd_shapes_are_refused(tokens: OidcTokens, claims: str) -> None:
    """Even where the issuer itself has signed them."""
    with pytest.raises(NotAuthenticated):
        tokens.principal(crafted({"alg": "RS256", "kid": "rsa"}, claims), "testvo", ANONYMOUS)


def test_the_crafted_tokens_are_good_but_for_what_is_odd(tokens: OidcTokens) -> None:
    assert tokens.principal(crafted({"alg": "RS256", "kid": "rsa"}, GOOD), "testvo", ANONYMOUS).name == "s"


def test_a_short_key_of_an_issuer_does_not_count(tokens: OidcTokens, issuer: Issuer) -> None:
    short = rsa.generate_private_key(65537, 1024)
    issuer.documents["https://iam.example.org/jwk"]["keys"] = [jwk(short, "rsa")]
    with pytest.raises(NotAuthenticated, match="1024 bits"):
        tokens.principal(crafted({"alg": "RS256", "kid": "rsa"}, GOOD, short), "testvo", ANONYMOUS)
