"""The clock that everybody uses, and the name of this process among all machines."""

from __future__ import annotations

import os
import socket
from datetime import UTC, datetime
from typing import Final

#: Characters of the host's name; with two process numbers and what a caller appends, the whole fits lock columns (56).
_HOST_LENGTH: Final = 31


def naive_utcnow() -> datetime:
    """Return the time in UTC without time zone, the form in which the database stores times."""
    return datetime.now(UTC).replace(tzinfo=None)


def process_identity() -> str:
    """Return ``<short host>-<process group>-<pid>``, which names the holder of a lock in the database."""
    return f"{short_host()}-{os.getpgrp()}-{os.getpid()}"


def short_host() -> str:
    """Return the name of this machine, as it stands in the names of its processes."""
    return socket.gethostname().partition(".")[0][:_HOST_LENGTH]
