"""Run a command and be the parent of whatever outlives its own parent below it.

Tests kill processes and wait until nothing is left of what those had started. The kernel hands such orphans to the
first process of the machine or container, and many a container's first process never collects them: they would stay
as zombies for ever. Here they come to us. What still runs when the command has ended is named and killed, and fails
the run: tests leave no process behind.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from pathlib import Path
from typing import Final

PR_SET_CHILD_SUBREAPER: Final = 36
PATIENCE: Final = 30.0  # seconds in which orphans that are ending may end
LEFT_BEHIND: Final = 70


def main(command: list[str]) -> int:
    """Run it, and return its exit code."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "cannot adopt orphans")
    ours = os.fork()
    if ours == 0:
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)  # nohup and background jobs ignore some, and tests send them
        os.execvp(command[0], command)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda told, _: os.kill(ours, told))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal tells the command by itself
    while True:
        pid, status = os.wait()
        if pid == ours:
            code = os.waitstatus_to_exitcode(status)
            break
    return _end_the_rest() or (code if code >= 0 else 128 - code)


def _end_the_rest() -> int:
    """Collect orphans; kill and name those that do not end, and return the exit code that says so."""
    deadline = time.monotonic() + PATIENCE
    named: set[int] = set()
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG)[0]:
                continue
        except ChildProcessError:
            return LEFT_BEHIND if named else 0
        if time.monotonic() >= deadline:
            for pid in _children() - named:
                arguments = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                print(f"left behind, killed: {pid} {arguments}", file=sys.stderr, flush=True)
                os.kill(pid, signal.SIGKILL)
                named.add(pid)
        time.sleep(0.05)


def _children() -> set[int]:
    return {int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()}


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: adopt.py command [argument ...]")
    sys.exit(main(sys.argv[1:]))
