"""What the service account may do with files, also when root is asking."""

from __future__ import annotations

import grp
import json
import os
import pwd
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pandaserver.config.settings import DaemonSettings

READ, WRITE = os.R_OK | os.X_OK, os.W_OK | os.X_OK  # what one does in a directory
READ_FILE: Final = os.R_OK

_LIMIT: Final = 10.0  # seconds; a file server that is gone makes a look last for ever
_PROGRAM: Final = """
import json, os, sys
print(json.dumps([os.path.lexists(path) and os.access(path, mode) for path, mode in json.load(sys.stdin)]))
"""


class CannotTell(Exception):
    """Nobody could look as that account; the message says why."""


def allowed(daemon: DaemonSettings, wanted: Mapping[Path, int]) -> dict[Path, bool]:
    """Return which files the account may use as wanted. Raises CannotTell."""
    if os.geteuid() != 0:
        return {path: os.access(path, mode) for path, mode in wanted.items()}
    done = _asked([(str(path), mode) for path, mode in wanted.items()], _identity(daemon))
    return dict(zip(wanted, done, strict=True))


def _identity(daemon: DaemonSettings) -> dict[str, Any]:
    try:
        account, group = pwd.getpwnam(daemon.uname), grp.getgrnam(daemon.gname)
    except KeyError as error:
        raise CannotTell(f"uname or gname in [daemon] of panda_server.cfg: {error.args[0]}") from error
    groups = os.getgrouplist(account.pw_name, group.gr_gid)
    return {"user": account.pw_uid, "group": group.gr_gid, "extra_groups": groups}


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
