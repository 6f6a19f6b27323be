"""Which tokens count, and whom they name."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from pandaserver.srvcore import token_decisions
from pandaserver.srvcore.errors import NotAuthenticated
from pandaserver.srvcore.oidc_config import load_auth_config, split_vo
from pandaserver.srvcore.oidc_keys import IssuerKeys
from pandaserver.srvcore.oidc_utils import OidcTokens
from pandaserver.srvcore.principal import ANONYMOUS, Principal
from tests.unit.oidc_fixture import (
    CONTENT,
    EC_KEY,
    LOG,
    OTHER_RSA_KEY,
    Issuer,
    directory,
    issuer,
    token,
    tokens,
    write,
)

__all__ = ["directory", "issuer", "tokens"]


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


def test_an_issuer_does_not_speak_for_another_vo(directory: Path, issuer: Issuer) -> None:
    write(directory, "othervo.production", client_id="client-3", secondary_ids=[], audience="x", robot_ids=[])
    tokens = OidcTokens(directory, LOG, keys=IssuerKeys(issuer.fetch))
    for bad in (token(groups=["othervo/production"]), token(client_id="robot-1", groups=None)):
        with pytest.raises(NotAuthenticated, match="VO othervo has clients of its own"):
            tokens.principal(bad, "othervo.production", ANONYMOUS)


def test_a_vo_of_the_policy_file_alone_is_served_by_all_clients(
    directory: Path, issuer: Issuer, tmp_path: Path
) -> None:
    policies = tmp_path / "policies.json"
    policies.write_text(json.dumps({"othervo": [["othervo", {"group": "user", "role": "user"}]]}))
    tokens = OidcTokens(directory, LOG, policy_file=policies, keys=IssuerKeys(issuer.fetch))
    assert tokens.principal(token(groups=["othervo"]), "othervo", ANONYMOUS).vo == "othervo"
    with pytest.raises(NotAuthenticated, match="no group"):  # robots get groups of the VO of their file only
        tokens.principal(token(client_id="robot-1", groups=None), "othervo", ANONYMOUS)


def test_a_robot_of_the_members_file_gets_no_other_role(directory: Path, issuer: Issuer) -> None:
    write(directory, "testvo.production", vo="testvo.production", robot_ids=[])
    tokens = OidcTokens(directory, LOG, keys=IssuerKeys(issuer.fetch))
    robot = token(client_id="robot-1", groups=None, name=None)
    assert tokens.principal(robot, "testvo", ANONYMOUS).name == "Robot Testvo"
    with pytest.raises(NotAuthenticated, match="not in group testvo/production"):
        tokens.principal(robot, "testvo.production", ANONYMOUS)


def test_roles_are_tried_in_the_order_of_the_file(directory: Path, issuer: Issuer) -> None:
    write(directory, "testvo", auto_roles=["pilot", "production"])
    tokens = OidcTokens(directory, LOG, keys=IssuerKeys(issuer.fetch))
    assert tokens.principal(token(), "testvo", ANONYMOUS).fqans == ("/testvo/Role=production",)
    assert tokens.principal(token(groups=["testvo"]), "testvo", ANONYMOUS).fqans == ()


def test_a_vo_with_dots_keeps_them(directory: Path, issuer: Issuer) -> None:
    write(directory, "vo.example.org:pilot", vo="vo.example.org:pilot", client_id="dots")
    tokens = OidcTokens(directory, LOG, keys=IssuerKeys(issuer.fetch))
    given = token(aud="dots", groups=["/vo.example.org/pilot"])
    principal = tokens.principal(given, "vo.example.org:pilot", ANONYMOUS)
    assert (principal.vo, principal.fqans) == ("vo.example.org", ("/vo.example.org/Role=pilot",))


def test_requests_see_the_claims(tokens: OidcTokens) -> None:
    seen = dict(tokens.principal(token(tag=[1, "x"], note="y" * 9999), "testvo.production", ANONYMOUS).credentials)
    assert (seen["PANDA_OIDC_VO"], seen["PANDA_OIDC_GROUP"], seen["PANDA_OIDC_ROLE"]) == (
        "testvo",
        "production",
        "production",
    )
    assert (seen["PANDA_OIDC_CLAIM_tag"], len(seen["PANDA_OIDC_CLAIM_note"])) == ("[1, 'x']", 500)


def test_the_memory_of_decisions_is_bounded(tokens: OidcTokens, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_decisions, "MAX_DECISIONS", 3)
    for n in range(10):
        tokens.principal(token(jti=str(n)), "testvo", ANONYMOUS)
        assert len(tokens._decisions) <= 3


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
    groups: dict[str, Any] = {"wlcg.groups": ["/testvo"]}
    assert tokens.principal(token(groups=None, **groups), "testvo", ANONYMOUS).vo == "testvo"
