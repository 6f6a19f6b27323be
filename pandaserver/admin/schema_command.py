"""``panda-admin schema``: create, upgrade and check the schema of the configured database."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from pandaserver.config.finding import ConfigurationError
from pandaserver.config.panda_config import connection_settings, load
from pandaserver.config.settings import ServerSettings
from pandaserver.srvcore.errors import BadRequest, Unavailable
from pandaserver.taskbuffer.connection_settings import ConnectionSettings
from pandaserver.taskbuffer.schema.version import REQUIRED

if TYPE_CHECKING:
    from pandaserver.taskbuffer.schema.check import SchemaState

Version = tuple[int, int, int]

#: Exit codes of ``check``, for scripts.
USABLE, UNUSABLE, UNREACHABLE, MISCONFIGURED = 0, 1, 2, 3

#: Backends that ``--sql`` writes for.
BACKENDS: Final = ("postgres", "mysql", "mariadb", "oracle")

_SQL = click.option("--sql", is_flag=True, help="Change nothing; print the statements for a DBA.")
_BACKEND = click.option(
    "--backend", type=click.Choice(BACKENDS), help="Write for this backend.  [default: the configured one]"
)


def _as_version(_context: click.Context, _parameter: click.Parameter, value: str | None) -> Version | None:
    if value is None:
        return None
    if not re.fullmatch(r"\d+\.\d+\.\d+", value):
        raise click.BadParameter("a version is three numbers, such as 1.0.0")
    major, minor, patch = map(int, value.split("."))
    return major, minor, patch


@click.group()
def schema() -> None:
    """Create, upgrade and check the schema of the configured database."""


@schema.command()
@_SQL
@_BACKEND
def create(sql: bool, backend: str | None) -> None:
    """Create everything on a database that has nothing of ours, seed rows included."""
    server = _settings()
    if sql:
        click.echo(_script(server, backend, None), nl=False)
        return
    connection = connection_settings(server)
    before = _reached(connection).version
    if before is not None:
        raise click.ClickException(f"{connection.name} has schema version {_shown(before)}; use upgrade")
    _upgrade(server)
    click.echo(f"created schema version {_shown(_reached(connection).version)} in {connection.name}")


@schema.command()
@_SQL
@_BACKEND
@click.option("--since", callback=_as_version, help="With --sql: the version that stands.  [default: none]")
def upgrade(sql: bool, backend: str | None, since: Version | None) -> None:
    """Bring the schema to the newest version; an empty database gets everything."""
    server = _settings()
    if sql:
        click.echo(_script(server, backend, since), nl=False)
        return
    connection = connection_settings(server)
    before = _reached(connection).version
    _upgrade(server)
    click.echo(f"schema of {connection.name} was {_shown(before)} and is {_shown(_reached(connection).version)}")


@schema.command("check")
@click.option("--tolerate", is_flag=True, help="Exit with 0 also if it is too old or different; only tell.")
def check_schema(tolerate: bool) -> None:
    """Compare the database with what this code needs.

    Exit code 0: usable, 1: not there, too old or different, 2: unreachable, 3: the configuration has mistakes.
    """
    from pandaserver.taskbuffer.schema.check import SchemaState, state_of

    try:
        connection = connection_settings(_settings())
        found = SchemaState(None) if _is_new_file(connection) else state_of(connection)
    except ConfigurationError as error:
        click.echo(f"{error.message}\n`panda-admin check-config` tells more", err=True)
        sys.exit(MISCONFIGURED)
    except Unavailable as error:
        click.echo(error.message, err=True)
        sys.exit(UNREACHABLE)
    for difference in found.differences:
        click.echo(difference, err=True)
    click.echo(f"schema version found={_shown(found.version)} required={_shown(REQUIRED)}")
    sys.exit(USABLE if found.is_usable or tolerate else UNUSABLE)


def _settings() -> ServerSettings:
    config = load(os.environ)
    config.require("server")
    return config.server


def _is_new_file(connection: ConnectionSettings) -> bool:
    """Tell whether a file would have to be made for the database, which looking at it would do."""
    path = Path(connection.name)
    return connection.backend == "sqlite" and path.parent.is_dir() and not path.exists()


def _script(server: ServerSettings, backend: str | None, since: Version | None) -> str:
    from pandaserver.taskbuffer.schema import migrate

    wanted = backend or server.backend
    if wanted not in BACKENDS:
        raise click.UsageError(f"{wanted} is upgraded online only; --backend names another one")
    try:
        return migrate.upgrade_sql(wanted, connection_settings(server).schemas, server.main_vo, since)
    except BadRequest as error:
        raise click.UsageError(error.message) from error


def _upgrade(server: ServerSettings) -> None:
    from pandaserver.taskbuffer.schema import migrate

    migrate.upgrade(connection_settings(server), server.main_vo)


def _reached(connection: ConnectionSettings) -> SchemaState:
    from pandaserver.taskbuffer.schema.check import state_of

    try:
        return state_of(connection)
    except Unavailable as error:
        raise click.ClickException(error.message) from error


def _shown(version: Version | None) -> str:
    return "none" if version is None else ".".join(map(str, version))
