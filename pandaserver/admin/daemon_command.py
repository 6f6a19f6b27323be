"""``panda-admin daemon``: how the daemon of this machine is, and what runs on the others."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final

import click

from pandaserver.config.panda_config import PandaConfig, load
from pandaserver.daemons.locations import status_file
from pandaserver.daemons.status import MasterStatus, ScriptStatus, read_status
from pandaserver.health.asking import patient_task_buffer
from pandaserver.srvcore.errors import PandaError
from pandaserver.taskbuffer.db_proxy_mods.inspection import ExclusiveRun

#: Seconds to wait for the database, which may be the reason for looking.
PATIENCE: Final = 5.0
LOCK_PREFIX: Final = "pandaD."
#: Exit codes.
ALIVE, NOT_ALIVE = 0, 1


@dataclass(frozen=True, slots=True)
class Line:
    """What is known about one daemon. Instants are seconds since 1970; None: never, or unknown."""

    name: str
    state: str  # idle, queued, running; "" when no master of this machine has it
    last_start: float | None  # on this machine
    seconds: float | None
    result: str
    error: str
    next_due: float | None
    late: float | None
    runs: int
    failures: int
    holder: str  # of the lock, if somebody runs it now; sync only
    last_holder: str  # who started it last, on whichever machine; sync only
    last_start_anywhere: float | None  # sync only


@click.group()
def daemon() -> None:
    """Look at the daemon."""


@daemon.command()
@click.option("--json", "as_json", is_flag=True, help="Print everything that is known, as JSON.")
def status(as_json: bool) -> None:
    """Show each daemon: last start, duration, result, next start, lateness, and who holds its lock.

    Exit code 0: the daemon of this machine lives, 1: it does not.
    """
    config = _configuration()
    master, problem = _master(config)
    runs, database = _exclusive_runs(config)
    lines = merged(config, master, runs)
    alive = master is not None and master.is_beating(time.time())
    if as_json:
        document = {
            "alive": alive,
            "problem": problem,
            "database": database,
            "master": None if master is None else _without_scripts(master),
            "daemons": [asdict(line) for line in lines],
        }
        click.echo(json.dumps(document, indent=1))
    else:
        for text in (told(master, problem, time.time()), *table(lines, time.time())):
            click.echo(text)
        if database:
            click.echo(f"locks of other machines are unknown: {database}", err=True)
    sys.exit(ALIVE if alive else NOT_ALIVE)


@daemon.command()
def alive() -> None:
    """Say by the exit code whether the daemon of this machine lives: 0 yes, 1 no. Asks no database."""
    master, problem = _master(_configuration())
    click.echo(told(master, problem, time.time()))
    sys.exit(ALIVE if master is not None and master.is_beating(time.time()) else NOT_ALIVE)


def merged(config: PandaConfig, master: MasterStatus | None, runs: Iterable[ExclusiveRun]) -> list[Line]:
    """Join what the master of this machine tells with what the database knows of all machines."""
    here = {} if master is None else {script.name: script for script in master.scripts}
    anywhere = {run.component.removeprefix(LOCK_PREFIX): run for run in runs}
    configured = [spec.name for spec in config.daemon.daemons]
    return [_line(name, here.get(name), anywhere.get(name)) for name in dict.fromkeys([*configured, *here, *anywhere])]


def _line(name: str, script: ScriptStatus | None, run: ExclusiveRun | None) -> Line:
    history = None if script is None else script.history
    return Line(
        name=name,
        state="" if script is None else script.state,
        last_start=None if script is None or history is None else script.running_since or history.last_start,
        seconds=None if history is None else history.last_seconds,
        result="" if history is None else history.last_result,
        error="" if history is None else history.last_error,
        next_due=None if script is None else script.next_due,
        late=None if script is None else script.late,
        runs=0 if history is None else history.runs,
        failures=0 if history is None else history.failures,
        holder=run.owner if run is not None and run.holds else "",
        last_holder="" if run is None else run.owner,
        last_start_anywhere=None if run is None or run.last_start is None else _epoch(run.last_start),
    )


def told(master: MasterStatus | None, problem: str, now: float) -> str:
    """Say in a line how the master is."""
    if problem:
        return problem
    if master is None:
        return "no daemon has run on this machine"
    silence = now - master.written
    facts = f"host={master.host} pid={master.pid} started={_when(master.started)} last_beat_s_ago={silence:.0f}"
    if master.state == "stopped":
        return f"the daemon was stopped {facts}"
    if not master.is_beating(now):
        return f"the daemon is silent: it hangs, or was killed {facts}"
    workers = ",".join(f"{phase}:{count}" for phase, count in sorted(master.workers.items())) or "none"
    return f"the daemon is {master.state} {facts} workers={workers} n_proc={master.n_proc}"


def table(lines: Iterable[Line], now: float) -> list[str]:
    """Return the table that people read."""
    head = ("DAEMON", "STATE", "LAST START", "TOOK", "RESULT", "NEXT", "LATE", "RUNS", "FAILED", "LOCK")
    rows = [head, *(_row(line, now) for line in lines)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _row(line: Line, now: float) -> tuple[str, ...]:
    lock = f"held by {line.holder}" if line.holder else ""
    if not lock and line.last_start_anywhere is not None:
        lock = f"free, last {line.last_holder} {_when(line.last_start_anywhere)}"
    return (
        line.name,
        line.state or "-",
        _when(line.last_start),
        "-" if line.seconds is None else f"{line.seconds:.1f} s",
        f"{line.result}: {line.error}" if line.error else line.result or "-",
        "-" if line.next_due is None else f"in {max(0.0, line.next_due - now):.0f} s",
        "-" if line.late is None else f"{line.late:.0f} s",
        str(line.runs),
        str(line.failures),
        lock or "-",
    )


def _when(instant: float | None) -> str:
    return "-" if instant is None else datetime.fromtimestamp(instant, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _epoch(moment: datetime) -> float:
    return moment.replace(tzinfo=UTC).timestamp()


def _without_scripts(master: MasterStatus) -> Mapping[str, Any]:
    return {key: value for key, value in asdict(master).items() if key != "scripts"}


def _configuration() -> PandaConfig:
    config = load(os.environ)
    config.require("server", "daemon", "logger")
    return config


def _master(config: PandaConfig) -> tuple[MasterStatus | None, str]:
    try:
        return read_status(status_file(os.environ, config.logger)), ""
    except (OSError, ValueError) as error:
        return None, f"the status of the daemon cannot be read: {error}"


def _exclusive_runs(config: PandaConfig) -> tuple[list[ExclusiveRun], str]:
    try:
        with patient_task_buffer(config, PATIENCE) as tbuf:
            return tbuf.exclusive_runs(LOCK_PREFIX), ""
    except PandaError as error:
        return [], error.message
