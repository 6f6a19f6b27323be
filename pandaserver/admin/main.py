"""``panda-admin``: the commands of an administrator, each imported only when it is used."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any, Final

import click

from pandaserver.config.finding import ConfigurationError

#: Command -> where its implementation is.
COMMANDS: Final[dict[str, str]] = {
    "schema": "pandaserver.admin.schema_command:schema",
    "check-config": "pandaserver.admin.config_command:check_config",
    "queue": "pandaserver.admin.site_command:queue",
    "share": "pandaserver.admin.share_command:share",
    "resource-type": "pandaserver.admin.site_command:resource_type",
    "user": "pandaserver.admin.user_command:user",
    "audit": "pandaserver.admin.audit_command:audit",
    "token": "pandaserver.admin.credential_command:token",
    "certificate": "pandaserver.admin.credential_command:certificate",
    "check-schema": "pandaserver.admin.schema_command:check_schema",
    "doctor": "pandaserver.admin.doctor_command:doctor",
    "daemon": "pandaserver.admin.daemon_command:daemon",
    "script": "pandaserver.admin.script_command:script",
    "render": "pandaserver.admin.render_command:render",
    "config-diff": "pandaserver.admin.config_diff_command:config_diff",
    "container": "pandaserver.admin.container_command:container",
}


class LazyGroup(click.Group):
    """Commands from a table ``name -> module:function``; SQLAlchemy is not imported to make a token."""

    def __init__(self, table: dict[str, str], help_text: str) -> None:
        super().__init__(help=help_text)
        self._table = table

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the table."""
        del ctx
        return list(self._table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command of that name, if the table has it."""
        del ctx
        if cmd_name not in self._table:
            return None
        module, _, name = self._table[cmd_name].partition(":")
        command = getattr(importlib.import_module(module), name)
        if not isinstance(command, click.Command):
            raise TypeError(f"{self._table[cmd_name]} is not a command")
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; mistakes of the configuration are for the administrator, not for us."""
        find_home(os.environ, Path(sys.prefix))
        try:
            return super().invoke(ctx)
        except ConfigurationError as error:
            raise click.ClickException(f"{error.message}\n`panda-admin check-config` tells more") from error


def find_home(environ: MutableMapping[str, str], prefix: Path) -> None:
    """Let PANDA_HOME be the environment that the command belongs to, if nobody says another and it is configured.

    The services are told so by their environment files, and an administrator's shell is not.
    """
    if "PANDA_HOME" not in environ and (prefix / "etc" / "panda" / "panda_server.cfg").exists():
        environ["PANDA_HOME"] = str(prefix)


main = LazyGroup(COMMANDS, "Administer a PanDA server.")
