"""Wire values into Python values of a declared type: strict for JSON, forgiving for text."""

from __future__ import annotations

import json
import math
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from pandaserver.srvcore.json_size import refuse_many_values

#: What databases store as one integer.
_MAX_INT: Final = 2**63 - 1

#: Texts that old clients send where they mean "no value".
_NO_VALUE: Final = frozenset({"None", "NULL"})


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that arrived with a request; the stream is on disk unless it is small."""

    filename: str  # as the client spelled it: never trust its directories
    stream: typing.BinaryIO
    size: int


class WrongType(Exception):
    """The value is not of the declared type; the text says what it is instead."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A declared type: one or more plain types, perhaps with a type of elements, perhaps ``None``."""

    bases: tuple[type, ...]
    element: Kind | None = None
    optional: bool = False

    def __str__(self) -> str:
        name = " or ".join("Any" if b is object else b.__name__ for b in self.bases)
        return f"{name}[{self.element}]" if self.element else name


def kind_of(annotation: Any) -> Kind:
    """Return the kind that an annotation means; what requests cannot carry raises TypeError."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is Any:
        return Kind((object,), optional=True)
    if origin in (types.UnionType, typing.Union):
        parts = [kind_of(a) for a in arguments if a is not types.NoneType]
        element = next((p.element for p in parts if p.element), None)
        return Kind(tuple(b for p in parts for b in p.bases), element, optional=len(parts) < len(arguments))
    if origin is list:
        return Kind((list,), None if arguments[0] is Any else kind_of(arguments[0]))
    if origin is dict:
        return Kind((dict,))
    if isinstance(annotation, type):
        return Kind((annotation,))
    raise TypeError(f"a request parameter cannot be of type {annotation!r}")


def strict(kind: Kind, value: Any) -> Any:
    """Return a JSON value that already has the declared type; ``bool`` passes as ``int``, ``int`` as ``float``."""
    if value is None and kind.optional:
        return None
    for base in kind.bases:
        if base is object:
            return value
        if base is float and isinstance(value, int | float):
            return float(_finite(value))
        if base is int and isinstance(value, int):
            return _storable(int(value))
        if base is bool and isinstance(value, bool):
            return value
        if base is str and isinstance(value, str):
            return readable(value)
        if base is list and isinstance(value, list):
            return [strict(kind.element, v) for v in value] if kind.element else value
        if base not in (int, float, bool, str, list) and isinstance(value, base):
            return value
    raise WrongType(type(value).__name__)


def from_text(kind: Kind, value: Any) -> Any:
    """Return the value that a v1 query string or form field means; repeated fields arrive as a list."""
    if list in kind.bases:
        words = value if isinstance(value, list) else [value]
        if kind.optional and words == ["None"]:
            return None
        return [from_text(kind.element, w) for w in words] if kind.element else words
    if not isinstance(value, str):
        return strict(kind, value)
    if kind.optional and value == "None":
        return None
    return _cast(kind, value, truth=lambda text: text.lower() in ("true", "1"))


def from_legacy(kind: Kind, value: Any) -> Any:
    """Return the value that a field of the historical door means: text, or a typed value out of a JSON body."""
    if isinstance(value, str):
        if kind.optional and (value in _NO_VALUE or (value == "" and str not in kind.bases)):
            return None
        if kind.bases == (list,) and kind.element:
            return [from_legacy(kind.element, v) for v in _literal(value, list)]
        return _cast(kind, value, truth=lambda text: text == "True")
    if isinstance(value, int | float) and not isinstance(value, bool):
        if str in kind.bases:
            return str(value)
        if int in kind.bases and float not in kind.bases and object not in kind.bases:
            return _truncated(value)
    return strict(kind, value)


def readable(text: str) -> str:
    """Return text that every database can store, or refuse it: no NUL, no half of a surrogate pair."""
    if "\0" in text:
        raise WrongType("text with a NUL character")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise WrongType("text that is not valid Unicode") from None
    return text


def repaired(text: str) -> str:
    """Return the text with what no database can store replaced, for measurements and logs of pilots."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()


def _cast(kind: Kind, text: str, truth: Callable[[str], bool]) -> Any:
    if str in kind.bases or object in kind.bases:
        return readable(text)
    for base in kind.bases:
        if base is bool:
            return truth(text.strip())
        if base is float:
            return _number(text)
        if base is int:
            return _truncated(_number(text)) if not text.lstrip("-").isdecimal() else _storable(_whole(text))
        if base in (dict, list):
            return _literal(text, base)
    raise WrongType("str")


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:  # too many digits, or two signs
        raise WrongType("str") from None


def _number(text: str) -> float:
    try:
        return _finite(float(text))
    except ValueError:
        raise WrongType("str") from None


def _truncated(number: float) -> int:
    return _storable(int(_finite(number)))


def _finite(number: float) -> float:
    try:
        if math.isfinite(number):
            return number
    except OverflowError:
        raise WrongType("a number that is too large") from None
    raise WrongType("a number that is not finite")


def _storable(number: int) -> int:
    if -_MAX_INT <= number <= _MAX_INT:
        return number
    raise WrongType("a number of more than 64 bits")


def _literal(text: str, base: type) -> Any:
    refuse_many_values(text)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise WrongType("text that is not JSON") from None
    if not isinstance(value, base):
        raise WrongType(type(value).__name__)
    return value
