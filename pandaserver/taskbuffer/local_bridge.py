"""The bridge's twin inside this process: for daemon workers, unit tests and ``usedbtimeout = False``."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Any, TypeVar

from pandaserver.srvcore.errors import Busy
from pandaserver.taskbuffer.bridge import time_limit
from pandaserver.taskbuffer.connection_settings import ConnectionSettings, OperationSettings
from pandaserver.taskbuffer.operation import Operation
from pandaserver.taskbuffer.OraDBProxy import OraDBProxy

R = TypeVar("R")


class LocalBridge:
    """Executes operations on one connection of this process, one at a time. Nothing can interrupt a stalled driver."""

    def __init__(self, connection: ConnectionSettings, operations: OperationSettings) -> None:
        self._connection = connection
        self._proxy = OraDBProxy(connection, operations)
        self._in_use = threading.Lock()

    def call(
        self,
        operation: Operation[..., R],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        timeout: float | None = None,
    ) -> R:
        """Run the operation, waiting for another thread's call first if there is one."""
        deadline = monotonic() + time_limit(operation, self._connection, timeout)
        if not self._in_use.acquire(timeout=max(0.0, deadline - monotonic())):
            raise Busy(f"the database connection was in use, so {operation.name} was not executed")
        try:
            result: R = self._proxy.call(operation.name, tuple(args), dict(kwargs), deadline - monotonic())
            return result
        finally:
            self._in_use.release()

    @property
    def transactions(self) -> int:
        """Transactions so far."""
        return self._proxy.transactions

    def close(self) -> None:
        """Close the connection."""
        with self._in_use:
            self._proxy.close()
