"""``panda-admin check-config``: all mistakes of the configuration at once, before they meet a user."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import click

from pandaserver.config.finding import Severity
from pandaserver.config.imports import missing_modules, unusable_plugins
from pandaserver.config.panda_config import PandaConfig, load
from pandaserver.config.text import settings_of, text_of


@click.command("check-config")
@click.option("--show", is_flag=True, help="Print each value and where it comes from; secrets are masked.")
@click.option(
    "--directory",
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    help="Read the files of this directory only.",
)
def check_config(show: bool, directory: Path | None) -> None:
    """Report every mistake of panda_server.cfg and panda_common.cfg. Exit code 1 if one prevents a start."""
    config = load(os.environ, None if directory is None else [directory])
    for file in config.files:
        click.echo(f"read {file}")
    if show:
        for line in shown(config):
            click.echo(line)
    findings = [*config.findings, *unusable_plugins(config), *missing_modules(config)]
    for finding in findings:
        click.echo(str(finding), err=True)
    count = Counter(finding.severity for finding in findings)
    click.echo(f"errors={count[Severity.error]} warnings={count[Severity.warning]} notes={count[Severity.note]}")
    sys.exit(1 if count[Severity.error] else 0)


def shown(config: PandaConfig) -> Iterator[str]:
    """Return a line for each setting: its value and its source."""
    for settings in (config.server, config.daemon, config.logger):
        yield f"[{settings.SECTION}]"
        for key, about, value in settings_of(settings):
            source = config.sources.get((settings.SECTION, key), "default")
            yield f"{key} = {text_of(value, about)}    # {source}"
    yield "[log_level]"
    for logger, level in config.logger.levels.items():
        yield f"{logger} = {level}    # {config.sources['log_level', logger]}"
