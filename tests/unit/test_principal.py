"""Names and roles derived from DNs and VOMS attributes."""

from __future__ import annotations

import pytest

from pandaserver.srvcore.principal import ANONYMOUS, Principal, bare_dn, clean_name, first_cn, id_from_dn
from pandaserver.srvcore.x509 import principal_from_environ

JANE = "/DC=ch/DC=example/OU=Users/CN=jdoe/CN=712345/CN=Jane Doe"

NAMES = [
    (JANE, "Jane Doe", JANE),
    (JANE + "/CN=1234567/CN=proxy/CN=proxy", "Jane Doe", JANE + "/CN=1234567/CN=proxy"),
    ("/C=UK/O=X/L=Y/CN=jane doe", "jane doe", None),
    ("/DC=org/C=DE/O=Uni X/CN=Jane Doe jane.doe@uni-x.example", "Jane Doe", None),
    ("/DC=org/DC=cilogon/C=US/O=Lab/CN=Jane Doe A12345", "Jane Doe A12345", None),
    ("/DC=org/OU=People/CN=Jane Doe 123456", "Jane Doe", None),
    ("/DC=org/CN=Robot: jdoe Robot/CN=Jane Doe", "Jane Doe", None),
    ("/O=Grid/CN=jdoe/CN=limited proxy", "jdoe", "/O=Grid/CN=jdoe"),
    ("/DC=a/CN=O'Neil (ops)", "ONeil ops", None),
    ("/C=JP/O=X/CN=DOE Jane/emailAddress=j@x.example", "DOE Jane", None),
    ("/O=Grid/CN=jane_12", "jane", None),
    ("Jane Doe/CN=nickname:jdoe", "Jane Doe", None),
    ("/DC=org/CN=12345", "/DC=org/CN=12345", None),
    ("_4711", "_4711", None),
    ("/CN= ", "/CN= ", None),
    ("", "", None),
    ("no DN at all", "no DN at all", None),
]


@pytest.mark.parametrize(("dn", "name", "bare"), NAMES)
def test_names_are_derived_by_the_old_rules(dn: str, name: str, bare: str | None) -> None:
    assert clean_name(dn) == name
    assert bare_dn(dn) == (dn if bare is None else bare)


def test_other_callers_drop_every_proxy() -> None:
    assert bare_dn(JANE + "/CN=12/CN=proxy", keep_proxy=False, strip_digits=True) == JANE


@pytest.mark.parametrize(("dn", "expected"), [("Jane Doe/CN=nickname:jdoe", "jdoe"), (JANE, JANE)])
def test_the_id_is_the_nickname_if_there_is_one(dn: str, expected: str) -> None:
    assert id_from_dn(dn) == expected


@pytest.mark.parametrize(
    ("dn", "expected"),
    [
        (JANE, "jdoe"),
        ("/O=Grid/CN=jane12/CN=proxy", "jane"),
        ("Jane Doe", "Jane Doe"),
        ("/CN=Jane Doe 5", "Jane Doe "),
        ("/CN=4711/CN=Jane Doe", "4711"),
    ],
)
def test_job_kill_compares_the_first_common_name(dn: str, expected: str) -> None:
    assert first_cn(dn) == expected


@pytest.mark.parametrize(
    ("fqan", "pilot", "production"),
    [
        ("/testvo/Role=production", True, True),
        ("/testvo/Role=production/Capability=NULL", True, True),
        ("/atlas/usatlas/Role=production", True, True),
        ("/testvo/Role=pilot", True, False),
        ("/Engage/LBNE/Role=pilot", True, False),
        ("/testvo/group/Role=production", False, False),
        ("/testvo/group/Role=pilot", False, False),
        ("/testvo/Role=productionist", False, False),
        ("/testvo/Role=NULL", False, False),
        ("/atlas/Role=software", False, False),
        ("x/testvo/Role=production", False, False),
    ],
)
def test_roles_come_from_attributes_of_the_whole_vo(fqan: str, pilot: bool, production: bool) -> None:
    principal = Principal.of("/CN=x", [fqan])
    assert (principal.has_pilot_role, principal.has_production_role) == (pilot, production)


@pytest.mark.parametrize(("known", "expected"), [("CN=Jane", True), ("John", False), ("", False)])
def test_a_configured_name_within_the_dn_has_the_production_role(known: str, expected: bool) -> None:
    assert Principal.of("/DC=org/CN=Jane Doe", production_dns=[known]).has_production_role is expected


def test_nobody_has_a_role_by_a_configured_name() -> None:
    assert not Principal.of("", production_dns=["Jane"]).has_production_role


def test_groups_with_the_production_role_may_be_acted_for() -> None:
    principal = Principal.of("/CN=x", ["/atlas/phys-higgs/Role=production", "/atlas/usatlas/Role=production"])
    assert principal.production_groups == ("phys-higgs", "gr_phys-higgs")
    assert principal.working_group == "higgs"


def test_the_web_servers_variables_name_the_caller() -> None:
    principal = principal_from_environ(
        {
            "SSL_CLIENT_S_DN": JANE,
            "GRST_CRED_0": "X509USER 1700000000 1700043200 1 " + JANE,
            "GRST_CRED_2": "VOMS 1700000000 1700043200 0 /myvo/Role=NULL",
            "GRST_CRED_10": "VOMS /othervo/Role=production",
            "GRST_CONN_3": "fqan:/third/Role=pilot",
            "GRST_CONN_4": "fqan:/fourth:more/Role=pilot",
        }
    )
    assert principal.fqans == ("/third/Role=pilot", "/myvo/Role=NULL", "/othervo/Role=production")
    assert principal.vo == "third"


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"HTTP_SSL_CLIENT_S_DN": JANE, "HTTP_GRST_CRED_0": "VOMS /testvo/Role=production"},
        {"GRST_CRED_0": "VOMS /testvo/Role=production"},
        {"SSL_CLIENT_S_DN": JANE, "SSL_CLIENT_VERIFY": "FAILED:self signed"},
        {"SSL_CLIENT_S_DN": JANE, "SSL_CLIENT_VERIFY": "GENEROUS"},
    ],
)
def test_nothing_but_a_verified_certificate_makes_a_caller(environ: dict[str, str]) -> None:
    assert principal_from_environ(environ) == ANONYMOUS


def test_a_limited_proxy_is_known_as_one() -> None:
    assert principal_from_environ({"SSL_CLIENT_S_DN": JANE + "/CN=limited proxy"}).is_limited
