"""``panda-admin config-diff``: what an upgrade brought that your files do not have."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from pandaserver.deployment.news import news


@click.command("config-diff")
@click.option(
    "--directory",
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    default=Path(sys.prefix, "etc", "panda"),
    help="Where your files and the .rpmnew lie.  [default: etc/panda of this environment]",
)
def config_diff(directory: Path) -> None:
    """Compare your configuration with the .rpmnew beside it. Exit code 1 if there is something new."""
    lines = list(news(directory))
    for line in lines:
        click.echo(line)
    click.echo(f"news={len(lines)}", err=True)
    sys.exit(1 if lines else 0)
