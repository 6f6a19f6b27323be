"""What the task buffer needs of whoever executes its operations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from pandacommon.pandalogger.PandaLogger import LoggerValues
from pandaserver.taskbuffer.connection_settings import ConnectionSettings, OperationSettings
from pandaserver.taskbuffer.operation import Operation

R = TypeVar("R")
OPERATION_MODULES = ("pandaserver.taskbuffer.TaskBuffer",)


class Caller(Protocol):
    """Executes operations: in this process, in one child, or in one of a pool of children."""

    def call(
        self,
        operation: Operation[..., R],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        timeout: float | None = None,
    ) -> R:
        """Run the operation as one transaction within ``timeout`` seconds (None: the operation's own limit).

        Raises what the operation raised, :class:`Busy` or :class:`Unavailable` when it was not executed, and
        :class:`OutcomeUnknown` when nobody knows.
        """
        ...

    def close(self) -> None:
        """Give connections and processes back. A later call starts afresh."""
        ...


@dataclass(frozen=True, slots=True)
class ChildSettings:
    """What a database child learns in its first frame, so that no password appears in a command line."""

    connection: ConnectionSettings
    operations: OperationSettings
    logger: LoggerValues | None = None  # None: only warnings, to stderr
    modules: tuple[str, ...] = OPERATION_MODULES  # imported by the child, so that their operations are known there


class OperationFailed(Exception):
    """An operation met a bug in the child, which logged the traceback; deliberately not a :class:`PandaError`."""


def time_limit(operation: Operation[..., Any], connection: ConnectionSettings, timeout: float | None) -> float:
    """Return the seconds that one call may take: as asked, else the operation's limit under the connection's."""
    return min(operation.timeout, connection.timeout) if timeout is None else timeout
