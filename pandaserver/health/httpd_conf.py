"""The Apache configuration of the instance, as far as it tells where certificates and sockets are."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

NAME: Final = "panda_server-httpd.conf"
_VARIABLE: Final = re.compile(r"\$\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class HttpdConf:
    """One file. Directives in included files are not seen."""

    path: Path | None  # None: there is none where one is expected
    text: str
    environ: Mapping[str, str]

    @classmethod
    def find(cls, environ: Mapping[str, str]) -> HttpdConf:
        """Return the file that OPTIONS names, or that of PANDA_HOME, or that of this Python environment."""
        for path in _candidates(environ):
            try:
                return cls(path, path.read_text(errors="replace"), environ)
            except OSError:  # absent, or for other eyes
                continue
        return cls(None, "", environ)

    def values(self, directive: str) -> list[str]:
        """Return what a directive is given, each value once."""
        found = re.findall(rf'^\s*{directive}\s+"?([^"\n]+?)"?\s*$', self.text, re.MULTILINE | re.IGNORECASE)
        expanded = (_VARIABLE.sub(lambda name: self.environ.get(name[1], name[0]), value) for value in found)
        return list(dict.fromkeys(expanded))

    def paths(self, directive: str) -> list[Path]:
        """Return those of the values that are absolute paths."""
        return [Path(value) for value in self.values(directive) if value.startswith("/")]


def _candidates(environ: Mapping[str, str]) -> Iterator[Path]:
    options = shlex.split(environ.get("OPTIONS", ""))
    for option, value in pairwise(options):
        if option == "-f":
            yield Path(value)
    for home in (environ.get("PANDA_HOME"), sys.prefix):
        if home:
            yield Path(home, "etc", "panda", NAME)
