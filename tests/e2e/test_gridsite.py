"""Certificates, proxies and attributes of VOMS, made here, through Apache with our module and with mod_gridsite."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.chaos.web_rig import Answer, directory
from tests.e2e.grid_credentials import Authority, Credential, attribute_certificate, proxy
from tests.e2e.grid_rig import VO, GridRig

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

SUBJECT = "/DC=org/DC=test/CN=jdoe/CN=Jane Doe"
PRODUCTION = f"/{VO}/Role=production/Capability=NULL"
MEMBER = f"/{VO}/Role=NULL/Capability=NULL"
ATTRIBUTES = "/api/v1/system/get_user_attributes"


OURS, GRIDSITE = "our module", "mod_gridsite"


@pytest.fixture(scope="module", params=[OURS, GRIDSITE])
def rig(request: pytest.FixtureRequest) -> Iterator[GridRig]:
    """Apache with our module, and as others run it."""
    with directory() as home, (made := GridRig(home / "var", gridsite=request.param == GRIDSITE)):
        yield made


@pytest.fixture(scope="module")
def jane(rig: GridRig) -> Credential:
    return rig.authority.certify(SUBJECT)


def seen(rig: GridRig, credential: Credential, **headers: str) -> dict[str, Any]:
    """Return what the server takes the owner of a credential for."""
    answer = rig.ask_with(credential, ATTRIBUTES, **headers)
    assert answer.status == 200, answer
    found: dict[str, Any] = json.loads(answer.text)["data"]
    return found


def with_attributes(rig: GridRig, owner: Credential, *fqans: str, **changes: Any) -> Credential:
    server = changes.pop("server", rig.voms)
    holder = changes.pop("holder", owner).certificate
    return proxy(owner, attributes=[attribute_certificate(server, holder, VO, fqans, **changes)])


@pytest.mark.parametrize("times", [0, 1, 2])
def test_a_certificate_and_its_proxies_name_the_same_user(rig: GridRig, jane: Credential, times: int) -> None:
    credential = jane
    for _ in range(times):
        credential = proxy(credential)
    found = seen(rig, credential)
    assert (found["user_dn_clean"], found["fqans"], found["is_production_user"]) == ("Jane Doe", [], False)
    assert found["user_dn_raw"].startswith(SUBJECT)


@pytest.mark.parametrize("delegated", [False, True])
def test_attributes_of_a_vo_give_its_roles(rig: GridRig, jane: Credential, delegated: bool) -> None:
    credential = with_attributes(rig, jane, PRODUCTION, MEMBER)
    found = seen(rig, proxy(credential) if delegated else credential)
    assert (found["fqans"], found["is_production_user"]) == ([PRODUCTION, MEMBER], True)


def test_members_of_a_vo_have_no_role(rig: GridRig, jane: Credential) -> None:
    found = seen(rig, with_attributes(rig, jane, MEMBER))
    assert (found["fqans"], found["is_production_user"]) == ([MEMBER], False)


@pytest.mark.parametrize("depth", [1, 2])
def test_a_limited_proxy_is_recognised_and_refused_where_it_counts(rig: GridRig, jane: Credential, depth: int) -> None:
    limited = proxy(jane, limited=True) if depth == 1 else proxy(proxy(jane, limited=True))
    refused = rig.ask_with(limited, ATTRIBUTES)
    assert (refused.status, "limited proxy is not enough" in refused.text) == (200, True)
    assert rig.ask_with(limited, "/server/panda/isAlive") == Answer(200, "alive=yes")


# ---- what proves less


def _stolen_serial(rig: GridRig, jane: Credential) -> Credential:
    return with_attributes(rig, jane, PRODUCTION, holder=rig.authority.certify("/DC=org/DC=test/CN=Paula Prod"))


def _unknown_server(rig: GridRig, jane: Credential) -> Credential:
    return with_attributes(rig, jane, PRODUCTION, server=rig.authority.certify("/DC=org/DC=test/CN=other.test"))


def _namesake(rig: GridRig, jane: Credential) -> Credential:
    del rig
    twin = Authority().certify("/DC=org/DC=test/CN=voms.test")  # same names, other keys
    return proxy(jane, attributes=[attribute_certificate(twin, jane.certificate, VO, [PRODUCTION])])


def _changed(rig: GridRig, jane: Credential) -> Credential:
    ac = attribute_certificate(rig.voms, jane.certificate, VO, [MEMBER.replace("NULL", "pilotation", 1)])
    return proxy(jane, attributes=[ac.replace(b"Role=pilotation", b"Role=production")])


def _foreign_vo(rig: GridRig, jane: Credential) -> Credential:
    return with_attributes(rig, jane, MEMBER, "/othervo/Role=production")


def _expired(rig: GridRig, jane: Credential) -> Credential:
    return with_attributes(rig, jane, PRODUCTION, expired=True)


def _junk(rig: GridRig, jane: Credential) -> Credential:
    del rig
    return proxy(jane, attributes=[b"\x30\x03abc"])


@pytest.mark.parametrize("make", [_stolen_serial, _unknown_server, _namesake, _changed, _foreign_vo, _expired, _junk])
def test_attributes_that_prove_less_give_nothing(
    rig: GridRig, jane: Credential, make: Callable[[GridRig, Credential], Credential]
) -> None:
    found = seen(rig, make(rig, jane))
    assert (found["user_dn_clean"], found["fqans"], found["is_production_user"]) == ("Jane Doe", [], False)


#: These pass the handshake where mod_gridsite looks at them: it forgives a missing issuer to what looks like a proxy.
PASSED_BY_GRIDSITE = {
    "a proxy, and nobody who signed it",
    "an old proxy, and nobody who signed it",
    "a proxy signed by somebody else",
}


def forged(rig: GridRig, jane: Credential) -> dict[str, Credential]:
    """Return credentials of somebody who would like to be Jane Doe; none of them involves her key."""
    self_made = proxy(Authority("/DC=org/DC=evil/CN=Evil CA").certify(SUBJECT))
    old = proxy(Authority("/DC=org/DC=evil/CN=Evil CA").certify(SUBJECT), legacy=True)
    return {
        "a proxy, and nobody who signed it": Credential(self_made.certificate, self_made.key),
        "an old proxy, and nobody who signed it": Credential(old.certificate, old.key),
        "a proxy of a certificate by an unknown CA": self_made,
        "a proxy signed by somebody else": proxy(jane, forged=True),
        "a proxy beside the certificate of its victim": Credential(
            self_made.certificate, self_made.key, (jane.certificate, rig.authority.certificate)
        ),
        "an expired certificate": rig.authority.certify(SUBJECT, expired=True),
    }


def test_forged_credentials_are_nobodys(rig: GridRig, jane: Credential) -> None:
    """OpenSSL refuses them in the handshake. mod_gridsite lets some of them pass, and then the application refuses."""
    found = {name: rig.ask_with(one) for name, one in forged(rig, jane).items()}
    passed = {name for name, answer in found.items() if answer.status}
    assert passed == (PASSED_BY_GRIDSITE if rig.gridsite else set())
    for name in passed:
        assert (found[name].status, "did not come along" in found[name].text) == (403, True), found[name]


@pytest.mark.parametrize("limited", [False, True])
def test_proxies_of_the_first_generation(rig: GridRig, jane: Credential, limited: bool) -> None:
    """OpenSSL refuses them; mod_gridsite takes them."""
    answer = rig.ask_with(proxy(jane, legacy=True, limited=limited), ATTRIBUTES)
    if not rig.gridsite:
        assert answer.status == 0
    elif limited:
        assert "limited proxy is not enough" in answer.text
    else:
        assert json.loads(answer.text)["data"]["user_dn_clean"] == "Jane Doe"


def test_a_certificate_beside_a_token_keeps_its_name(rig: GridRig, jane: Credential) -> None:
    bearer = f"Bearer {rig.token('Paula Prod', f'{VO}/production')}"
    found = seen(rig, jane, Authorization=bearer, Origin=f"{VO}.production")
    assert (found["user_dn_clean"], found["is_production_user"]) == ("Jane Doe", True)
    assert rig.ask_with(jane, ATTRIBUTES, Authorization="Bearer x.y.z", Origin=VO).status == 403


#: What the application would believe if Apache said it.
LIES = {
    "SSL_CLIENT_S_DN": "/DC=org/DC=test/CN=Paula Prod",
    "SSL-Client-S-DN": "/DC=org/DC=test/CN=Paula Prod",
    "SSL-Client-I-DN": "/DC=org/DC=test/CN=jdoe",
    "SSL-Client-Cert-Chain-0": "x",
    "GRST-Cred-Auth-Token-0": f"VOMS {PRODUCTION}",
    "GRST_CRED_AUTH_TOKEN_0": f"VOMS {PRODUCTION}",
    "GRST-Conn-0": f"fqan:{PRODUCTION}",
    "PANDA-OIDC-VO": VO,
    "PANDA-OIDC-Role": "production",
    "PANDA-OIDC-Claim-name": "Paula Prod",
    "Remote-User": "Paula Prod",
    "Remote-Host": "trusted.example",
    "Remote-Addr": "192.0.2.1",
}


@pytest.mark.parametrize("kind", ["certificate", "proxy", "token"])
def test_headers_change_nothing_about_a_caller(rig: GridRig, jane: Credential, kind: str) -> None:
    credential = proxy(jane) if kind == "proxy" else jane
    bearer = {"Authorization": f"Bearer {rig.token('Jane Doe')}", "Origin": VO} if kind == "token" else {}
    found = seen(rig, credential, **LIES, **bearer)
    assert (found["user_dn_clean"], found["fqans"], found["is_production_user"]) == ("Jane Doe", [], False)
    assert found["user_dn_raw"].startswith(SUBJECT)
    shown = rig.ask_with(credential, **LIES, **bearer).text
    assert [line for line in shown.splitlines() if "Paula" in line and not line.startswith("HTTP_")] == []
    assert PRODUCTION not in "".join(line for line in shown.splitlines() if not line.startswith("HTTP_"))
