"""Python values to what drivers take: NULL for an empty text, naive UTC times, plain types for enumerations."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from math import isfinite
from typing import Any

from pandaserver.srvcore.errors import BadRequest
from pandaserver.taskbuffer.connection_settings import Secret

Converter = Callable[[Any], Any]


class Outgoing:
    """Converts one value; remembers by type how."""

    def __init__(self, time: Callable[[datetime], Any] | None = None) -> None:
        self._time = time
        self._by_type: dict[type, Converter] = {str: _text, int: _same, float: _finite, type(None): _same, bytes: _same}

    def __call__(self, value: Any) -> Any:
        kind = type(value)
        convert = self._by_type.get(kind)
        if convert is None:
            convert = self._by_type[kind] = self._converter(kind)
        return convert(value)

    def _converter(self, kind: type) -> Converter:
        if issubclass(kind, datetime):
            time = self._time
            return _naive if time is None else lambda value: time(_naive(value))
        if issubclass(kind, Enum):
            return lambda value: self(value.value)
        if issubclass(kind, Secret):
            return lambda value: _text(value.reveal())
        for base, converter in (
            (bool, int),
            (str, lambda value: _text(str.__str__(value))),
            (int, int),
            (float, _finite),
        ):
            if issubclass(kind, base):
                return converter
        if issubclass(kind, Decimal):
            return lambda value: int(value) if value == value.to_integral_value() else float(value)
        if issubclass(kind, bytearray | memoryview):
            return bytes
        raise TypeError(f"a value of type {kind.__name__} cannot be bound")


def _same(value: Any) -> Any:
    return value


def _finite(value: float) -> float:
    if not isfinite(value):
        raise BadRequest(f"{value} is no number that databases store")
    return float(value)


def _text(value: str) -> str | None:
    if "\0" in value:
        raise BadRequest("a text contains a NUL character, which databases do not store")
    return value or None


def _naive(value: datetime) -> datetime:
    return value if value.tzinfo is None else value.astimezone(UTC).replace(tzinfo=None)
