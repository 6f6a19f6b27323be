"""What commands share that look into the database: opening it, saying who asks, and tables for people."""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import click

from pandaserver.config.panda_config import connection_settings, load, operation_settings
from pandaserver.srvcore.errors import PandaError
from pandaserver.taskbuffer.local_bridge import LocalBridge
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer


@contextmanager
def opened_task_buffer() -> Iterator[TaskBuffer]:
    """Open the configured database; what goes wrong is told in one line."""
    config = load(os.environ)
    config.require("server")
    task_buffer = TaskBuffer(LocalBridge(connection_settings(config.server), operation_settings(config.server)))
    try:
        yield task_buffer
    except PandaError as error:
        raise click.ClickException(error.message) from error
    finally:
        task_buffer.close()


def administrator() -> str:
    """Return who runs the command, for audit rows."""
    return f"panda-admin by {getpass.getuser()}"


def print_table(rows: Sequence[Sequence[object]]) -> None:
    """Print rows in columns that are as wide as their longest text."""
    texts = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(*texts, strict=True)]
    for row in texts:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
