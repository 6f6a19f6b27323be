"""``panda-admin user``: look at a user, ban one, lift the ban, and say what a user may have and where mail goes."""

from __future__ import annotations

import json
from typing import Final

import click

from pandaserver.admin.opening import administrator, opened_task_buffer
from pandaserver.srvcore.mail_address import ADDRESS_LIMIT, NO_MAIL, address_in
from pandaserver.srvcore.principal import clean_name
from pandaserver.taskbuffer.db_proxy_mods.user import DISABLED

_NAME = click.argument("name", callback=lambda _context, _parameter, value: clean_name(value))

_PERMISSIONS: Final = "pktlsg"


@click.group()
def user() -> None:
    """Look at users, ban them, and permit them things. NAME is a user name such as 'Jane Doe', or a DN."""


@user.command()
@_NAME
@click.option("--reason", required=True, help="Why; it is kept in the audit table.")
def ban(name: str, reason: str) -> None:
    """Refuse every request of NAME. Servers notice within ten minutes; jobs that run are not touched."""
    with opened_task_buffer() as task_buffer:
        new = task_buffer.banUser(name, administrator(), reason)
    click.echo(f"{name} is banned" if new else f"{name} was banned before")


@user.command()
@_NAME
def unban(name: str) -> None:
    """Let NAME in again. Servers notice within ten minutes."""
    with opened_task_buffer() as task_buffer:
        row = task_buffer.getUserRow(name)
        if row is None or row["status"] != DISABLED:
            raise click.ClickException(f"{name} is not banned")
        task_buffer.setUserStatus(name, None, administrator())
    click.echo(f"{name} is no longer banned")


@user.command()
@_NAME
@click.argument("letters")
def permit(name: str, letters: str) -> None:
    """Give NAME exactly the permissions LETTERS, at once; `none` takes all away.

    p: proxies and access tokens; k: key pairs; t: keys of access tokens; l: searching logs; s, g: super user,
    super group.
    """
    wanted = "" if letters == "none" else "".join(dict.fromkeys(letters))
    if unknown := set(wanted) - set(_PERMISSIONS):
        raise click.ClickException(f"{''.join(sorted(unknown))} is none of the letters {_PERMISSIONS}")
    with opened_task_buffer() as task_buffer:
        task_buffer.setPermissions(name, wanted, administrator())
    click.echo(f"{name} has the permissions {wanted}" if wanted else f"{name} has no permissions")


@user.command()
@_NAME
@click.argument("address")
def mail(name: str, address: str) -> None:
    """Send mail for NAME to ADDRESS, at once; `notsend` for none at all.

    With `none` the address in the certificate or token of the next submission is taken, if there is one.
    """
    wanted = None if address == "none" else NO_MAIL if address.lower() == NO_MAIL else address_in(address)
    if wanted == "":
        raise click.ClickException(f"{address!r} is no mail address of at most {ADDRESS_LIMIT} characters")
    with opened_task_buffer() as task_buffer:
        task_buffer.setMailAddress(name, wanted, administrator())
    told = {None: f"the address of {name} is forgotten", NO_MAIL: f"{name} gets no mail"}
    click.echo(told.get(wanted, f"mail for {name} goes to {wanted}"))


@user.command()
@_NAME
def show(name: str) -> None:
    """Print what is known about NAME, as JSON."""
    with opened_task_buffer() as task_buffer:
        row = task_buffer.getUserRow(name)
    if row is None:
        raise click.ClickException(f"there is no user {name!r}; users appear with their first submission")
    click.echo(json.dumps({key: value for key, value in row.items() if value is not None}, indent=2, default=str))
