"""``panda-admin container``: a server in a container, and whether it lives."""

from __future__ import annotations

import logging
import os
import signal
import sys

import click

from pandacommon.pandalogger.line_format import LineFormatter
from pandaserver.config.panda_config import PandaConfig, load
from pandaserver.deployment import container as server
from pandaserver.deployment.foreground import Foreground

_TIDYING = 30.0  # seconds between two looks at the sizes of logs


@click.group()
def container() -> None:
    """Run a server in a container."""


@container.command()
@click.option("--grace", help="Seconds that requests and scripts have to end.", default=45.0, show_default=True)
@click.option("--max-log", help="Size in MB from which files of logs are put aside.", default=64, show_default=True)
def run(grace: float, max_log: int) -> None:
    """Run Apache and the daemon in the foreground, with their output on stdout.

    TERM and INT stop both, HUP makes both read their configuration again. Exit code 0: stopped, and everything ended
    within the grace period; 1: one of them ended by itself, which stops the other, or had to be killed.
    """
    config = _configuration("server", "daemon", "logger")
    log = _log()
    for file in config.files:
        log.info(f"configuration read file={file}")
    for finding in config.findings:
        log.log(finding.severity.log_level, f"configuration {finding}")
    try:
        files = server.files_of(os.environ)
        services = server.services(config, files)
        with server.prepared(os.environ, config, files):
            if not config.daemon.enable:
                log.info("the daemon is disabled: enable is not True in [daemon]")
            foreground = Foreground(
                services,
                server.environment(os.environ, config),
                log,
                grace=grace,
                every=_TIDYING,
                housekeeping=lambda: server.rotate(config.logger.logdir, max_log),
            )
            code = foreground.run()
    except server.ContainerFailed as failure:
        raise click.ClickException(str(failure)) from failure
    except OSError as error:
        raise click.ClickException(f"a service cannot be started: {error}") from error
    sys.exit(code)


@container.command()
def idle() -> None:
    """Do nothing until TERM or INT, so that an administrator can look around and start the server by hand."""
    ending = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ending)
    click.echo("nothing is started; `panda-admin container run` in this container does it")
    signal.sigwait(ending)


@container.command()
@click.option("--patience", help="Seconds to wait for the web server.", default=8.0, show_default=True)
def alive(patience: float) -> None:
    """Say by the exit code whether web server and daemon live: 0 yes, 1 no. Asks no database."""
    if problem := server.complaint(os.environ, _configuration("server", "daemon", "logger"), patience):
        raise click.ClickException(problem)
    click.echo("alive")


def _configuration(*sections: str) -> PandaConfig:
    config = load(os.environ)
    config.require(*sections)
    return config


def _log() -> logging.Logger:
    log = logging.getLogger("PanDA-Container")
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(LineFormatter())
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)
    log.propagate = False
    return log
