"""``panda-admin token inspect``: why a token is accepted or not, check by check."""

from __future__ import annotations

import base64
import json
import os
import sys
from datetime import UTC, datetime
from typing import Any, Final

import click

from pandaserver.config.panda_config import load
from pandaserver.server.web_services import make_tokens
from pandaserver.srvcore.errors import ExternalError, NotAuthenticated
from pandaserver.srvcore.principal import Principal
from pandaserver.srvcore.token_decisions import CHECKS

#: Exit codes besides 0: the token is refused; nobody can say, because its issuer does not answer.
REFUSED: Final = 1
UNDECIDED: Final = 3

_TIMES: Final = ("exp", "nbf", "iat")


@click.command()
@click.argument("token")
@click.option("--origin", default="", help="Header Origin of the request: VO, VO.ROLE or VO:ROLE.")
def inspect(token: str, origin: str) -> None:
    """Tell whether this server accepts TOKEN, check by check, and whom it names. TOKEN - is read from standard input.

    It asks the issuer as the server does. Exit code 0: accepted, 1: refused, 3: the issuer does not answer.
    The signature is never printed.
    """
    text = (sys.stdin.read() if token == "-" else token).strip()
    config = load(os.environ)
    config.require("server")
    tokens = make_tokens(config.server)
    if tokens is None:
        raise click.ClickException("token_authType is None: this server looks at no token")
    for name, part in zip(("header", "claims"), text.split(".")[:2], strict=False):
        click.echo(f"{name}: {_readable(part)}")
    passed: list[str] = []

    def note(check: str, fact: str) -> None:
        passed.append(check)
        click.echo(f"ok      {check:<10} {fact}")

    try:
        principal = tokens.examine(text, origin.strip(), note)
    except NotAuthenticated as error:
        culprit = str(error.details.get("check", "format"))
        _tell_rest(culprit, passed, f"{error.message}; it must be that {CHECKS[culprit]}", "FAILED")
        click.echo("refused")
        raise SystemExit(REFUSED) from error
    except ExternalError as error:
        _tell_rest("key", passed, error.message, "UNKNOWN")
        click.echo("undecided: requests with this token are answered 503")
        raise SystemExit(UNDECIDED) from error
    _tell_owner(principal)


def _tell_rest(culprit: str, passed: list[str], message: str, outcome: str) -> None:
    before = list(CHECKS).index(culprit)
    for number, (check, meaning) in enumerate(CHECKS.items()):
        if check == culprit:
            click.echo(f"{outcome:<7} {check:<10} {message}")
        elif check not in passed:
            click.echo(f"{'ok' if number < before else '-':<7} {check:<10} {meaning}")


def _tell_owner(principal: Principal) -> None:
    click.echo(f"accepted: {principal.name}")
    roles = {"production role": principal.has_production_role, "pilot role": principal.has_pilot_role}
    facts: dict[str, Any] = {"dn": principal.dn, "vo": principal.vo, "attributes": " ".join(principal.fqans) or "none"}
    for name, value in (facts | {name: "yes" if has else "no" for name, has in roles.items()}).items():
        click.echo(f"        {name}: {value}")


def _readable(part: str) -> str:
    """Return a part of the token as JSON with readable times; a terminal sees no control characters of it."""
    try:
        content = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        for name in _TIMES if isinstance(content, dict) else ():
            if isinstance(content.get(name), int | float):
                content[name] = f"{content[name]} ({datetime.fromtimestamp(content[name], UTC):%Y-%m-%d %H:%M:%S} UTC)"
        return json.dumps(content)[:4000]
    except (ValueError, OverflowError, OSError, RecursionError):
        return "cannot be read"
