"""What a log line should know about the request it serves, without passing it through every call."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

#: Identifier of the request that is being served, "" outside of one. Frames carry it into the database child.
request_id: Final[ContextVar[str]] = ContextVar("request_id", default="")

#: Address that the request came from, for audit rows. Frames carry it, too.
remote_address: Final[ContextVar[str]] = ContextVar("remote_address", default="")
