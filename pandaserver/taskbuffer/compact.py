"""Pickling values that cross the bridge without asking a dataclass for its fields each time."""

from __future__ import annotations

from dataclasses import fields
from operator import attrgetter
from typing import Any, TypeVar

T = TypeVar("T", bound=type)


def compact(cls: T) -> T:
    """Let instances of a dataclass pickle as its constructor and the values of its fields, in order."""
    names = [field.name for field in fields(cls)]
    values = attrgetter(*names)

    def reduce(self: Any) -> tuple[Any, ...]:
        return cls, values(self) if len(names) > 1 else (values(self),)

    cls.__reduce__ = reduce  # type: ignore[assignment]
    return cls
