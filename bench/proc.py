"""CPU time and private memory of the processes that serve, read from /proc."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

_TICK: Final = os.sysconf("SC_CLK_TCK")
_ROLLUP: Final = ("Private_Clean:", "Private_Dirty:")

#: Kinds of processes, by a word of their command line; the first that fits counts.
WEB, CHILD, FRONT, DATABASE = "web process", "database child", "Apache", "database"
_KINDS: Final = (
    ("(wsgi:", WEB),
    ("pandaserver.taskbuffer.dbchild", CHILD),
    ("apache2", FRONT),
    ("httpd", FRONT),
    ("postgres", DATABASE),
    ("mariadbd", DATABASE),
)


class Process(NamedTuple):
    """One process: its parent, what it is in the server, and the CPU seconds of itself and its reaped children."""

    pid: int
    parent: int
    kind: str | None
    seconds: float


def serving(root: int) -> list[Process]:
    """Return the processes below ``root`` that belong to the server; load generators do not."""
    processes = {process.pid: process for process in _all()}
    return [p for p in processes.values() if p.kind is not None and _is_below(p, root, processes)]


def cpu_seconds(root: int) -> Mapping[str, float]:
    """Return the CPU time so far by kind. It never falls: what an ended process used is in its parent's account."""
    found: dict[str, float] = defaultdict(float)
    for process in serving(root):
        found[str(process.kind)] += process.seconds
    return found


def private_megabytes(root: int) -> Mapping[str, list[float]]:
    """Return the memory that each process has for itself alone (USS), by kind."""
    found: dict[str, list[float]] = defaultdict(list)
    for process in serving(root):
        rollup = Path(f"/proc/{process.pid}/smaps_rollup")
        try:
            lines = rollup.read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError):
            continue
        kilobytes = sum(int(line.split()[1]) for line in lines if line.startswith(_ROLLUP))
        found[str(process.kind)].append(kilobytes / 1024)
    return found


def _all() -> Iterator[Process]:
    for entry in os.listdir("/proc"):
        if not entry.isdecimal():
            continue
        try:
            # The name in parentheses may contain anything, so the fields are counted from its end.
            stat = Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()
            command = Path("/proc", entry, "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        kind = next((kind for word, kind in _KINDS if word in command), None)
        yield Process(int(entry), int(stat[1]), kind, sum(map(int, stat[11:15])) / _TICK)


def _is_below(process: Process, root: int, processes: Mapping[int, Process]) -> bool:
    parent = process.parent
    while parent in processes and parent != root:
        parent = processes[parent].parent
    return parent == root
