"""Members of a VO run pilots only where the configuration says so, and even then they make no tokens for them."""

from __future__ import annotations

import logging

import pytest

from pandaserver.server.callers import Callers
from pandaserver.srvcore.principal import Principal

MEMBER = {"SSL_CLIENT_S_DN": "/DC=org/CN=Jane Doe", "GRST_CRED_AUTH_TOKEN_0": "VOMS /atlas/Role=NULL/Capability=NULL"}


def caller(*pilot_vos: str, fqan: str = "/atlas/Role=NULL") -> Principal:
    callers = Callers((), None, frozenset, logging.getLogger("tests.pilot_vos"), pilot_vos=pilot_vos)
    return callers.authenticate(MEMBER | {"GRST_CRED_AUTH_TOKEN_0": f"VOMS {fqan}"})


@pytest.mark.parametrize("fqan", ["/atlas", "/atlas/Role=NULL/Capability=NULL", "/atlas/usatlas/Role=NULL"])
def test_members_of_a_named_vo_run_pilots(fqan: str) -> None:
    principal = caller("osg", "atlas", fqan=fqan)
    assert (principal.may_run_pilots, principal.has_pilot_role, principal.has_production_role) == (True, False, False)


@pytest.mark.parametrize("pilot_vos", [(), ("osg",), ("atl",), ("",)])
def test_other_members_do_not(pilot_vos: tuple[str, ...]) -> None:
    assert not caller(*pilot_vos).may_run_pilots


def test_nobody_without_attributes_does() -> None:
    callers = Callers((), None, frozenset, logging.getLogger("tests.pilot_vos"), pilot_vos=("atlas",))
    assert not callers.authenticate({"SSL_CLIENT_S_DN": "/DC=org/CN=Jane Doe"}).may_run_pilots
    assert not callers.authenticate({}).may_run_pilots
