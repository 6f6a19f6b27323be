"""Configuration files of one name from all usual directories, environment variables, and a JSON map on top."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from pandacommon.liveconfigparser.ini import (
    InterpolationError,
    Problem,
    Sections,
    Value,
    interpolate,
    merged,
    parse,
)

#: A value that is nothing but the name of a variable, in one of the three spellings.
_VARIABLE: Final = re.compile(r"\$(?:(\w+)|\{(\w+)\}|\{\{(\w+)\}\})")


def search_path(environ: Mapping[str, str]) -> list[Path]:
    """Return the directories that may hold configuration files; a later one overrides an earlier one."""
    places = [Path("/etc/panda"), Path("/usr/etc/panda")]
    if home := _home(environ):
        places.append(home / "etc/panda")
    if panda_home := environ.get("PANDA_HOME"):
        places += [Path(panda_home) / "etc/panda", Path(panda_home) / "usr/etc/panda"]
    return places


def _home(environ: Mapping[str, str]) -> Path | None:
    try:
        return Path(environ["HOME"]) if environ.get("HOME") else Path.home()
    except RuntimeError:  # an account that the system does not know, as in some containers
        return None


class LiveConfigParser:
    """The merged content of the files that were read; every value keeps its file and line.

    Mistakes are collected in ``problems``; nothing is raised for them. The files are read once: despite the historical
    name, a change of a file takes a restart.
    """

    def __init__(self, environ: Mapping[str, str], directories: Sequence[Path] | None = None) -> None:
        self._environ = environ
        self.directories = list(directories) if directories is not None else search_path(environ)
        self._layers: list[Sections] = []
        self._map: Sections = {}
        self.files: list[str] = []
        self.problems: list[Problem] = []

    def read(self, name: str) -> None:
        """Read the files of that name; a file that two directories share through a link is read once."""
        seen = set()
        for path in (directory / name for directory in self.directories):
            if self._is_there(path) and path.resolve() not in seen:
                seen.add(path.resolve())
                self._layers.append(parse(self._text_of(path), str(path), self.problems.append))

    def _is_there(self, path: Path) -> bool:
        try:
            return path.is_file()
        except PermissionError:
            home = _home(self._environ)
            if home is None or home not in path.parents:
                raise
            return False  # the home of somebody else, after a change of account that kept HOME

    def read_map(self, path: Path) -> None:
        """Read a JSON file ``{section: {key: value}}`` whose values replace those of the other files."""
        text = self._text_of(path)
        try:
            content = json.loads(text)
        except json.JSONDecodeError as error:
            self.problems.append(Problem(str(path), error.lineno, "", "", f"is not valid JSON: {error.msg}"))
            return
        if not isinstance(content, dict) or not all(isinstance(values, dict) for values in content.values()):
            hint = 'write {"server": {"key": "value"}}'
            self.problems.append(Problem(str(path), 1, "", "", "is not a map of sections to maps of values", hint))
            return
        self._map = {
            section: {key: Value(found, str(path), _line_of(text, section, key)) for key, found in values.items()}
            for section, values in content.items()
        }

    def sections(self, raw: Sequence[str] = ()) -> Sections:
        """Return all values, with references and variables replaced; not variables in the sections of ``raw``."""
        files = merged(self._layers)
        common = files.pop("DEFAULT", {})  # as in any INI file of Python: values for all sections
        expanded = {section: self._interpolated(section, common | values) for section, values in files.items()}
        together = merged([expanded, self._map])
        return {
            section: values if section in raw else {key: self._substituted(value) for key, value in values.items()}
            for section, values in together.items()
        }

    def _text_of(self, path: Path) -> str:
        self.files.append(str(path))
        try:
            return path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            self.problems.append(Problem(str(path), 0, "", "", f"cannot be read: {error}"))
            return "{}" if path.suffix == ".json" else ""

    def _interpolated(self, section: str, values: Mapping[str, Value]) -> dict[str, Value]:
        done: dict[str, Value] = {}
        for key, value in values.items():
            try:
                done[key] = replace(value, content=interpolate(value.content, values))
            except InterpolationError as error:
                hint = "write %% for a percent sign"
                self.problems.append(Problem(value.file, value.line, section, key, str(error), hint))
        return done

    def _substituted(self, value: Value) -> Value:
        """Return the value of the variable, if the whole text is the name of one that is set."""
        if not isinstance(value.content, str) or not (found := _VARIABLE.fullmatch(value.content)):
            return value
        name = found[1] or found[2] or found[3]
        if name not in self._environ:
            return value
        return replace(value, content=self._environ[name], file=f"${name} in {value.file}")


def _line_of(text: str, section: str, key: str) -> int:
    """Return the line of a key in a JSON text, found by its name because the parser does not tell."""
    start = text.find(json.dumps(section))
    found = re.compile(re.escape(json.dumps(key)) + r"\s*:").search(text, max(start, 0))
    return text.count("\n", 0, found.start()) + 1 if found else 1
