"""The server as ``pip install`` leaves it: a wheel of this checkout in a virtual environment of its own."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: What a wheel is made of.
SOURCES = ("pandaserver", "pandacommon", "templates", "setup.py", "pyproject.toml", "README.md")


def wheel(directory: Path, version: str | None = None, change: Callable[[Path], None] | None = None) -> Path:
    """Build the wheel of this checkout, or of it with another version and a change, without asking any index."""
    source = directory / f"source-{version}"
    source.mkdir(parents=True)
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, source / name)
    if version:
        module = source / "pandaserver" / "__init__.py"
        module.write_text(re.sub(r'(?m)^__version__ = ".*"$', f'__version__ = "{version}"', module.read_text()))
    if change:
        change(source)
    pip("wheel", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", str(directory), str(source))
    shutil.rmtree(source)
    return next(directory.glob(f"panda_server-{version or '*'}-*.whl"))


def environment(prefix: Path) -> Path:
    """Make a virtual environment that finds the packages we need in ours, but not our editable installation."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(prefix)], check=True)
    packages = prefix / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    # The .pth files of a directory that is named in one are not read.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return prefix


def install(prefix: Path, package: Path) -> None:
    """Install a wheel, or another version over it."""
    pip("--python", str(prefix / "bin" / "python"), "install", "--no-deps", "--no-index", str(package))


def pip(*arguments: str) -> None:
    """Run pip, and show what it said if it fails."""
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
