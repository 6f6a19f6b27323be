"""The syntax of our ``*.cfg`` files, read so that every value knows its line and every mistake is reported.

It is the syntax of Python's ``configparser`` with the keys' case preserved; that parser itself stops at the first
mistake and forgets the lines. A test compares both on files without mistakes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

_SECTION: Final = re.compile(r"\[(?P<name>.+)\]")
_OPTION: Final = re.compile(r"(?P<key>.*?)\s*[=:]\s*(?P<value>.*)$")
_REFERENCE: Final = re.compile(r"%(?:%|\((?P<name>[^()]+)\)s|)")
_MAX_DEPTH: Final = 10


@dataclass(frozen=True, slots=True)
class Problem:
    """A mistake in a configuration file."""

    file: str
    line: int
    section: str
    key: str
    message: str
    suggestion: str = ""


@dataclass(frozen=True, slots=True)
class Value:
    """A value and where it stands. ``content`` is text, or any JSON value in a JSON file."""

    content: Any
    file: str
    line: int


Sections = dict[str, dict[str, Value]]


def parse(text: str, file: str, report: Callable[[Problem], None]) -> Sections:
    """Return the sections of one file; each mistake is reported and skipped."""
    reader = _Reader(file, report)
    for number, line in enumerate(text.splitlines(), start=1):
        reader.feed(number, line)
    reader.end_option()
    return reader.sections


class InterpolationError(Exception):
    """A ``%`` that refers to nothing."""


def interpolate(text: str, siblings: Mapping[str, Value], depth: int = 0) -> str:
    """Return the text with ``%(key)s`` replaced by the value of that key of the same section, and ``%%`` by ``%``."""
    if depth > _MAX_DEPTH:
        raise InterpolationError("%(...)s refers to itself")

    def replaced(found: re.Match[str]) -> str:
        if found[0] == "%%":
            return "%"
        if found[0] == "%":
            raise InterpolationError("a single % is not a value")
        if found["name"] not in siblings:
            raise InterpolationError("%(...)s refers to no key of this section")
        return interpolate(str(siblings[found["name"]].content), siblings, depth + 1)

    return _REFERENCE.sub(replaced, text)


class _Reader:
    """The state between two lines: the section, and the option that an indented line continues."""

    def __init__(self, file: str, report: Callable[[Problem], None]) -> None:
        self.file = file
        self.report = report
        self.sections: Sections = {}
        self._section: str | None = None
        self._key: str | None = None
        self._lines: list[str] = []
        self._start = 0
        self._indent = 0

    def feed(self, number: int, line: str) -> None:
        stripped = line.strip()
        if stripped.startswith(("#", ";")):
            return
        indent = len(line) - len(line.lstrip())
        if self._key is not None and (not stripped or indent > self._indent):
            self._lines.append(stripped)
        elif stripped:
            self.end_option()
            self._indent = indent
            self._begin(number, stripped)

    def end_option(self) -> None:
        """Keep the option that has been collected, unless its key was there before."""
        if self._key is None or self._section is None:
            return
        value = Value("\n".join(self._lines).rstrip(), self.file, self._start)
        first = self.sections[self._section].setdefault(self._key, value)
        if first is not value:
            self._mistake(self._start, f"appears twice, first in line {first.line}", "remove one of the two", self._key)
        self._key = None

    def _begin(self, number: int, stripped: str) -> None:
        if header := _SECTION.match(stripped):
            self._section = header["name"]
            if self._section in self.sections:
                self._mistake(number, "this section appears twice in the file", "join the two")
            self.sections.setdefault(self._section, {})
        elif self._section is None:
            self._mistake(number, "stands before the first section", "put a line such as [server] before it")
        elif (option := _OPTION.match(stripped)) and option["key"]:
            self._key, self._lines, self._start = option["key"], [option["value"].strip()], number
        else:
            hint = "write key = value, or indent the line to continue the value before it"
            self._mistake(number, f"cannot read {_shortened(stripped)!r}", hint)

    def _mistake(self, line: int, message: str, suggestion: str, key: str = "") -> None:
        self.report(Problem(self.file, line, self._section or "", key, message, suggestion))


def _shortened(text: str) -> str:
    # Only the first word: a line that cannot be read may be part of a password.
    return text.split()[0][:20] + "..."


def merged(layers: Iterable[Sections]) -> Sections:
    """Return all sections, where a later layer replaces single keys of the earlier ones."""
    together: Sections = {}
    for layer in layers:
        for section, values in layer.items():
            together.setdefault(section, {}).update(values)
    return together
