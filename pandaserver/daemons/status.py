"""What the master tells the rest of its machine: a small JSON file, replaced in one step at every change.

Its age is the heartbeat of the master: it is written at least every ``BEAT`` seconds.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from pandaserver.daemons.protocol import Outcome
from pandaserver.daemons.schedule import Entry, State

BEAT: Final = 10.0
#: A master whose file is older than this hangs, or is gone without a word.
SILENCE: Final = 60.0


@dataclass(slots=True)
class ScriptHistory:
    """What became of one script since the master started. Instants are seconds since 1970."""

    runs: int = 0
    failures: int = 0
    skipped: int = 0  # it ran, or was running, on another machine
    seconds: float = 0.0  # of all runs together
    last_start: float | None = None
    last_seconds: float | None = None
    last_result: str = ""  # of Outcome, or killed
    last_error: str = ""


@dataclass(slots=True)
class ScriptStatus:
    """One script as it is now."""

    name: str
    period: int
    sync: bool
    state: str
    next_due: float
    late: float  # seconds by which the last start was late, or by which the next one is already
    running_since: float | None
    history: ScriptHistory = field(default_factory=ScriptHistory)


@dataclass(slots=True)
class MasterStatus:
    """The daemon of one machine."""

    host: str
    pid: int
    started: float
    written: float
    state: str  # running, stopping, stopped
    n_proc: int
    workers: dict[str, int]  # phase -> how many
    scripts: list[ScriptStatus]

    def is_beating(self, now: float) -> bool:
        """Tell whether the master lived a moment ago."""
        return self.state != "stopped" and now - self.written <= SILENCE


class StatusFile:
    """Keeps the history of the scripts and writes the file."""

    def __init__(self, path: Path, log: logging.Logger) -> None:
        self._path = path
        self._log = log
        self._started = time.time()
        self._histories: dict[str, ScriptHistory] = {}
        self._changed = True
        self._complained = False
        self.next_beat = 0.0  # instant of the monotonic clock

    def changed(self) -> None:
        """Note that the file does not tell the truth any more."""
        self._changed = True

    def ended(self, name: str, outcome: str, started: float, now: float, text: str = "") -> None:
        """Note the end of a run."""
        history = self._histories.setdefault(name, ScriptHistory())
        self._changed = True
        if outcome == Outcome.skipped:
            history.skipped += 1
            return
        history.runs += 1
        history.failures += outcome != Outcome.done
        history.seconds += now - started
        history.last_start = time.time() - (time.monotonic() - started)
        history.last_seconds, history.last_result, history.last_error = now - started, outcome, text

    def beat(self, now: float, state: str, n_proc: int, phases: Iterable[str], entries: Iterable[Entry]) -> None:
        """Write the file if something changed, or if it was silent for long."""
        if not self._changed and now < self.next_beat:
            return
        self.next_beat = now + BEAT
        self._changed = False
        workers: dict[str, int] = {}
        for phase in phases:
            workers[phase] = workers.get(phase, 0) + 1
        scripts = list(self._scripts(entries, now))
        status = MasterStatus(
            socket.gethostname(), os.getpid(), self._started, time.time(), state, n_proc, workers, scripts
        )
        try:
            _replace(self._path, json.dumps(asdict(status)))
        except OSError as error:
            if not self._complained:
                self._log.warning(f"cannot write {self._path}, so nobody sees how the daemon is: {error}")
            self._complained = True
        else:
            self._complained = False

    def _scripts(self, entries: Iterable[Entry], now: float) -> Iterator[ScriptStatus]:
        origin = time.time() - now
        for entry in entries:
            is_running = entry.state is State.running
            late = entry.late if entry.state is not State.queued else max(entry.late, now - entry.due)
            yield ScriptStatus(
                entry.spec.name,
                entry.spec.period,
                entry.spec.sync,
                entry.state.value,
                origin + entry.due,
                late,
                origin + entry.started if is_running else None,
                self._histories.get(entry.spec.name, ScriptHistory()),
            )


def _replace(path: Path, text: str) -> None:
    unfinished = path.with_name(f"{path.name}.new")
    try:
        unfinished.write_text(text)
        unfinished.replace(path)
    except OSError:
        with suppress(OSError):
            unfinished.unlink()
        raise


def read_status(path: Path) -> MasterStatus | None:
    """Return what a master wrote last; None if none ever did. Raises OSError or ValueError if that cannot be read."""
    try:
        given: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    try:
        scripts = [ScriptStatus(**{**one, "history": ScriptHistory(**one["history"])}) for one in given["scripts"]]
        return MasterStatus(**{**given, "scripts": scripts})
    except (TypeError, KeyError) as error:
        raise ValueError(f"{path} was not written by this version: {error}") from error
