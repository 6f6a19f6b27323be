"""``panda-admin queue|resource-type``: look at the site configuration, and change it from a file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, TextIO

import click

from pandaserver.admin.opening import administrator, opened_task_buffer, print_table
from pandaserver.admin.site_files import read_queues, read_resource_types
from pandaserver.brokerage.site_reader import read_sites
from pandaserver.taskbuffer.sharing import resource_types

FILE = click.argument("file", type=click.File(encoding="utf-8"))


@click.group()
def queue() -> None:
    """Look at queues, and add or change them."""


@queue.command("list")
def list_queues() -> None:
    """Print the queues with their status, type and size."""
    with opened_task_buffer() as task_buffer:
        sites, findings = read_sites(task_buffer.loadSites())
    rows = [
        (site.sitename, site.status, site.type, site.cloud, f"{site.corecount} cores", f"{site.maxrss} MB")
        for site in sites.values()
    ]
    print_table([("queue", "status", "type", "cloud", "cores", "memory"), *rows])
    for finding in findings:
        click.echo(finding, err=True)


@queue.command("show")
@click.argument("name")
def show_queue(name: str) -> None:
    """Print the description of queue NAME as JSON."""
    with opened_task_buffer() as task_buffer:
        queues = task_buffer.loadQueueData()
    if name not in queues:
        raise click.ClickException(f"there is no queue {name}")
    click.echo(json.dumps(queues[name], indent=2, sort_keys=True))


@queue.command("set")
@FILE
def set_queues(file: TextIO) -> None:
    """Add the queues that FILE (JSON, - is standard input) describes, or replace their descriptions.

    FILE holds one description, a list of them, or an object of them by name. Servers notice within ten minutes.
    """
    with opened_task_buffer() as task_buffer:
        queues = read_queues(file.read())
        known = task_buffer.loadQueueData()
        task_buffer.storeQueues(queues, actor=administrator())
    for name in sorted(queues):
        click.echo(f"queue {name} {'changed' if name in known else 'added'}")


@click.group("resource-type")
def resource_type() -> None:
    """Look at resource types, and replace them."""


@resource_type.command("list")
def list_resource_types() -> None:
    """Print the resource types as JSON, in the form that `set` reads."""
    with opened_task_buffer() as task_buffer:
        print_rows(task_buffer.loadResourceTypes())


@resource_type.command("set")
@FILE
def set_resource_types(file: TextIO) -> None:
    """Make the types in FILE (a JSON list, - is standard input) all there are. New jobs notice within a minute."""
    with opened_task_buffer() as task_buffer:
        rows = read_resource_types(file.read())
        task_buffer.replaceResourceTypes(rows, actor=administrator())
    for kind in resource_types(rows):
        cores, ram = _span(kind.mincore, kind.maxcore), _span(kind.minrampercore, kind.maxrampercore)
        click.echo(f"{kind.name} cores {cores}, MB per core {ram}")


def _span(low: int | None, high: int | None) -> str:
    if low is None and high is None:
        return "any"
    if high is None:
        return f"from {low} on"
    return f"up to {high}" if low is None else f"{low} to {high}"


def print_rows(rows: Sequence[dict[str, Any]]) -> None:
    """Print rows of a table as JSON, without what is not set."""
    set_only = [{key: value for key, value in row.items() if value is not None} for row in rows]
    click.echo(json.dumps(set_only, indent=2))
