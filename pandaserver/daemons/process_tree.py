"""A process with everything it started: found through /proc, frozen, then killed."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import socket
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

PR_SET_PDEATHSIG: Final = 1
PR_SET_CHILD_SUBREAPER: Final = 36
ROUNDS: Final = 20  # looks at /proc before a tree that keeps growing is killed as far as it is known

_libc: Final = ctypes.CDLL(None, use_errno=True)


class _Relation(NamedTuple):
    parent: int
    group: int


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent dies, so that nothing escapes from the tree."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def die_with(parent: int) -> None:
    """Be killed when the parent dies, also when it has died since the fork."""
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def die_as_tree_with(peer: socket.socket) -> None:
    """Be killed with all descendants when the process at the other end is gone; replaces :func:`die_with`.

    A thread does it, as the kernel would kill this process alone, and leave what a script started to nobody. It must be
    able to run, so code that never gives the interpreter to other threads delays it.
    """

    def watch() -> None:
        poll = select.poll()
        poll.register(peer, select.POLLRDHUP)
        poll.poll()
        kill_tree(os.getpid())

    threading.Thread(target=watch, name="master watch", daemon=True).start()
    _prctl(PR_SET_PDEATHSIG, 0)


def children(of: int) -> set[int]:
    """Return the direct children of a process, zombies included."""
    return {pid for pid, relation in _processes().items() if relation.parent == of}


def kill_tree(root: int) -> None:
    """Kill a process, its group and all descendants, wherever they moved themselves. Does not wait for the end.

    If this process is one of them, it comes last.
    """
    frozen: set[int] = set()
    mine = {os.getpid()}
    for _ in range(ROUNDS):  # what is stopped can start nothing, so soon a look finds nothing new
        new = _tree(root, _processes()) - frozen - mine
        if not new:
            break
        _send(signal.SIGSTOP, new)
        frozen |= new
    _send(signal.SIGKILL, (frozen | {root}) - mine)
    _send(signal.SIGKILL, mine & {root})


def _tree(root: int, processes: dict[int, _Relation]) -> set[int]:
    found = {pid for pid, relation in processes.items() if pid == root or relation.group == root}
    while True:
        more = {pid for pid, relation in processes.items() if relation.parent in found} - found
        if not more:
            return found
        found |= more


def _send(number: signal.Signals, pids: Iterable[int]) -> None:
    for pid in pids:
        # It may have ended by itself, or belong to another account if a script started a setuid program.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def _processes() -> dict[int, _Relation]:
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):  # it ended meanwhile
                # pid (name, which may contain anything) state parent group ...
                fields = Path("/proc", entry, "stat").read_bytes().rpartition(b")")[2].split()
                found[int(entry)] = _Relation(int(fields[1]), int(fields[2]))
    return found


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
