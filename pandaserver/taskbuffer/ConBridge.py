"""One database child that can be called: started when needed, replaced when lost, retired when old or large."""

from __future__ import annotations

import logging
import random
from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Any, TypeVar

from pandacommon.pandalogger.context import remote_address, request_id
from pandaserver.srvcore.backoff import Backoff
from pandaserver.srvcore.child_process import resident_megabytes
from pandaserver.srvcore.errors import ERROR_BY_CODE, BadRequest, OutcomeUnknown, PandaError, Unavailable
from pandaserver.taskbuffer.bridge import ChildSettings, OperationFailed, time_limit
from pandaserver.taskbuffer.child import CallLost, Child, NotStarted
from pandaserver.taskbuffer.operation import Operation
from pandaserver.taskbuffer.wire import FrameTooLarge

R = TypeVar("R")
LIFETIME = 3600.0  # seconds after which a child is replaced between two calls


class ConBridge:
    """Executes operations in a child, so that a stalled database costs a child and never this process.

    For one thread at a time; :class:`OraDBProxyPool` shares bridges among threads. A child older than ``lifetime``
    seconds or larger than ``max_memory`` MB (0: any) is replaced between two calls.
    """

    def __init__(
        self, settings: ChildSettings, logger: logging.Logger, lifetime: float = LIFETIME, max_memory: int = 0
    ) -> None:
        self._settings = settings
        self._logger = logger
        self._lifetime = lifetime
        self._max_memory = max_memory
        self.transactions = 0  # that children reported
        self._child: Child | None = None
        self._retires = 0.0
        self._backoff = Backoff()
        self._next_start = 0.0
        self._last_failure = ""

    @property
    def pid(self) -> int | None:
        """The process id of the child, if there is one."""
        return None if self._child is None else self._child.pid

    def call(
        self,
        operation: Operation[..., R],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        timeout: float | None = None,
    ) -> R:
        """Run the operation in the child. One deadline covers starting a child, sending, executing and receiving."""
        deadline = monotonic() + time_limit(operation, self._settings.connection, timeout)
        try:
            reply = self._ask(operation, args, kwargs, deadline)
        except CallLost as lost:
            if lost.timed_out or not operation.repeatable:
                raise _outcome(operation, lost) from lost
            try:  # safe, because the operation only reads
                reply = self._ask(operation, args, kwargs, deadline)
            except CallLost as lost_again:
                raise _outcome(operation, lost_again) from lost_again
        result: R = _unwrapped(operation, reply)
        return result

    def close(self) -> None:
        """End the child politely. A later call starts another."""
        if self._child is not None:
            self._child.dismiss()
            self._logger.info(f"child ended pid={self._child.pid}")
            self._child = None

    def _ask(
        self, operation: Operation[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], deadline: float
    ) -> Any:
        child = self._ready_child(operation, deadline)
        remaining = deadline - monotonic()
        if remaining <= 0:
            raise Unavailable(f"{operation.name} was not executed: the deadline had passed before it could be sent")
        serving = (request_id.get(), remote_address.get())
        request = (serving, remaining, operation.name, tuple(args), dict(kwargs))
        try:
            reply = child.ask(request, deadline)
        except FrameTooLarge as error:
            raise BadRequest(f"the arguments of {operation.name} are too large: {error}") from error
        except BaseException as error:
            if child.owes_reply:
                self._kill(f"operation={operation.name} reason={str(error) or type(error).__name__!r}")
            raise
        self.transactions += reply[-1] - child.transactions
        child.transactions = reply[-1]
        return reply

    def _ready_child(self, operation: Operation[..., Any], deadline: float) -> Child:
        try:
            child = self._current_child()
            child.wait_ready(deadline)
        except NotStarted as error:
            if error.final:
                self._start_failed(str(error))
            raise Unavailable(f"{operation.name} was not executed: {error}") from error
        self._backoff.succeeded()
        return child

    def _current_child(self) -> Child:
        now = monotonic()
        if self._child is not None and self._child.has_ended():
            self._kill("reason='had ended by itself'")
        elif self._child is not None and (now >= self._retires or self._is_too_large(self._child)):
            self.close()
        if self._child is None:
            if now < self._next_start:
                raise NotStarted(f"next start in {self._next_start - now:.1f} s after: {self._last_failure}", False)
            self._child = Child(self._settings)
            self._retires = now + self._lifetime * random.uniform(0.8, 1.2)  # so that children do not retire together
            self._logger.info(f"child started pid={self._child.pid}")
        return self._child

    def _is_too_large(self, child: Child) -> bool:
        return self._max_memory > 0 and resident_megabytes(child.pid) > self._max_memory

    def _start_failed(self, reason: str) -> None:
        pause = self._backoff.failed()
        self._next_start = monotonic() + pause
        self._last_failure = reason
        self._logger.error(f"child failed to start next_start_s={pause:.1f} reason={reason!r}")
        if self._child is not None:
            self._kill("reason='failed to start'")

    def _kill(self, facts: str) -> None:
        if self._child is not None:
            self._child.kill()
            self._logger.warning(f"child killed pid={self._child.pid} {facts}")
            self._child = None


def _outcome(operation: Operation[..., Any], lost: CallLost) -> PandaError:
    if lost.sent:
        return OutcomeUnknown(f"{operation.name} may have been executed: {lost}")
    return Unavailable(f"{operation.name} was not executed: {lost}")


def _unwrapped(operation: Operation[..., Any], reply: tuple[Any, ...]) -> Any:
    if reply[0] == "ok":
        return reply[1]
    _, code, text, details, _ = reply
    if code in ERROR_BY_CODE:
        raise ERROR_BY_CODE[code](text, **details)
    raise OperationFailed(f"{operation.name} met a bug, see the log of the database child: {text}")
