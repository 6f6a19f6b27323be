"""``panda-admin doctor``: what is wrong with this machine's server, in one look."""

from __future__ import annotations

import json
import os
import sys
from typing import Final

import click

from pandaserver.config.panda_config import load
from pandaserver.health.checks import CHECKS, examine, worst
from pandaserver.health.result import Result, Severity
from pandaserver.health.scene import Scene

#: Exit codes, as monitoring systems expect them.
EXIT_CODES: Final = {Severity.ok: 0, Severity.skipped: 0, Severity.warning: 1, Severity.failure: 2}

_NAMES: Final = click.Choice(list(CHECKS))


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
@click.option("--only", multiple=True, type=_NAMES, help="Make this check only; may be given several times.")
@click.option("--skip", multiple=True, type=_NAMES, help="Leave this check out; may be given several times.")
def doctor(as_json: bool, only: tuple[str, ...], skip: tuple[str, ...]) -> None:
    """Look whether everything that the server of this machine needs is there, and say what to do where it is not.

    Exit code 0: all is well, 1: somebody should look in time, 2: something does not work. Nothing is changed.
    """
    scene = Scene(load(os.environ), os.environ)
    found = examine(scene, [name for name in only or CHECKS if name not in skip])
    severity = worst(found)
    if as_json:
        click.echo(json.dumps(document(found, severity), indent=1))
    else:
        for line in lines(found):
            click.echo(line)
    sys.exit(EXIT_CODES[severity])


def document(found: list[tuple[str, Result]], severity: Severity) -> dict[str, object]:
    """Return what programs read."""
    checks = [
        {"name": name, "severity": result.severity.name, "message": result.message, "remedy": result.remedy}
        for name, result in found
    ]
    return {"severity": severity.name, "checks": checks}


def lines(found: list[tuple[str, Result]]) -> list[str]:
    """Return what people read."""
    text = []
    for name, result in found:
        label = result.severity.name.upper() if result.severity >= Severity.warning else result.severity.name
        text.append(f"{label:8} {name:14} {result.message}")
        if result.remedy:
            text.append(f"{'':8} {'':14} -> {result.remedy}")
    return text
