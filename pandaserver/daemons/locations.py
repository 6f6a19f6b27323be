"""Where the daemon keeps what its processes share."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pandaserver.config.settings import LoggerSettings


def lock_directory(environ: Mapping[str, str], logger: LoggerSettings) -> Path:
    """Return the directory of the locks that scripts of this machine share."""
    return _shared(environ, logger) / "daemon_locks"


def status_file(environ: Mapping[str, str], logger: LoggerSettings) -> Path:
    """Return the file in which the master of this machine tells how it is."""
    return _shared(environ, logger) / "panda_daemon_status.json"


def _shared(environ: Mapping[str, str], logger: LoggerSettings) -> Path:
    return Path(environ.get("PANDA_LOCK_DIR") or logger.logdir)
