"""Releases of the stock client library as they are published, each in an environment of its own."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pandaserver.testing.release_cache import kept

#: The newest release there is, which speaks v1, and one of the line that speaks the historical interface only.
NEWEST: Final = "2.2.0"
FORMER: Final = "1.5.80"

_OURS: Final = frozenset({"panda-client", "panda-server"})


class ClientUnavailable(Exception):
    """The stock client cannot be installed here; the message says why."""


@dataclass(frozen=True, slots=True)
class Release:
    """A release: ``python`` sees it and what it requires, and none of our packages."""

    version: str
    home: Path

    @property
    def python(self) -> Path:
        """The interpreter to run it with."""
        return self.home / "bin" / "python"

    def command(self, name: str) -> Path:
        """Return one of its commands, such as pbook; ``environment`` is what it needs to find itself."""
        return self.home / "bin" / name

    @property
    def environment(self) -> dict[str, str]:
        """Variables that users set by sourcing its setup script."""
        [packages] = (self.home / "lib").glob("python*/site-packages")
        return {
            "PANDA_SYS": str(self.home),
            "PANDA_PYTHONPATH": str(packages),
            "PANDA_PYTHON_EXEC": str(self.python),
            "PATH": f"{self.home}/bin:/usr/bin:/bin",
        }


def fetched(version: str = NEWEST) -> Release:
    """Return a release, which is fetched at first use."""
    return Release(version, kept("stock-clients", version, lambda home: _install(version, home)))


def _install(version: str, home: Path) -> None:
    """Install a release; what it requires has the versions that are around us, so that everybody gets the same."""
    subprocess.run([sys.executable, "-m", "venv", "--clear", "--without-pip", str(home)], check=True)
    around = (one.metadata["Name"] + "==" + one.version for one in importlib.metadata.distributions())
    pins = home / "pins.txt"
    pins.write_text("\n".join(sorted(pin for pin in around if pin.partition("==")[0].lower() not in _OURS)))
    pip = [sys.executable, "-m", "pip", "--python", str(home / "bin" / "python"), "install", "-q", "--no-cache-dir"]
    done = subprocess.run(
        [*pip, "--constraint", str(pins), f"panda-client=={version}"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise ClientUnavailable(f"panda-client {version} cannot be installed: {done.stderr[-1000:]}")
