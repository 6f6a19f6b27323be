"""``panda-admin share``: the share tree, what shares use of it, and what dispatch would do next."""

from __future__ import annotations

from typing import TextIO

import click

from pandaserver.admin.opening import administrator, opened_task_buffer, print_table
from pandaserver.admin.site_command import FILE, print_rows
from pandaserver.admin.site_files import read_shares
from pandaserver.srvcore.errors import PandaError
from pandaserver.taskbuffer.db_proxy_mods.share_forecast import Forecast, NextJob, ShareUse
from pandaserver.taskbuffer.requests import MAX_JOBS
from pandaserver.taskbuffer.sharing import share_tree

_HEADING = ("share", "percent", "executing", "pledge", "deficit", "queued", "jobs", "next")


@click.group()
def share() -> None:
    """Look at the share tree and what uses it, replace it, and ask what dispatch would do."""


@share.command("list")
def list_shares() -> None:
    """Print the share tree as JSON, in the form that `set` reads."""
    with opened_task_buffer() as task_buffer:
        print_rows(task_buffer.loadShares())


@share.command("set")
@FILE
def set_shares(file: TextIO) -> None:
    """Make the shares in FILE (a JSON list, - is standard input) the whole tree.

    New jobs notice within a minute, dispatch within an hour.
    """
    with opened_task_buffer() as task_buffer:
        rows = read_shares(file.read())
        task_buffer.replaceShares(rows, actor=administrator())
    for leaf in share_tree(rows).leaves():
        click.echo(f"{leaf.name} {leaf.percent:.4g} %")


@share.command("show")
def show_shares() -> None:
    """Print the tree with what each share has and should have, in HS06.

    Pledge is the share's part of all that runs; deficit is what is missing to it. `next` numbers the leaves with jobs
    waiting in the order in which dispatch serves them.
    """
    with opened_task_buffer() as task_buffer:
        _print_situation(task_buffer.forecastDispatch())


@share.command()
@click.option("--queue", "site", help="Say also which jobs of that queue would leave next.")
@click.option("--jobs", "n", type=click.IntRange(1, MAX_JOBS), default=10, show_default=True, help="How many.")
@click.option(
    "--label",
    type=click.Choice(("unified", "user", "managed")),
    default="unified",
    show_default=True,
    help="What the pilots ask for.",
)
def simulate(site: str | None, n: int, label: str) -> None:
    """Say what dispatch would do now, and why. Nothing is changed.

    Jobs are taken one at a time, and each counts as executing for the next. Limits of single pilots (memory, disk) and
    the dice that give the oldest job to some of them are left out.
    """
    with opened_task_buffer() as task_buffer:
        if site is not None and site not in task_buffer.loadQueueData():
            raise PandaError(f"there is no queue {site}")
        forecast = task_buffer.forecastDispatch(site, n, label)
    _print_situation(forecast)
    if site is None:
        return
    click.echo("")
    if not forecast.jobs:
        click.echo(f"no job waits at {site} for pilots that ask for {label}")
    for place, job in enumerate(forecast.jobs, start=1):
        click.echo(f"{place}. PandaID={job.PandaID} share={job.share or '-'} priority={job.priority}: {_reason(job)}")


def _reason(job: NextJob) -> str:
    if not job.is_known:
        return "no leaf of the tree, so it comes after all leaves"
    return f"the share has {job.executing:.0f} of {job.pledge:.1f}"


def _print_situation(forecast: Forecast) -> None:
    if forecast.taken is None:
        click.echo("no statistics: no job is active, or the daemon script share_statistics has not run")
    else:
        click.echo(f"statistics of {forecast.taken:%Y-%m-%d %H:%M:%S} UTC")
    print_table([_HEADING, *map(_row, forecast.shares)])


def _row(use: ShareUse) -> tuple[str, ...]:
    numbers = (f"{n:.0f}" for n in (use.executing, use.pledge, use.deficit, use.queued))
    place = "" if use.place is None else str(use.place)
    return ("  " * use.depth + use.name, f"{use.percent:.4g}", *numbers, str(use.queued_jobs), place)
