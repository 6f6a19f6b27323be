"""What a newer version brings that the files of an administrator do not have."""

from __future__ import annotations

import configparser
import difflib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pandaserver.deployment.files import FILES, NEW

_ENVIRONMENT: Final = ("panda_server.sysconfig", "panda_server_env.systemd")
_VARIABLE: Final = re.compile(r"\$\{(PANDA_SERVER_CONF_\w+)\}")
_SETTING: Final = re.compile(r"#?(?P<key>[\w-]+) = (?P<value>.*)")


def news(directory: Path) -> Iterator[str]:
    """Return a line for each thing that stands in a ``.rpmnew`` of the directory, and not in the file beside it."""
    for file in FILES:
        old = directory / file.name.removesuffix(NEW)
        new = directory / file.name
        if not (file.is_edited and old.exists() and new.exists()):
            continue
        yours, shipped = old.read_text("utf-8"), new.read_text("utf-8")
        if old.suffix == ".cfg":
            yield from (f"{old.name}: {line}" for line in new_settings(yours, shipped))
        else:
            yield from (f"{old.name}: {line}" for line in new_lines(yours, shipped))
    yield from missing_variables(directory)


def new_settings(yours: str, shipped: str) -> Iterator[str]:
    """Return the settings and daemons that a file does not mention, not even as a comment."""
    known = {(section, key) for section, key, _, _ in _settings(yours)}
    for section, key, value, about in _settings(shipped):
        if (section, key) not in known:
            yield f"new setting [{section}] {key}, by default {value or 'empty'}: {about}"
    for name in sorted(_daemons(shipped) - _daemons(yours)):
        yield f"new daemon {name}"


def new_lines(yours: str, shipped: str) -> Iterator[str]:
    """Return the lines, comments aside, that only one of the files has."""
    before, after = _code(yours), _code(shipped)
    for line in difflib.unified_diff(before, after, n=0, lineterm=""):
        if line[:2] in ("--", "++", "@@"):
            continue
        yield f"{'shipped' if line[0] == '+' else 'yours  '}  {line[1:].strip()}"


def missing_variables(directory: Path) -> Iterator[str]:
    """Return the variables that Apache's configuration needs and the environment does not set."""
    conf = directory / "panda_server-httpd.conf"
    if not conf.exists():
        return
    needed = sorted(set(_VARIABLE.findall("\n".join(_code(conf.read_text("utf-8"))))))
    for name in _ENVIRONMENT:
        if (directory / name).exists():
            text = "\n".join(_code((directory / name).read_text("utf-8")))
            yield from (f"{name}: {conf.name} needs {variable}" for variable in needed if variable not in text)


def _settings(text: str) -> Iterator[tuple[str, str, str, str]]:
    """Return section, key, value and the comment above of each setting, also of those that are comments."""
    section, about = "", ""
    for line in text.splitlines():
        if line.startswith("["):
            section = line.strip("[] ")
        elif found := _SETTING.match(line):
            yield section, found["key"], found["value"], about
        elif line.startswith("# "):
            about = line.removeprefix("# ")


def _daemons(text: str) -> set[str]:
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    try:
        parser.read_string(text)
        return set(json.loads(parser.get("daemon", "config", fallback="{}")))
    except (configparser.Error, ValueError):  # check-config tells what is wrong with it
        return set()


def _code(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
