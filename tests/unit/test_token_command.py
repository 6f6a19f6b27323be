"""``panda-admin token inspect``: what it says about tokens, and what it keeps to itself."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest
from click.testing import CliRunner, Result

from pandaserver.admin import token_command
from pandaserver.admin.main import main
from pandaserver.srvcore.oidc_utils import OidcTokens
from pandaserver.srvcore.token_decisions import CHECKS
from tests.unit.oidc_fixture import OTHER_RSA_KEY, Issuer, directory, issuer, token, tokens

__all__ = ["directory", "issuer", "tokens"]

Inspect = Callable[..., Result]


@pytest.fixture
def inspect(tokens: OidcTokens, monkeypatch: pytest.MonkeyPatch) -> Inspect:
    config = SimpleNamespace(server=None, require=lambda *_: None)
    monkeypatch.setattr(token_command, "load", lambda _: config)
    monkeypatch.setattr(token_command, "make_tokens", lambda _: tokens)

    def run(text: str, origin: str = "", given: str | None = None) -> Result:
        done = CliRunner().invoke(main, ["token", "inspect", text, "--origin", origin], input=given)
        signature = (given or text).rpartition(".")[2]
        assert len(signature) < 20 or signature not in done.output
        return done

    return run


def outcomes(done: Result) -> dict[str, str]:
    """Return the outcome of each check."""
    words = (line.split() for line in done.output.splitlines())
    return {line[1]: line[0] for line in words if len(line) > 1 and line[1] in CHECKS}


def test_a_good_token_passes_every_check(inspect: Inspect) -> None:
    done = inspect(token(), "testvo.production")
    assert (done.exit_code, outcomes(done)) == (0, dict.fromkeys(CHECKS, "ok"))
    assert "accepted: Jane Doe" in done.output
    assert "attributes: /testvo/Role=production" in done.output


def test_a_token_may_come_from_standard_input(inspect: Inspect) -> None:
    assert inspect("-", "testvo", token() + "\n").exit_code == 0


@pytest.mark.parametrize(
    ("bad", "origin", "check"),
    [
        ("rubbish", "testvo", "format"),
        (token(kid=None), "testvo", "format"),
        (token(aud="somebody"), "testvo", "client"),
        (token(), "strangevo", "vo"),
        (token(kid="other"), "testvo", "key"),
        (token(OTHER_RSA_KEY), "testvo", "signature"),
        (token("x" * 64, "rsa", "HS256"), "testvo", "signature"),
        (token(None, "rsa", "none"), "testvo", "signature"),
        (token(exp=None), "testvo", "claims"),
        (token(exp=1), "testvo", "times"),
        (token(nbf=4_000_000_000), "testvo", "times"),
        (token(iss="https://evil.example"), "testvo", "issuer"),
        (token(aud="somebody", client_id="client-1"), "testvo", "audience"),
        (token(groups=["testvo"]), "testvo.production", "groups"),
    ],
)
def test_the_check_that_failed_is_named(inspect: Inspect, bad: str, origin: str, check: str) -> None:
    done = inspect(bad, origin)
    found = outcomes(done)
    assert (done.exit_code, [name for name, outcome in found.items() if outcome == "FAILED"]) == (1, [check])
    before = list(CHECKS)[: list(CHECKS).index(check)]
    assert {name: found[name] for name in before} == dict.fromkeys(before, "ok")


def test_a_silent_issuer_leaves_it_open(inspect: Inspect, issuer: Issuer) -> None:
    issuer.down = True
    done = inspect(token(), "testvo")
    assert (done.exit_code, outcomes(done)["key"], "no route to host" in done.output) == (3, "UNKNOWN", True)


def test_a_server_without_tokens_says_so(inspect: Inspect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_command, "make_tokens", lambda _: None)
    assert "this server looks at no token" in inspect(token()).output


def test_times_are_readable(inspect: Inspect) -> None:
    assert "(2096-10-02 07:06:40 UTC)" in inspect(token(exp=4_000_000_000), "testvo").output
