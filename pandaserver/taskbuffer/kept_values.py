"""Results of operations as text that can be kept in a table, and back: JSON with marks, and nothing that can run.

Plain values, times, enumerations and our own dataclasses survive; anything else is refused with TypeError when it is
written. A pickle would take more, but whoever could write into the table could then run programs here.
"""

from __future__ import annotations

import base64
import dataclasses
import importlib
import json
import zlib
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Any, Final

#: Name in a JSON object that says what kind of value stands for it.
_KIND: Final = "~"
_OURS: Final = "pandaserver."

#: Longer texts are compressed.
_LONG: Final = 4096
_COMPRESSED: Final = "z"

#: Most characters of a kept text; 5000 jobs take a tenth of it.
MOST: Final = 2**20


def kept(value: Any) -> str | None:
    """Return a value as text, None if that is too long to be kept. What cannot be kept at all raises TypeError."""
    text = json.dumps(_marked(value), separators=(",", ":"))
    if len(text) > _LONG:
        text = _COMPRESSED + base64.b64encode(zlib.compress(text.encode(), 6)).decode()
    return text if len(text) <= MOST else None


def restored(text: str) -> Any:
    """Return the value that a kept text stands for; LookupError if this release does not know its type."""
    if text.startswith(_COMPRESSED):
        text = zlib.decompress(base64.b64decode(text[1:])).decode()
    return _unmarked(json.loads(text))


def _marked(value: Any) -> Any:
    if value is None or type(value) in (bool, int, str, float):
        return value
    if isinstance(value, list):
        return [_marked(one) for one in value]
    if isinstance(value, Mapping):
        if all(type(name) is str for name in value) and _KIND not in value:
            return {name: _marked(one) for name, one in value.items()}
        return _mark("dict", [[_marked(name), _marked(one)] for name, one in value.items()])
    if isinstance(value, tuple):
        members = [_marked(one) for one in value]
        return _mark("named", members, type(value)) if hasattr(value, "_fields") else _mark("tuple", members)
    if isinstance(value, set | frozenset):
        return _mark(type(value).__name__, [_marked(one) for one in sorted(value, key=repr)])
    if isinstance(value, Enum):
        return _mark("enum", value.value, type(value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {one.name: _marked(getattr(value, one.name)) for one in dataclasses.fields(value)}
        return _mark("data", fields, type(value))
    return _marked_scalar(value)


def _marked_scalar(value: Any) -> Any:
    match value:
        case datetime():
            return _mark("datetime", value.isoformat())
        case Decimal():
            return _mark("Decimal", str(value))
        case bytes():
            return _mark("bytes", base64.b64encode(value).decode())
        case str():
            return str(value)
    raise TypeError(f"a {type(value).__name__} cannot be kept")


def _mark(kind: str, value: Any, its_class: type[Any] | None = None) -> dict[str, Any]:
    mark = {_KIND: kind, "v": value}
    return mark if its_class is None else {**mark, "c": f"{its_class.__module__}:{its_class.__qualname__}"}


def _unmarked(value: Any) -> Any:
    if isinstance(value, list):
        return [_unmarked(one) for one in value]
    if not isinstance(value, dict):
        return value
    if _KIND not in value:
        return {name: _unmarked(one) for name, one in value.items()}
    kind, content = value[_KIND], _unmarked(value["v"])
    if kind in _SIMPLE:
        return _SIMPLE[kind](content)
    found = _class(value["c"])
    if kind == "data":
        return _filled(found, content)
    return found(content) if kind == "enum" else found(*content)


_SIMPLE: Final[Mapping[str, Callable[[Any], Any]]] = {
    "dict": lambda pairs: {_hashable(name): one for name, one in pairs},
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
    "datetime": datetime.fromisoformat,
    "Decimal": Decimal,
    "bytes": base64.b64decode,
}


def _hashable(name: Any) -> Any:
    return tuple(name) if isinstance(name, list) else name


def _class(name: str) -> type[Any]:
    module, _, path = name.partition(":")
    if not module.startswith(_OURS):
        raise LookupError(f"{name} is none of our types")
    try:
        found: Any = importlib.import_module(module)
        for part in path.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise LookupError(f"this release has no {name}") from error
    if not isinstance(found, type) or not (dataclasses.is_dataclass(found) or issubclass(found, Enum | tuple)):
        raise LookupError(f"{name} is no plain type")
    return found


def _filled(its_class: type[Any], fields: Mapping[str, Any]) -> Any:
    """Return an object as it was, without asking its constructor, which may have become stricter."""
    if {one.name for one in dataclasses.fields(its_class)} != fields.keys():
        raise LookupError(f"this release has another {its_class.__name__}")
    made = object.__new__(its_class)
    for name, value in fields.items():
        object.__setattr__(made, name, value)
    return made
