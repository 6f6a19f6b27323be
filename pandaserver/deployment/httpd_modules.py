"""Small modules of our own for Apache, built against the Apache of this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

#: Loaded where they lie in ``lib/panda`` of the environment: a restart that waits for requests, and bodies read ahead.
ALWAYS: Final = ("mod_panda_restart", "mod_panda_bodies")

#: The one that lets Apache accept proxy certificates, loaded where a site asks for it.
PROXIES: Final = "mod_panda_proxies"


def directory(environment: Path) -> Path:
    """Return where the modules of an environment lie."""
    return environment / "lib" / "panda"


def ensure(environment: Path) -> list[Path]:
    """Build those of ``ALWAYS`` that are missing or older than their source. Raises OSError where they cannot be."""
    target = directory(environment)
    return [_current(name, target) or build(name, target) for name in ALWAYS]


def build(name: str, target: Path) -> Path:
    """Compile a module into ``target`` and return its path. Raises OSError with what the compiler said."""
    apxs = shutil.which("apxs") or shutil.which("apxs2")
    if apxs is None:
        raise FileNotFoundError("apxs is not installed; it comes with the headers of Apache, as mod_wsgi needs them")
    with tempfile.TemporaryDirectory() as work:
        source = Path(shutil.copy(_source(name), work))
        command = [apxs, "-c", "-S", "CC=gcc", source.name]
        done = subprocess.run(command, cwd=work, capture_output=True, text=True, check=False, timeout=120)
        made = Path(work, ".libs", f"{name}.so")
        if done.returncode or not made.exists():
            raise OSError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
        target.mkdir(parents=True, exist_ok=True)
        fresh = target / f".{name}.{os.getpid()}"  # a running Apache has the old one mapped
        shutil.copy(made, fresh)
        fresh.chmod(0o755)
        return fresh.replace(target / made.name)


def _source(name: str) -> Path:
    return Path(__file__).with_name(f"{name}.c")


def _current(name: str, target: Path) -> Path | None:
    made = target / f"{name}.so"
    return made if made.exists() and made.stat().st_mtime >= _source(name).stat().st_mtime else None
