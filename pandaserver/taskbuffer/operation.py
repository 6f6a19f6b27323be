"""The registry of database operations: functions of an open transaction that a bridge calls by name."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from functools import update_wrapper
from types import MappingProxyType
from typing import Any, Concatenate, Final, Generic, ParamSpec, TypeVar

from pandaserver.taskbuffer.transaction import Transaction

P = ParamSpec("P")
R = TypeVar("R")


class Operation(Generic[P, R]):
    """A function that runs inside one transaction; calling it with a transaction composes it with others.

    ``repeatable`` means that it only reads: it runs in a read-only transaction and may be retried once.
    """

    def __init__(self, function: Callable[Concatenate[Transaction, P], R], timeout: float, repeatable: bool) -> None:
        self.function = function
        self.name: Final = function.__name__
        self.timeout: Final = timeout
        self.repeatable: Final = repeatable
        update_wrapper(self, function)

    def __reduce__(self) -> tuple[Any, ...]:
        return find_operation, (self.name,)  # crosses the bridge by name

    def __call__(self, tx: Transaction, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run inside the caller's transaction."""
        return self.function(tx, *args, **kwargs)

    def __repr__(self) -> str:
        return f"<operation {self.name}>"


_registry: dict[str, Operation[..., Any]] = {}

#: Every operation whose module has been imported, by name.
OPERATIONS: Final[Mapping[str, Operation[..., Any]]] = MappingProxyType(_registry)


def operation(
    *, timeout: float = 60.0, repeatable: bool = False
) -> Callable[[Callable[Concatenate[Transaction, P], R]], Operation[P, R]]:
    """Register a function as an operation under its name. ``timeout`` is its limit in seconds."""

    def register(function: Callable[Concatenate[Transaction, P], R]) -> Operation[P, R]:
        made = Operation(function, timeout, repeatable)
        known = _registry.get(made.name)
        if known is not None and _home(known) != _home(made):
            raise TypeError(f"operation {made.name} is declared in {_home(known)} and in {_home(made)}")
        _registry[made.name] = made
        return made

    return register


def _home(declared: Operation[..., Any]) -> str:
    return f"{declared.function.__module__}.{declared.function.__qualname__}"


def load_all_operations() -> Mapping[str, Operation[..., Any]]:
    """Import every module of operations and return the registry."""
    from pandaserver.taskbuffer import db_proxy_mods

    for module in pkgutil.iter_modules(db_proxy_mods.__path__, f"{db_proxy_mods.__name__}."):
        importlib.import_module(module.name)
    return OPERATIONS


def find_operation(name: str) -> Operation[..., Any]:
    """Return an operation by name; raises :class:`LookupError` when no module declares it."""
    return OPERATIONS[name] if name in OPERATIONS else load_all_operations()[name]
