"""The module that lets Apache accept proxy certificates, built against the Apache of this machine."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

NAME: Final = "mod_panda_proxies"
SOURCE: Final = Path(__file__).with_name(f"{NAME}.c")


def build(directory: Path) -> Path:
    """Compile the module into ``directory`` and return its path. Raises OSError with what the compiler said."""
    apxs = shutil.which("apxs") or shutil.which("apxs2")
    if apxs is None:
        raise FileNotFoundError("apxs is not installed; it comes with the headers of Apache, as mod_wsgi needs them")
    with tempfile.TemporaryDirectory() as name:
        shutil.copy(SOURCE, name)
        command = [apxs, "-c", "-S", "CC=gcc", SOURCE.name]
        done = subprocess.run(command, cwd=name, capture_output=True, text=True, check=False, timeout=120)
        made = Path(name, ".libs", f"{NAME}.so")
        if done.returncode or not made.exists():
            raise OSError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
        directory.mkdir(parents=True, exist_ok=True)
        target = directory / made.name
        fresh = target.with_suffix(".new")  # a running Apache has the old one mapped
        shutil.copy(made, fresh)
        fresh.chmod(0o755)
        fresh.replace(target)
    return target
