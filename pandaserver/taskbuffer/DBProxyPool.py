"""Bridges shared by threads, with bounded waiting."""

from __future__ import annotations

import os
import queue
from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from typing import Any, TypeVar

from pandacommon.pandalogger.PandaLogger import LoggerValues, PandaLogger
from pandaserver.srvcore.errors import Busy
from pandaserver.taskbuffer.bridge import OPERATION_MODULES, Caller, ChildSettings, time_limit
from pandaserver.taskbuffer.ConBridge import ConBridge
from pandaserver.taskbuffer.connection_settings import ConnectionSettings, OperationSettings
from pandaserver.taskbuffer.operation import Operation

_logger = PandaLogger().getLogger("DBProxyPool")

R = TypeVar("R")
PATIENCE = 10.0  # seconds that a call waits for a bridge at most, so that an overloaded server says so in time
CLOSING_LIMIT = 5.0  # seconds to wait for bridges in use when the pool is closed


class OraDBProxyPool:
    """Executes operations on the first free bridge. Bridges start their child at their first call.

    ``make_bridge`` makes another kind of bridge, such as LocalBridges for ``usedbtimeout = False``.
    """

    def __init__(
        self,
        size: int,
        connection: ConnectionSettings,
        operations: OperationSettings,
        *,
        logger: LoggerValues | None = None,
        modules: tuple[str, ...] = OPERATION_MODULES,
        patience: float = PATIENCE,
        max_memory: int = 0,
        make_bridge: Callable[[], Caller] | None = None,
    ) -> None:
        self.size = size
        self._connection = connection
        self._patience = patience
        child = ChildSettings(connection, operations, logger, modules)
        make = make_bridge or (lambda: ConBridge(child, PandaLogger.getLogger("ConBridge"), max_memory=max_memory))
        # Last in, first out: a quiet server needs few children, and the others never start.
        self._idle: queue.LifoQueue[Caller] = queue.LifoQueue()
        self._bridges = [make() for _ in range(size)]
        for bridge in self._bridges:
            self._idle.put(bridge)
        _logger.info(f"pool made pid={os.getpid()} connections={size} backend={connection.backend}")

    @property
    def transactions(self) -> int:
        """Transactions so far, of all bridges that count them."""
        return sum(getattr(bridge, "transactions", 0) for bridge in self._bridges)

    def call(
        self,
        operation: Operation[..., R],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        timeout: float | None = None,
    ) -> R:
        """Run the operation on a free bridge. One deadline covers waiting for the bridge and the call."""
        limit = time_limit(operation, self._connection, timeout)
        deadline = monotonic() + limit
        try:
            bridge = self._idle.get(timeout=max(0.0, min(limit, self._patience)))
        except queue.Empty:
            _logger.warning(f"no connection free pid={os.getpid()} connections={self.size} call={operation.name}")
            raise Busy(f"all {self.size} database connections were in use: {operation.name} was not executed") from None
        try:
            return bridge.call(operation, args, kwargs, deadline - monotonic())
        finally:
            self._idle.put(bridge)

    def close(self) -> None:
        """Close all bridges, waiting a little for those in use. Children of the rest end with this process."""
        deadline = monotonic() + CLOSING_LIMIT
        closed: list[Caller] = []
        try:
            for _ in range(self.size):
                closed.append(self._idle.get(timeout=max(0.0, deadline - monotonic())))
                closed[-1].close()
        except queue.Empty:
            pass  # their calls are still running; nobody is left to wait for them
        finally:
            for bridge in closed:
                self._idle.put(bridge)
