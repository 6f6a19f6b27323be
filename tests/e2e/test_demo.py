"""`make demo`: jobs from the stock client to `finished`, on a fresh instance."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import free_port
from tests.e2e.test_instance import left_behind


@pytest.fixture
def demo(directory: Path) -> subprocess.CompletedProcess[str]:
    ports = ["--port", str(free_port()), "--tls-port", str(free_port())]
    command = [sys.executable, "-m", "pandaserver.testing.demo", *ports, "--dir", str(directory), "--jobs", "4"]
    return subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)


def test_every_job_finishes_and_nothing_is_left(demo: subprocess.CompletedProcess[str], directory: Path) -> None:
    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert "4 of 4 jobs finished." in demo.stdout
    rows = [line.split() for line in demo.stdout.splitlines() if " finished  " in line]
    assert [row[1] for row in rows] == ["finished"] * 4
    assert all(state in row for row in rows for state in ("activated", "sent", "starting", "running", "holding"))
    assert [path.read_text() for path in directory.glob("work/store/*.counts.txt")] == ["9\n"] * 4
    assert left_behind(directory) == []
