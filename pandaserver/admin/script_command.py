"""``panda-admin script``: run one script of the daemon once, by hand."""

from __future__ import annotations

import importlib.util
import os
import sys
from dataclasses import replace

import click

from pandacommon.pandalogger.PandaLogger import PandaLogger
from pandacommon.pandautils.thread_utils import LockPool
from pandaserver.config.panda_config import PandaConfig, connection_settings, load, operation_settings
from pandaserver.config.values import DaemonSpec
from pandaserver.daemons.locations import lock_directory
from pandaserver.daemons.script_run import run_script
from pandaserver.srvcore.errors import PandaError
from pandaserver.taskbuffer.local_bridge import LocalBridge
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("name")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def script(name: str, arguments: tuple[str, ...]) -> None:
    """Run a daemon script once, whatever its schedule: NAME is a daemon of the configuration, or a module.

    ARGUMENTS replace those of the configuration. A run by hand does not exclude one by the daemon.
    """
    config = load(os.environ)
    config.require("server", "daemon", "logger")
    PandaLogger.configure(config.logger)
    spec = wanted(config, name, arguments)
    if not _exists(spec.module):
        raise click.UsageError(f"there is neither a daemon {name} in the configuration nor a module {spec.module}")
    tbuf = TaskBuffer(LocalBridge(connection_settings(config.server), operation_settings(config.server)))
    try:
        run_script(spec, tbuf, LockPool(lock_directory(os.environ, config.logger)))
    except PandaError as error:
        click.echo(f"{name} failed: {error}", err=True)
        sys.exit(1)
    finally:
        tbuf.close()


def wanted(config: PandaConfig, name: str, arguments: tuple[str, ...]) -> DaemonSpec:
    """Return what to run: the daemon of that name, or the module in the package of daemon scripts."""
    package = config.daemon.package or "pandaserver.daemons.scripts"
    known = {spec.name: spec for spec in config.daemon.daemons}
    spec = known.get(name) or DaemonSpec(name, f"{package}.{name}", period=1)
    return replace(spec, loop=False, arguments=arguments or spec.arguments)


def _exists(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # not even its package
        return False
