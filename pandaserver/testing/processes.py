"""A handful of processes that live and end together."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pandaserver.testing.account import Account

_POLL: Final = 0.05


@dataclass(frozen=True, slots=True)
class Child:
    """A started process and the file that its output goes to."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def last_words(self, lines: int = 15) -> str:
        """Return the end of its output."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


class Processes:
    """Starts processes as one account, each with a process group of its own, and stops them in reverse order.

    A child gets SIGTERM when we die, whatever kills us, so nothing stays behind.
    """

    def __init__(self, account: Account, directory: Path, logs: Path) -> None:
        self._account = account
        self._directory = directory
        self._logs = logs
        self._children: list[Child] = []

    def start(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> Child:
        """Start one process; its output goes to ``<name>.out`` among the logs."""
        log = self._logs / f"{name}.out"
        with log.open("ab") as output:
            process = subprocess.Popen(
                command,
                env=dict(environment),
                cwd=self._directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for us; we end them in order
                **self._account.popen_arguments(),
            )
        child = Child(name, process, log)
        self._children.append(child)
        return child

    def ended(self) -> Child | None:
        """Return a child that is no longer running, if any."""
        return next((child for child in self._children if child.process.poll() is not None), None)

    def stop(self, patience: float = 20.0) -> None:
        """End all children, the last started first, and whatever they left in their process groups."""
        while self._children:
            end(self._children[-1].process, patience)
            self._children.pop()


def end(process: subprocess.Popen[bytes], patience: float) -> None:
    """Ask a process group leader to end, wait, and kill what is left of its group."""
    if process.returncode is None:
        os.kill(process.pid, signal.SIGTERM)
        deadline = time.monotonic() + patience
        # Not reaped yet (Popen.terminate would), so that its number, which names the group, still belongs to it.
        while not _has_ended(process.pid) and time.monotonic() < deadline:
            time.sleep(_POLL)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _has_ended(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
