"""Executes the operations of one request with an idempotency key, each change once however often the request comes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Any, Final, TypeVar

from pandaserver.srvcore.errors import OutcomeUnknown
from pandaserver.taskbuffer.bridge import Caller
from pandaserver.taskbuffer.db_proxy_mods.idempotency import once
from pandaserver.taskbuffer.operation import Operation
from pandaserver.taskbuffer.tickets import Ticket

R = TypeVar("R")

#: Questions whose answers decide which changes follow, so that a repeated request must get the same.
_DECISIVE: Final = frozenset({"job_ids_of_task"})

#: Seconds that must be left for asking again after a lost child.
_WORTH_ASKING: Final = 1.0


class KeyedCaller:
    """Numbers the changes of a request and lets another caller make them. Questions go through as they are.

    A change is known by its operation and by how many calls of that one came before, so a handler must make its
    changes in the same order when it is called again; what it asks in between may have changed.
    """

    def __init__(self, caller: Caller, ticket: Ticket) -> None:
        self._caller = caller
        self._ticket = ticket
        self._calls: Counter[str] = Counter()
        self.changed = False  # whether the request changed anything, now or when it came first

    def call(
        self,
        operation: Operation[..., R],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        timeout: float | None = None,
    ) -> R:
        """Run a question, or make a change that was not made yet."""
        decisive = operation.name in _DECISIVE
        if operation.repeatable and not decisive:
            return self._caller.call(operation, args, kwargs, timeout)
        self._calls[operation.name] += 1
        step = self._calls[operation.name]
        wanted = (self._ticket, step, operation.name, tuple(args), dict(kwargs), decisive)
        value, changed = self._once(wanted, monotonic() + (operation.timeout if timeout is None else timeout))
        self.changed = self.changed or changed
        result: R = value
        return result

    def close(self) -> None:
        """Do nothing: what executes the calls belongs to whoever made it."""

    def _once(self, wanted: tuple[Any, ...], deadline: float) -> tuple[Any, bool]:
        try:
            return self._caller.call(once, wanted, {}, deadline - monotonic())
        except OutcomeUnknown:  # the row of the change says what happened, so asking again is safe
            if deadline - monotonic() < _WORTH_ASKING:
                raise
            return self._caller.call(once, wanted, {}, deadline - monotonic())
