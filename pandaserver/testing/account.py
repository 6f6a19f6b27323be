"""The one account that Apache, the daemon and the database of an instance run as."""

from __future__ import annotations

import ctypes
import grp
import os
import pwd
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

#: Created by ``tools/bootstrap.py`` where we are root, because database servers refuse to run as root.
NAME: Final = "panda"
_PR_SET_PDEATHSIG: Final = 1


@dataclass(frozen=True, slots=True)
class Account:
    """An account of the operating system. ``switch`` says that processes have to change to it."""

    user: str
    group: str
    uid: int
    gid: int
    switch: bool

    def popen_arguments(self) -> dict[str, Any]:
        """Return what makes ``subprocess.Popen`` start a child as this account, which ends when its parent dies."""
        arguments: dict[str, Any] = {"preexec_fn": ending_with_parent()}
        if self.switch:
            arguments |= {"user": self.uid, "group": self.gid, "extra_groups": []}
        return arguments

    def give(self, path: Path) -> None:
        """Make the account the owner of ``path`` and everything below it."""
        if not self.switch:
            return
        for directory, _, files in os.walk(path):
            for name in (directory, *(os.path.join(directory, file) for file in files)):
                os.chown(name, self.uid, self.gid, follow_symlinks=False)

    def can_reach(self, path: Path) -> bool:
        """Say whether the account can enter ``path``, as far as it exists, judging by owners and permissions."""
        parts = [part for part in (path, *path.parents) if part.exists()]
        return not self.switch or all(_may_enter(part.stat(), self) for part in parts)


def _may_enter(stat: os.stat_result, account: Account) -> bool:
    if stat.st_uid == account.uid:
        return bool(stat.st_mode & 0o100)
    if stat.st_gid == account.gid:
        return bool(stat.st_mode & 0o010)
    return bool(stat.st_mode & 0o001)


def service_account() -> Account:
    """Return the account to run as: a system account for root, ourselves for anybody else."""
    if os.geteuid() != 0:
        mine = pwd.getpwuid(os.geteuid())
        return Account(mine.pw_name, _group_name(mine.pw_gid), mine.pw_uid, mine.pw_gid, switch=False)
    found = pwd.getpwnam(NAME)
    return Account(found.pw_name, _group_name(found.pw_gid), found.pw_uid, found.pw_gid, switch=True)


def _group_name(gid: int) -> str:
    return grp.getgrgid(gid).gr_name


def ending_with_parent() -> Callable[[], None]:
    """Return a function for a new child: it asks the kernel for SIGTERM when the thread that started it is gone."""
    libc = ctypes.CDLL(None, use_errno=True)
    parent = os.getpid()

    def ask() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:  # it died before we asked
            os._exit(1)

    return ask


def program(name: str) -> str:
    """Return the path of a program, also where ``/usr/sbin`` is not on PATH."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    if not found:
        raise FileNotFoundError(f"{name} is not installed; `make run` installs it on Debian when root")
    return found
