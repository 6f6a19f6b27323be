"""An issuer of tokens, its keys, and tokens of all kinds."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from pandaserver.srvcore.oidc_keys import IssuerKeys
from pandaserver.srvcore.oidc_utils import OidcTokens

LOG = logging.getLogger("tests.oidc")
RSA_KEY = rsa.generate_private_key(65537, 2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
OTHER_RSA_KEY = rsa.generate_private_key(65537, 2048)
DISCOVERY = "https://iam.example.org/.well-known/openid-configuration"

CONTENT = {
    "audience": "https://iam.example.org/testvo",
    "client_id": "client-1",
    "client_secret": None,
    "oidc_config_url": DISCOVERY,
    "vo": "testvo",
    "secondary_ids": ["client-2"],
    "robot_ids": "robot-1,robot-2",
}


def jwk(key: Any, kid: str) -> dict[str, Any]:
    algorithm = jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
    return {**json.loads(algorithm.to_jwk(key.public_key())), "kid": kid}


class Issuer:
    """Serves a discovery document and a key set, counting how often."""

    def __init__(self) -> None:
        self.documents: dict[str, Any] = {
            DISCOVERY: {"issuer": "https://iam.example.org/", "jwks_uri": "https://iam.example.org/jwk"},
            "https://iam.example.org/jwk": {"keys": [jwk(RSA_KEY, "rsa"), jwk(EC_KEY, "ec"), "junk", {"kty": "oct"}]},
        }
        self.fetched = 0
        self.down = False
        self.now = 1000.0

    def fetch(self, url: str) -> Any:
        self.fetched += 1
        if self.down:
            raise OSError("no route to host")
        return self.documents[url]


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    write(tmp_path, "testvo")
    write(tmp_path, "testvo.production", vo="testvo.production")
    return tmp_path


def write(directory: Path, name: str, **changes: Any) -> None:
    (directory / f"{name}_auth_config.json").write_text(json.dumps(CONTENT | changes))


@pytest.fixture
def tokens(directory: Path, issuer: Issuer) -> OidcTokens:
    return OidcTokens(directory, LOG, keys=IssuerKeys(issuer.fetch, lambda: issuer.now))


def token(key: Any = RSA_KEY, kid: str | None = "rsa", algorithm: str = "RS256", **claims: Any) -> str:
    standard = {
        "aud": "client-1",
        "sub": "subject-1",
        "iss": "https://iam.example.org/",
        "exp": time.time() + 24 * 3600,
        "name": "jane DOE",
        "preferred_username": "jdoe",
        "groups": ["testvo", "testvo/production"],
    }
    given = {name: value for name, value in (standard | claims).items() if value is not None}
    return jwt.encode(given, key, algorithm, headers={"kid": kid} if kid else {})
