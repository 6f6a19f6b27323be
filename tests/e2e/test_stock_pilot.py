"""The unmodified stock pilot against a real server. Runs only as root: see the danger in stock_pilot.py."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pandaserver.testing import sample_job
from pandaserver.testing.demo import FINAL
from pandaserver.testing.instance import Instance
from pandaserver.testing.processes import end
from pandaserver.testing.stock_client import StockClient
from pandaserver.testing.stock_pilot import SCRIPT_BASE, StockPilot, store_path
from tests.e2e.conftest import new_instance

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs an account and a process namespace of its own"),
    pytest.mark.timeout(600),
    pytest.mark.slow,
]

SECONDS = 400
SECONDS_OF_DAEMON = 60


@pytest.fixture(scope="module")
def instance() -> Iterator[Instance]:
    """An instance without anybody else's jobs, because a stock pilot takes one job, whichever it is given."""
    with new_instance() as running:
        yield running


@pytest.fixture
def settled(instance: Instance, client: StockClient) -> Callable[[Any], Any]:
    """Submit a job, run one stock pilot, and return the job when its state is final and the pilot has ended."""
    home = instance.layout.home / "stock"
    home.mkdir(exist_ok=True)
    pilot = StockPilot(
        home / "pilot",
        home / "store",
        http=instance.http,
        token=instance.token("Pilot", "testvo/pilot"),
        origin="testvo.pilot",
    )

    def run(job: Any) -> Any:
        (panda_id,) = client.submit([job])
        output = instance.layout.log / f"stock_pilot_{panda_id}.out"
        process = pilot.start(output)
        try:
            return _settled(client, panda_id, process, output)
        finally:
            end(process, patience=5)

    return run


def _settled(client: StockClient, panda_id: int, process: subprocess.Popen[bytes], output: Path) -> Any:
    deadline, ended = time.monotonic() + SECONDS, 0.0
    while True:
        (job,) = client.jobs([panda_id])
        if job.jobStatus in FINAL:
            return job
        if process.poll() is not None:  # the rest is up to the daemon
            ended = ended or time.monotonic()
            deadline = min(deadline, ended + SECONDS_OF_DAEMON)
        assert time.monotonic() < deadline, f"{job.jobStatus}: {output.read_text()[-3000:]}"
        time.sleep(1)


def test_a_job_of_the_stock_pilot_finishes(settled: Callable[[Any], Any], instance: Instance) -> None:
    job = settled(sample_job.counting_job(SCRIPT_BASE, 1, tag="stock", with_input=False))
    assert (job.jobStatus, job.transExitCode, job.pilotErrorCode) == ("finished", "0", 0), job.pilotErrorDiag
    store = instance.layout.home / "stock" / "store"
    assert all((store / store_path(file.scope, file.lfn)).exists() for file in job.Files)


def test_the_error_of_a_failed_payload_is_kept(settled: Callable[[Any], Any]) -> None:
    job = settled(sample_job.failing_job(SCRIPT_BASE, tag="stock", exit_code=17))
    assert (job.jobStatus, job.transExitCode) == ("failed", "17")
    assert job.pilotErrorCode != 0
    assert job.pilotErrorDiag
