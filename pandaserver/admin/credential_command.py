"""``panda-admin token`` and ``certificate``: credentials of a development instance, signed by its own issuer and CA.

``panda-admin token inspect`` belongs to any server, and stands in a module of its own.
"""

from __future__ import annotations

import os
from pathlib import Path

import click

from pandaserver.admin.token_command import inspect
from pandaserver.testing.development_ca import DevelopmentCA, write_private
from pandaserver.testing.development_issuer import LIFETIME, DevelopmentIssuer
from pandaserver.testing.layout import Layout

_DIRECTORY = click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=lambda: os.environ.get("PANDA_HOME", "var"),
    show_default="$PANDA_HOME, else ./var",
    help="Directory of the instance.",
)


@click.group(invoke_without_command=True)
@click.option("--name", help="Full name of the user, such as 'Jane Doe'.")
@click.option(
    "--group", "groups", multiple=True, help="VO/ROLE that the user has, such as testvo/production; repeatable."
)
@click.option("--lifetime", type=click.IntRange(1), default=LIFETIME, show_default=True, help="Seconds.")
@_DIRECTORY
@click.pass_context
def token(context: click.Context, name: str | None, groups: tuple[str, ...], lifetime: int, directory: Path) -> None:
    """Print a bearer token of a development instance, or `inspect` any token.

    Use a role by naming it in the header Origin, such as testvo.production.
    """
    if context.invoked_subcommand:
        return
    if name is None:
        raise click.UsageError("Missing option '--name'")
    layout = Layout(directory.absolute())
    if not DevelopmentIssuer.exists(layout.issuer):
        raise click.ClickException(
            f"{layout.home} has no token issuer; `make run` makes an instance that has one (--dir)"
        )
    click.echo(DevelopmentIssuer(layout.issuer, layout.auth).token(name, groups, lifetime))


token.add_command(inspect)


@click.command()
@click.option("--cn", required=True, help="Common name of the user, such as 'Jane Doe'.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="File to write.  [default: CN.pem]")
@_DIRECTORY
def certificate(cn: str, out: Path | None, directory: Path) -> None:
    """Write a client certificate and its key into one file, as X509_USER_PROXY wants it, and print its path."""
    layout = Layout(directory.absolute())
    if not DevelopmentCA.exists(layout.ca):
        raise click.ClickException(f"{layout.home} has no CA; `make run` makes an instance that has one (--dir)")
    path = out or Path(f"{'_'.join(cn.split())}.pem")
    write_private(path, DevelopmentCA(layout.ca).certify_user(cn))
    click.echo(path.absolute())
