"""Who the service account is, and what it may do with files, also when root is asking."""

from __future__ import annotations

import grp
import json
import os
import pwd
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pandaserver.health.httpd_conf import HttpdConf
from pandaserver.health.scene import Scene

READ, WRITE = os.R_OK | os.X_OK, os.W_OK | os.X_OK  # what one does in a directory
READ_FILE: Final = os.R_OK

_LIMIT: Final = 10.0  # seconds; a file server that is gone makes a look last for ever
_PROGRAM: Final = """
import json, os, sys
print(json.dumps([os.path.lexists(path) and os.access(path, mode) for path, mode in json.load(sys.stdin)]))
"""


class CannotTell(Exception):
    """Nobody could look as that account; the message says why."""


@dataclass(frozen=True, slots=True)
class Account:
    """Names of an account and its group."""

    user: str
    group: str


def accounts(scene: Scene) -> list[Account]:
    """Return whom daemon and Apache run as here: one account, if all is well."""
    conf, daemon = HttpdConf.find(scene.environ), scene.config.daemon
    pairs = zip(conf.values("User"), conf.values("Group"), strict=False)
    found = [Account(user, group) for user, group in pairs]
    if daemon.enable or not found:
        found.insert(0, Account(daemon.uname, daemon.gname))
    return list(dict.fromkeys(found))


def allowed(account: Account, wanted: Mapping[Path, int]) -> dict[Path, bool]:
    """Return which files the account may use as wanted. Raises CannotTell.

    Only root can look as somebody else; anybody else looks for himself.
    """
    if os.geteuid() != 0:
        return {path: os.access(path, mode) for path, mode in wanted.items()}
    done = _asked([(str(path), mode) for path, mode in wanted.items()], _identity(account))
    return dict(zip(wanted, done, strict=True))


def _identity(account: Account) -> dict[str, Any]:
    try:
        user, group = pwd.getpwnam(account.user), grp.getgrnam(account.group)
    except KeyError as error:
        raise CannotTell(f"the service account does not exist: {error.args[0]}") from error
    return {"user": user.pw_uid, "group": group.gr_gid, "extra_groups": os.getgrouplist(user.pw_name, group.gr_gid)}


def _asked(questions: list[tuple[str, int]], identity: dict[str, Any]) -> list[bool]:
    command = [sys.executable, "-I", "-S", "-c", _PROGRAM]
    try:
        done = subprocess.run(
            command,
            check=False,
            input=json.dumps(questions),
            capture_output=True,
            text=True,
            cwd="/",
            timeout=_LIMIT,
            **identity,
        )
        found: list[bool] = json.loads(done.stdout)
    except PermissionError as error:
        raise CannotTell(f"the account may not run {sys.executable}: {error.strerror}") from error
    except (subprocess.SubprocessError, ValueError, OSError) as error:
        raise CannotTell(f"looking as the account failed: {error}") from error
    return found
