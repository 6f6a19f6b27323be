"""The table of contents of the database floor: what callers may ask, under the historical names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, ParamSpec, Self, TypeVar, overload

from pandaserver.taskbuffer.bridge import Caller
from pandaserver.taskbuffer.operation import Operation

P = ParamSpec("P")
R = TypeVar("R")


class proxied(Generic[P, R]):
    """A method of :class:`TaskBuffer` that calls one operation; the operation's parameters and result type hold."""

    def __init__(self, operation: Operation[P, R]) -> None:
        self.operation = operation
        self.__doc__ = operation.__doc__

    @overload
    def __get__(self, instance: None, owner: type[TaskBuffer]) -> Self: ...

    @overload
    def __get__(self, instance: TaskBuffer, owner: type[TaskBuffer]) -> Callable[P, R]: ...

    def __get__(self, instance: TaskBuffer | None, owner: type[TaskBuffer]) -> Self | Callable[P, R]:
        if instance is None:
            return self

        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            return instance.caller.call(self.operation, args, kwargs, instance.timeout)

        return call


class TaskBuffer:
    """Calls operations through a bridge. Each method is one call, one transaction and one round trip."""

    def __init__(self, caller: Caller, timeout: float | None = None) -> None:
        self.caller = caller
        self.timeout = timeout

    def within(self, seconds: float) -> Self:
        """Return a view of this task buffer whose calls may take ``seconds`` each, whatever the operation says."""
        return type(self)(self.caller, seconds)

    def close(self) -> None:
        """Close what executes the calls. Only who created the task buffer does this."""
        self.caller.close()
