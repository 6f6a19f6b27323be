"""``panda-admin audit``: who did what, and from where."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import click

from pandacommon.pandautils.PandaUtils import naive_utcnow
from pandaserver.admin.opening import opened_task_buffer, print_table

_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def _moment(context: click.Context, parameter: click.Parameter, value: str) -> datetime:
    """Read a time, or how long ago it was: 90m, 12h, 7d."""
    del context, parameter
    try:
        if value[-1:] in _UNITS:
            return naive_utcnow() - timedelta(**{_UNITS[value[-1]]: int(value[:-1])})
        return datetime.fromisoformat(value)
    except (ValueError, OverflowError) as error:
        problem = f"{value!r} is neither a time such as 2026-01-31T12:00 (UTC) nor 90m, 12h or 7d"
        raise click.BadParameter(problem) from error


@click.group()
def audit() -> None:
    """Look at what users with a role, and administrators, changed."""


@audit.command()
@click.option("--since", callback=_moment, default="1d", show_default=True, help="Time (UTC), or how long ago.")
@click.option("--who", help="Only what this one did, such as 'Jane Doe'.")
@click.option("--limit", type=click.IntRange(1), default=1000, show_default=True, help="Rows at most, the youngest.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object in each line, with details and request.")
def show(since: datetime, who: str | None, limit: int, as_json: bool) -> None:
    """Print who did what to which object, and from where, the oldest first."""
    with opened_task_buffer() as task_buffer:
        rows = task_buffer.getAuditRows(since, who, limit)[::-1]
    if as_json:
        for row in rows:
            click.echo(json.dumps(row, default=str))
        return
    columns = ("creationTime", "actor", "remoteAddress", "action", "objectType", "objectID", "details")
    lines = [[_short(row[column]) for column in columns] for row in rows]
    print_table([("time", "who", "from", "did", "to", "which", "details"), *lines])


def _short(value: object) -> str:
    """Return a value as it fits into a line, without characters that move the cursor of a terminal."""
    text = "-" if value is None else str(value)
    return "".join(c if c.isprintable() else "?" for c in text[:80])
