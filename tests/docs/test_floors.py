"""The building stands: every module has a floor, and importing one does nothing else."""

from __future__ import annotations

import configparser
import pkgutil
import subprocess
import sys
from pathlib import Path

import pandacommon
import pandaserver

ROOT = Path(__file__).resolve().parents[2]

#: Programs that run when they are imported as a script is run; nobody imports them.
NOT_IMPORTED = ("pandaserver.testing.stock_client_driver", "pandaserver.taskbuffer.schema.versions")

IMPORT_ALL = """
import importlib, sys

seen = []

def watch(event, arguments):
    if event in ("socket.connect", "socket.bind", "subprocess.Popen", "os.fork", "os.exec", "os.posix_spawn"):
        seen.append((event, str(arguments)[:100]))
    if event == "open" and isinstance(arguments[0], str):
        path, mode = arguments[0], arguments[1] or "r"
        if path.endswith((".cfg", ".log")) or (isinstance(mode, str) and set(mode) & set("wax+")):
            seen.append((event, path))

sys.addaudithook(watch)
sys.dont_write_bytecode = True
for name in sys.argv[1:]:
    importlib.import_module(name)
print(seen)
sys.exit(bool(seen))
"""


def modules() -> list[str]:
    """Every module of both packages."""
    found = []
    for package in (pandacommon, pandaserver):
        found += [m.name for m in pkgutil.walk_packages(package.__path__, f"{package.__name__}.") if not m.ispkg]
    return found


def floors() -> list[list[str]]:
    """The layers of the import contract, from the top."""
    contract = configparser.ConfigParser()
    contract.read(ROOT / ".importlinter")
    lines = contract["importlinter:contract:floors"]["layers"].strip().splitlines()
    return [[name.strip() for name in line.split(":")] for line in lines]


def test_every_module_stands_on_exactly_one_floor() -> None:
    listed = [name for floor in floors() for name in floor]
    homeless = [
        module for module in modules() if sum(module == name or module.startswith(f"{name}.") for name in listed) != 1
    ]
    assert homeless == [], "add them to their floor in .importlinter"


def test_there_are_seven_floors() -> None:
    assert len(floors()) == 7


def test_importing_connects_to_nothing_starts_nothing_and_reads_no_configuration() -> None:
    names = [name for name in modules() if not name.startswith(NOT_IMPORTED)]
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, *names], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
