"""The unmodified stock pilot against a real server. Runs only as root: see the danger in stock_pilot.py."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from pandaserver.taskbuffer.ErrorCode import EC_Watcher
from pandaserver.taskbuffer.states import TRANSITIONS
from pandaserver.testing.stock_pilot import StockPilot, TokenIdentity
from pandaserver.testing.stock_pilot_release import FORMER, NEWEST
from tests.e2e.stock_matrix import DIAGONAL, EVERY, EXIT_CODE, Case, Result, run

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs an account and a process namespace of its own"),
    pytest.mark.timeout(900),
    pytest.mark.slow,
]

#: What the pilot says of a job that the server wants it to kill, and of a payload that failed.
PANDAKILL = 1144
ARROWS = {(arrow.source, arrow.target) for arrow in TRANSITIONS}


def words(case: Case) -> str:
    return f"{case.version}-{case.identity}-{case.fate}"


def test_nothing_of_a_pilot_survives_its_parent(directory: Path) -> None:
    pilot = StockPilot(
        directory / "pilot", directory / "store", http="http://localhost:1", identity=TokenIdentity("", "")
    )
    with subprocess.Popen([*pilot.isolated(), "sleep", "600"]) as parent:
        wait_until(lambda: [p for p in psutil.Process(parent.pid).children(recursive=True) if p.name() == "sleep"])
        offspring = psutil.Process(parent.pid).children(recursive=True)
        parent.kill()
    _, alive = psutil.wait_procs(offspring, timeout=20)
    survivors = [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]
    for process in survivors:
        process.kill()
    assert survivors == []


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture(scope="module")
def results() -> dict[Case, Result]:
    """All pilots of the diagonal, which work at the same time."""
    return run(DIAGONAL)


@pytest.mark.parametrize("case", DIAGONAL, ids=words)
def test_it_ends_right(results: dict[Case, Result], case: Case) -> None:
    check(case, results[case])


@pytest.mark.long
def test_every_release_identity_and_fate() -> None:
    for case, result in run(EVERY, patient=True).items():
        check(case, result)


@pytest.mark.long
def test_a_final_report_outlives_an_outage_of_the_database() -> None:
    cases = [Case(version, "token", "outage") for version in (NEWEST, FORMER)]
    for case, result in run(cases, server={"dbtimeout": 5}).items():
        assert result.job.jobStatus == "finished", f"{words(case)}: {result.output[-3000:]}"
        assert result.history[-3:] == ("running", "holding", "finished")


def check(case: Case, result: Result) -> None:
    """Compare the end of a job with what its fate demands."""
    job, said = result.job, f"{words(case)}: {result.job.pilotErrorDiag}\n{result.output[-3000:]}"
    assert all(arrow in ARROWS for arrow in zip(result.history, result.history[1:], strict=False)), result.history
    assert not re.search(r"server update attempt [2-9]", result.output), said
    match case.fate:
        case "finished" | "with_input":
            assert (job.jobStatus, job.transExitCode, job.pilotErrorCode) == ("finished", "0", 0), said
            assert result.kept == (True, True), said
            assert result.worker == "finished", said
            assert {file.status for file in job.Files if file.type != "input"} == {"ready"}, said
        case "payload_fails":
            assert (job.jobStatus, job.transExitCode) == ("failed", str(EXIT_CODE)), said
            assert job.pilotErrorCode != 0, said
            assert job.pilotErrorDiag, said
        case "killed":
            assert (job.jobStatus, job.pilotErrorCode) == ("cancelled", PANDAKILL), said
            assert "tobekilled" in result.output, said
        case "lost":
            assert (job.jobStatus, job.jobDispatcherErrorCode) == ("failed", EC_Watcher), said
    if case.fate != "lost":
        assert result.history[-3:-1] == ("running", "holding"), said
