"""The part of Helm's template language that our chart uses, for machines without Helm.

Known are ``{{ pipeline }}``, ``{{- ... }}``, ``if [not]``, ``else``, ``end``, paths into Values, Release and Chart,
``.Files.Get``, texts, whole numbers, and the functions below. Anything else is an error, so that a template that needs
more is noticed.
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

#: The blanks that ``{{-`` takes away belong to it.
_TAG: Final = re.compile(r"(?:\s*\{\{-|\{\{)\s(.*?)\s\}\}")


def _text(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: ""}[value]
    return str(value)


def _nindent(width: int, text: str) -> str:
    return ("\n" + text).replace("\n", "\n" + " " * width)


_FUNCTIONS: Final[Mapping[str, Callable[..., Any]]] = {
    "quote": lambda value: json.dumps(_text(value), ensure_ascii=False),
    "toYaml": lambda value: yaml.safe_dump(value, sort_keys=True).rstrip("\n"),
    "nindent": _nindent,
    "trim": str.strip,
    "sha256sum": lambda text: hashlib.sha256(text.encode()).hexdigest(),
    "add": lambda *numbers: sum(numbers),
}


def rendered(chart: Path, name: str, overrides: Mapping[str, Any] | None = None) -> dict[str, str]:
    """Return template file -> text, for a release of that name whose values differ from values.yaml like that."""
    values = merged(yaml.safe_load((chart / "values.yaml").read_text("utf-8")), overrides or {})
    scope = {"Values": values, "Release": {"Name": name}, "Chart": yaml.safe_load((chart / "Chart.yaml").read_text())}
    templates = sorted((chart / "templates").iterdir())
    return {path.name: _render(path.read_text("utf-8"), scope, chart) for path in templates}


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Put values over those of the chart, key by key."""
    result = dict(below)
    for key, value in above.items():
        both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = merged(result[key], value) if both else value
    return result


def _render(template: str, scope: Mapping[str, Any], chart: Path) -> str:
    pieces: list[str] = []
    shown: list[bool] = []  # for each open ``if``, whether this branch is
    position = 0
    for tag in _TAG.finditer(template):
        before, position = template[position : tag.start()], tag.end()
        if all(shown):
            pieces.append(before)
        pieces.extend(_obeyed(tag[1], shown, scope, chart))
    if shown:
        raise ValueError("an if has no end")
    rest = template[position:]
    if "{{" in rest or "}}" in rest:
        raise ValueError(f"not understood: {rest!r}")
    return "".join([*pieces, rest])


def _obeyed(statement: str, shown: list[bool], scope: Mapping[str, Any], chart: Path) -> Iterator[str]:
    if statement.startswith("if "):
        condition = statement.removeprefix("if ")
        wanted = not condition.startswith("not ")
        shown.append(bool(_value(condition.removeprefix("not "), scope, chart)) == wanted)
    elif statement == "else":
        shown[-1] = not shown[-1]
    elif statement == "end":
        shown.pop()
    elif all(shown):
        yield _text(_value(statement, scope, chart))


def _value(pipeline: str, scope: Mapping[str, Any], chart: Path) -> Any:
    value: list[Any] = []
    for stage in pipeline.split(" | "):
        function, *words = shlex.split(stage, posix=False)
        arguments = [_word(word, scope) for word in words] + value
        if function == ".Files.Get":
            value = [(chart / arguments[0]).read_text("utf-8")]
        elif function.startswith(".") and not arguments:
            value = [_word(function, scope)]
        else:
            value = [_FUNCTIONS[function](*arguments)]
    return value[0]


def _word(word: str, scope: Mapping[str, Any]) -> Any:
    if word.startswith("."):
        found: Any = scope
        for part in word[1:].split("."):
            found = found[part]
        return found
    return json.loads(word)
