"""Which tokens count, and whom they name."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from pandaserver.srvcore.errors import NotAuthenticated
from pandaserver.srvcore.oidc_config import load_auth_config, split_vo
from pandaserver.srvcore.oidc_keys import IssuerKeys, fetch_json
from pandaserver.srvcore.oidc_utils import OidcTokens
from pandaserver.srvcore.principal import ANONYMOUS, Principal

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
        "exp": time.time() + 300,
        "name": "jane DOE",
        "preferred_username": "jdoe",
        "groups": ["testvo", "testvo/production"],
    }
    given = {name: value for name, value in (standard | claims).items() if value is not None}
    return jwt.encode(given, key, algorithm, headers={"kid": kid} if kid else {})


def test_a_token_names_its_owner(tokens: OidcTokens) -> None:
    principal = tokens.principal(token(), "testvo", ANONYMOUS)
    assert (principal.dn, principal.name, principal.vo) == ("Jane Doe/CN=nickname:jdoe", "Jane Doe", "testvo")
    assert not principal.has_production_role


@pytest.mark.parametrize("origin", ["testvo.production", "testvo:production"])
def test_an_origin_with_a_role_gives_the_role(tokens: OidcTokens, origin: str) -> None:
    principal = tokens.principal(token(), origin, ANONYMOUS)
    assert principal.fqans == ("/testvo/Role=production",)
    assert principal.has_production_role


@pytest.mark.parametrize("origin", ["", "https://browser.example"])
def test_without_a_vo_the_configured_one_is_meant(tokens: OidcTokens, origin: str) -> None:
    assert tokens.principal(token(), origin, ANONYMOUS).vo == "testvo"


@pytest.mark.parametrize("audience", ["client-1", "client-2", "https://iam.example.org/testvo", ["x", "client-1"]])
def test_the_audience_may_be_any_of_ours(tokens: OidcTokens, audience: Any) -> None:
    assert tokens.principal(token(aud=audience, client_id="client-1"), "testvo", ANONYMOUS).name == "Jane Doe"


def test_a_key_of_a_curve_signs_with_its_own_algorithm(tokens: OidcTokens) -> None:
    assert tokens.principal(token(EC_KEY, "ec", "ES256"), "testvo", ANONYMOUS).name == "Jane Doe"


def test_an_issuer_without_its_slash_is_the_same(tokens: OidcTokens) -> None:
    assert tokens.principal(token(iss="https://iam.example.org"), "testvo", ANONYMOUS).name == "Jane Doe"


@pytest.mark.parametrize("groups", [["/testvo/production"], "testvo/production"])
def test_groups_may_begin_with_a_slash_or_be_one(tokens: OidcTokens, groups: Any) -> None:
    assert tokens.principal(token(groups=groups), "testvo.production", ANONYMOUS).has_production_role


def test_a_token_without_a_name_has_its_subject(tokens: OidcTokens) -> None:
    assert tokens.principal(token(name=None), "testvo", ANONYMOUS).dn == "subject-1"


def test_a_slash_in_a_name_begins_no_other_name(tokens: OidcTokens) -> None:
    principal = tokens.principal(token(name="eve/CN=Prod Boss"), "testvo", ANONYMOUS)
    assert principal.dn == "Eve Cn=prod Boss/CN=nickname:jdoe"


def test_scopes_give_roles_of_the_tokens_own_vo_only(tokens: OidcTokens) -> None:
    scope = "openid role:/testvo/Role=pilot role:/othervo/Role=production role:/testvoX/Role=production"
    principal = tokens.principal(token(scope=scope), "testvo", ANONYMOUS)
    assert principal.fqans == ("/testvo/Role=pilot",)
    assert ("GRST_CRED_AUTH_TOKEN_0", "VOMS /testvo/Role=pilot") in principal.credentials


def test_a_certificate_beside_a_token_keeps_its_name(tokens: OidcTokens) -> None:
    certificate = Principal.of("/DC=org/CN=Cert Owner", ["/a/Role=NULL"])
    principal = tokens.principal(token(), "testvo.production", certificate)
    assert (principal.name, principal.fqans) == ("Cert Owner", ("/a/Role=NULL", "/testvo/Role=production"))


def test_a_robot_gets_the_group_and_the_name_that_it_lacks(tokens: OidcTokens) -> None:
    robot = token(client_id="robot-2", aud="https://iam.example.org/testvo", name=None, preferred_username=None,
                  groups=None)  # fmt: skip
    principal = tokens.principal(robot, "testvo.production", ANONYMOUS)
    assert (principal.name, principal.has_production_role) == ("Robot Production", True)


def test_another_client_gets_nothing_that_it_lacks(tokens: OidcTokens) -> None:
    with pytest.raises(NotAuthenticated, match="not in group testvo/production"):
        tokens.principal(token(groups=None), "testvo.production", ANONYMOUS)


@pytest.mark.parametrize(
    ("bad", "origin", "reason"),
    [
        (token(exp=1), "testvo", "expired"),
        (token(exp=None), "testvo", "exp"),
        (token(nbf=time.time() + 900), "testvo", "not yet valid"),
        (token(iss="https://evil.example"), "testvo", "issuer"),
        (token(aud="somebody"), "testvo", "unknown client"),
        (token(aud="somebody", client_id="client-1"), "testvo", "udience"),
        (token(aud="somebody", sub="client-1"), "testvo", "udience"),
        (token(OTHER_RSA_KEY), "testvo", "ignature"),
        (token(EC_KEY, "rsa", "ES256"), "testvo", "alg"),
        (token("x" * 64, "rsa", "HS256"), "testvo", "alg"),
        (token(None, "rsa", "none"), "testvo", "alg|ignature"),
        (token(kid="other"), "testvo", "no key 'other'"),
        (token(kid=None), "testvo", "kid"),
        (token(groups=["othervo"]), "testvo", "no group of VO testvo"),
        (token(groups=["testvo"]), "testvo.production", "not in group testvo/production"),
        (token(), "strangevo", "unknown VO 'strangevo'"),
        (token(), "testvo.admin", "not in group testvo/admin"),
        ("not.a.token", "testvo", "cannot be read"),
        ("x", "testvo", "cannot be read"),
        ("", "testvo", "cannot be read"),
        ("e" * 20_000, "testvo", "longer than"),
        ("\N{SNOWMAN}.a.b", "testvo", "cannot be read"),
    ],
)
def test_a_token_that_proves_less_is_refused(tokens: OidcTokens, bad: str, origin: str, reason: str) -> None:
    with pytest.raises(NotAuthenticated, match=reason):
        tokens.principal(bad, origin, ANONYMOUS)


# ---- what is remembered ----------------------------------------------------------------------------------------------


def test_documents_of_an_issuer_serve_ten_minutes(tokens: OidcTokens, issuer: Issuer) -> None:
    for n in range(3):
        tokens.principal(token(jti=str(n)), "testvo", ANONYMOUS)
    assert issuer.fetched == 2
    issuer.now += 601
    tokens.principal(token(jti="later"), "testvo", ANONYMOUS)
    assert issuer.fetched == 4


def test_a_new_key_of_an_issuer_is_found(tokens: OidcTokens, issuer: Issuer) -> None:
    tokens.principal(token(), "testvo", ANONYMOUS)
    issuer.documents["https://iam.example.org/jwk"]["keys"].append(jwk(OTHER_RSA_KEY, "new"))
    issuer.now += 31
    assert tokens.principal(token(OTHER_RSA_KEY, "new"), "testvo", ANONYMOUS).name == "Jane Doe"


def test_a_silent_issuer_leaves_its_old_keys_in_force(tokens: OidcTokens, issuer: Issuer) -> None:
    tokens.principal(token(), "testvo", ANONYMOUS)
    issuer.down = True
    issuer.now += 601
    assert tokens.principal(token(jti="2"), "testvo", ANONYMOUS).name == "Jane Doe"


def test_a_silent_issuer_is_not_asked_by_every_request(tokens: OidcTokens, issuer: Issuer) -> None:
    issuer.down = True
    for _ in range(3):
        with pytest.raises(NotAuthenticated, match="no route to host"):
            tokens.principal(token(), "testvo", ANONYMOUS)
    assert issuer.fetched == 1


def test_a_decision_does_not_outlive_its_token(directory: Path, issuer: Issuer) -> None:
    now = [time.time()]
    tokens = OidcTokens(directory, LOG, keys=IssuerKeys(issuer.fetch), clock=lambda: now[0])
    short = token(exp=time.time() - 5)  # within the leeway
    tokens.principal(short, "testvo", ANONYMOUS)
    assert not [until for until, _ in tokens._decisions.values() if until > now[0]]


def test_a_decision_is_made_once(tokens: OidcTokens, monkeypatch: pytest.MonkeyPatch) -> None:
    same = token()
    first = tokens.principal(same, "testvo", ANONYMOUS)
    monkeypatch.setattr(tokens, "_decide", None)
    assert tokens.principal(same, "testvo", ANONYMOUS) is first


# ---- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("testvo", ("testvo", None)),
        ("testvo.production", ("testvo", "production")),
        ("testvo:production", ("testvo", "production")),
        ("vo.example.org", ("vo.example.org", None)),
        ("vo.example.org:pilot", ("vo.example.org", "pilot")),
        ("a.b.pilot", ("a.b", "pilot")),
    ],
)
def test_a_name_splits_into_vo_and_role(name: str, expected: tuple[str, str | None]) -> None:
    assert split_vo(name) == expected


@pytest.mark.parametrize("content", ["{", "[]", '{"vo": "x"}', json.dumps(CONTENT | {"secondary_ids": 5})])
def test_a_bad_file_is_skipped_and_logged(directory: Path, content: str, caplog: pytest.LogCaptureFixture) -> None:
    (directory / "bad_auth_config.json").write_text(content)
    assert {client.vo for client in load_auth_config(directory, None, LOG).clients} == {"testvo"}
    assert "bad_auth_config.json is skipped" in caplog.text


def test_a_policy_file_says_which_groups_count(directory: Path, issuer: Issuer, tmp_path: Path) -> None:
    policies = tmp_path / "policies.json"
    policies.write_text(json.dumps({"testvo": [["staff", {"group": "user", "role": "user"}]]}))
    tokens = OidcTokens(directory, LOG, policy_file=policies, keys=IssuerKeys(issuer.fetch))
    assert tokens.principal(token(groups=["staff"]), "testvo", ANONYMOUS).vo == "testvo"
    with pytest.raises(NotAuthenticated):
        tokens.principal(token(groups=["testvo"]), "testvo", ANONYMOUS)


def test_the_profile_names_the_claim_with_the_groups(directory: Path, issuer: Issuer) -> None:
    write(directory, "testvo", jwt_profile="wlcg")
    tokens = OidcTokens(directory, LOG, keys=IssuerKeys(issuer.fetch))
    with_groups: Callable[[], str] = lambda: token(groups=None, **{"wlcg.groups": ["/testvo"]})  # noqa: E731
    assert tokens.principal(with_groups(), "testvo", ANONYMOUS).vo == "testvo"


@pytest.mark.parametrize("url", ["http://iam.example.org/x", "ftp://x/y", "http://127.0.0.1.evil.example/"])
def test_keys_come_over_https_only(url: str) -> None:
    with pytest.raises(ValueError, match="must be https"):
        fetch_json(url)


def test_a_development_issuer_may_be_a_file(tmp_path: Path) -> None:
    (tmp_path / "doc.json").write_text('{"issuer": "x"}')
    assert fetch_json((tmp_path / "doc.json").as_uri()) == {"issuer": "x"}
