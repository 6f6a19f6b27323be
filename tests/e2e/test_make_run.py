"""`make run` on a fresh copy of the tree, as somebody does who just cloned it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

from tests.e2e.conftest import ROOT, free_port
from tests.e2e.test_instance import left_behind

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

INSTALLATION = 600.0  # seconds: mod_wsgi is compiled


#: What a clone does not have.
NOT_CLONED = shutil.ignore_patterns(".git", ".venv", "var", "__pycache__", ".*_cache", ".hypothesis", "*.egg-info")


@pytest.fixture
def copy(directory: Path) -> Path:
    tree = directory / "panda"
    if not (ROOT / ".git").exists():  # these tests run in a copy themselves
        return shutil.copytree(ROOT, tree, ignore=NOT_CLONED)
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tree / name)
    return tree


def test_is_alive_after_make_run(copy: Path, tmp_path: Path) -> None:
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "MAKEFLAGS")}
    with (tmp_path / "output").open("w") as output:
        process = subprocess.Popen(
            ["make", "run", f"PORT={port}", f"TLS_PORT={free_port()}"],
            cwd=copy,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
    try:
        assert answer(f"http://localhost:{port}/server/panda/isAlive", process, tmp_path / "output") == "alive=yes"
    finally:
        os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C does
        process.wait(timeout=60)
    assert left_behind(copy) == []


def answer(url: str, process: subprocess.Popen[bytes], output: Path) -> str:
    deadline = time.monotonic() + INSTALLATION
    while True:
        try:
            with urllib.request.urlopen(url, timeout=30) as reply:
                return str(reply.read().decode())
        except OSError:
            assert process.poll() is None, output.read_text()
            assert time.monotonic() < deadline, output.read_text()
            time.sleep(0.5)
