"""Releases of the stock pilot as they are published: fetched once, each with an interpreter of its own."""

from __future__ import annotations

import configparser
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pandaserver.testing.release_cache import kept

#: The newest release there is, and the last of the line that many sites still run.
NEWEST: Final = "3.7.0.36"
FORMER: Final = "3.5.1.4"


class PilotUnavailable(Exception):
    """The stock pilot cannot be run here; the message says why."""


@dataclass(frozen=True, slots=True)
class Release:
    """A release: ``python`` sees none of our packages, ``source`` holds ``pilot.py``."""

    version: str
    python: Path
    source: Path

    @property
    def sorts_files(self) -> bool:
        """Whether copytool mv knows final destinations, as queues with ``mv_final_destination`` ask for."""
        return self.version != FORMER

    def configuration(self, changes: Mapping[str, Mapping[str, str]]) -> str:
        """Return its own configuration with other values: section -> key -> value.

        The pilot reads a file with this text in place of its own if HARVESTER_PILOT_CONFIG names it.
        """
        parser = configparser.RawConfigParser()
        parser.optionxform = str  # type: ignore[assignment,method-assign]  # keys are case sensitive there
        parser.read(self.source / "pilot" / "util" / "default.cfg")
        for section, values in changes.items():
            for key, value in values.items():
                if not parser.has_option(section, key):
                    raise KeyError(f"panda-pilot {self.version} knows no {key} in [{section}]")
                parser.set(section, key, value)
        lines: list[str] = []
        for section in parser.sections():
            lines += [f"[{section}]", *(f"{key}: {value}" for key, value in parser.items(section)), ""]
        return "\n".join(lines)


def fetched(version: str = NEWEST) -> Release:
    """Return a release, which is fetched at first use."""
    home = kept("stock-pilots", version, lambda home: _fetch(version, home))
    return Release(version, home / "bin" / "python", home / "source")


def _fetch(version: str, home: Path) -> None:
    """Fetch a release, with an interpreter that sees nothing else: the pilot needs the standard library only."""
    subprocess.run([sys.executable, "-m", "venv", "--clear", "--without-pip", str(home)], check=True)
    with tempfile.TemporaryDirectory(dir=home) as scratch:
        command = [f"{sys.prefix}/bin/python", "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:"]
        done = subprocess.run(
            [*command, "--dest", scratch, f"panda-pilot=={version}"], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise PilotUnavailable(f"panda-pilot {version} cannot be fetched: {done.stderr[-1000:]}")
        archive = next(Path(scratch).glob("*.tar.gz"))
        subprocess.run(["tar", "-xzf", archive, "--no-same-owner", "-C", scratch], check=True)
        shutil.move(next(Path(scratch).glob("panda*pilot-*/")), home / "source")
