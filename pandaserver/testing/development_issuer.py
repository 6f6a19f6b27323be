"""A token issuer for one development instance: a key, its public half as static files, and tokens on request."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from pandaserver.testing.development_ca import write_private

VO: Final = "testvo"
CLIENT_ID: Final = "panda-development"
LIFETIME: Final = 7 * 86400
_KEY_ID: Final = "development-1"


class DevelopmentIssuer:
    """Signs tokens with the key in ``directory``, created at first use. What it publishes lies in ``public``."""

    def __init__(self, directory: Path, public: Path) -> None:
        self._key_file = directory / "issuer-key.pem"
        self._public = public
        if not self._key_file.exists():
            directory.mkdir(parents=True, exist_ok=True)
            key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
            write_private(self._key_file, _key_text(key))
        self._key = self._key_file.read_bytes()

    @staticmethod
    def exists(directory: Path) -> bool:
        """Say whether there is an issuer in ``directory``."""
        return (directory / "issuer-key.pem").exists()

    @property
    def url(self) -> str:
        """Where the issuer was published last."""
        found = json.loads(self._discovery.read_text())["issuer"]
        return str(found)

    @property
    def _discovery(self) -> Path:
        return self._public / ".well-known" / "openid-configuration"

    def publish(self, url: str) -> None:
        """Write what servers and clients read: discovery, the public key, and how to get a token for the VO."""
        discovery = {
            "issuer": url,
            "jwks_uri": f"{url}/jwks.json",
            "id_token_signing_alg_values_supported": ["RS256"],
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
        }
        entry = {
            "audience": url,
            "client_id": CLIENT_ID,
            "client_secret": None,
            "oidc_config_url": f"{url}/.well-known/openid-configuration",
            "vo": VO,
        }
        key = serialization.load_pem_private_key(self._key, password=None)
        if not isinstance(key, rsa.RSAPrivateKey):
            raise TypeError(f"{self._key_file} holds no RSA key")
        public = RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
        public |= {"kid": _KEY_ID, "use": "sig", "alg": "RS256"}
        self._discovery.parent.mkdir(parents=True, exist_ok=True)
        self._discovery.write_text(json.dumps(discovery, indent=2))
        (self._public / "jwks.json").write_text(json.dumps({"keys": [public]}, indent=2))
        (self._public / f"{VO}_auth_config.json").write_text(json.dumps(entry, indent=2))

    def token(self, name: str, groups: Sequence[str] = (), lifetime: int = LIFETIME) -> str:
        """Return an ID token of the user ``name``, member of the VO and of ``groups`` such as testvo/production."""
        now = int(time.time())
        nickname = "".join(name.lower().split())
        claims = {
            "iss": self.url,
            "aud": CLIENT_ID,
            "sub": nickname,
            "name": name,
            "preferred_username": nickname,
            "groups": [VO, *groups],
            "iat": now,
            "exp": now + lifetime,
        }
        return jwt.encode(claims, self._key, algorithm="RS256", headers={"kid": _KEY_ID})


def _key_text(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
