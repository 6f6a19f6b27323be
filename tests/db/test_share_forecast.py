"""What ``panda-admin share`` says about the next jobs, and that dispatch then does it."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext
from datetime import datetime

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, Phase, assume, given, settings

from pandaserver.admin import share_command
from pandaserver.admin.site_files import read_shares
from pandaserver.taskbuffer import schema
from pandaserver.taskbuffer.connection_settings import ConnectionSettings, OperationSettings
from pandaserver.taskbuffer.db_proxy_mods import job_dispatch
from pandaserver.taskbuffer.local_bridge import LocalBridge
from pandaserver.taskbuffer.requests import JobRequest, Selection
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from tests.db.crowd import put_jobs, query
from tests.model.dispatch_order import QUEUES, World, put_world_for_test, worlds

Said = Callable[..., list[list[str]]]

FEW = settings(
    max_examples=10, deadline=None, database=None, phases=(Phase.generate,), suppress_health_check=list(HealthCheck)
)


@pytest.fixture(autouse=True)
def no_dice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_dispatch, "SLOPPY_RATIO", 0)


def test_dispatch_does_what_was_forecast(database: ConnectionSettings) -> None:
    @FEW
    @given(worlds())
    def check(world: World) -> None:
        assume(len(world.jobs) > 5)
        schema.empty_all(database)
        bridge = LocalBridge(database, OperationSettings())
        task_buffer = TaskBuffer(bridge)
        bridge.call(put_world_for_test, (world,), {})
        task_buffer.refreshShareStatistics()
        forecast = [job.PandaID for job in task_buffer.forecastDispatch(QUEUES[0], 10, "unified").jobs]
        asked = (task_buffer.getJobs(JobRequest(QUEUES[0], 1, Selection.unified)).jobs for _ in range(10))
        assert forecast == [job.PandaID for jobs in asked for job in jobs]
        bridge.close()

    check()


@pytest.fixture
def situation(tbuf: TaskBuffer) -> dict[str, list[int]]:
    """Analysis has a quarter of the tree and runs all; a job of a share that nobody knows has the highest priority."""
    shares = [
        {"name": "Analysis", "value": 25},
        {"name": "Production", "value": 75},
        {"name": "MC", "value": 100, "parent": "Production"},
    ]
    tbuf.replaceShares(read_shares(json.dumps(shares)), actor="test")
    tbuf.storeQueues({"TEST_PQ": {"type": "unified", "status": "online"}}, actor="test")
    put_jobs(tbuf, 4, "running", gshare="Analysis", coreCount=2)
    waiting = {name: put_jobs(tbuf, 2, gshare=name, coreCount=1) for name in ("Analysis", "MC")}
    waiting["unheard"] = put_jobs(tbuf, 1, gshare="unheard", coreCount=1, currentPriority=9000)
    tbuf.refreshShareStatistics()
    return waiting


@pytest.fixture
def said(tbuf: TaskBuffer, monkeypatch: pytest.MonkeyPatch) -> Said:
    monkeypatch.setattr(share_command, "opened_task_buffer", lambda: nullcontext(tbuf))

    def run(*words: str) -> list[list[str]]:
        done = CliRunner().invoke(share_command.share, words, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return [line.split() for line in done.output.splitlines()]

    return run


def test_each_share_is_shown_with_what_it_misses(tbuf: TaskBuffer, situation: dict[str, list[int]], said: Said) -> None:
    first, heading, *rows = said("show")
    assert first[:2] == ["statistics", "of"]
    assert datetime.fromisoformat(" ".join(first[2:4]))
    assert heading == ["share", "percent", "executing", "pledge", "deficit", "queued", "jobs", "next"]
    found = {row[0]: row[1:] for row in rows}
    # 8 HS06 run, all of them of Analysis, which should have a quarter.
    assert found["Analysis"] == ["25", "8", "2", "-6", "2", "2", "2"]
    assert found["Production"] == ["75", "0", "6", "6", "2", "2"]
    assert found["MC"] == ["75", "0", "6", "6", "2", "2", "1"]


def test_a_dry_run_says_which_jobs_leave_next_and_why(
    tbuf: TaskBuffer, situation: dict[str, list[int]], said: Said
) -> None:
    jobs = [" ".join(row) for row in said("simulate", "--queue", "TEST_PQ", "--label", "user", "--jobs", "9")[-5:]]
    order = [*situation["MC"], *situation["Analysis"], *situation["unheard"]]
    assert [line.split()[1] for line in jobs] == [f"PandaID={pid}" for pid in order]
    assert jobs[0].endswith("share=MC priority=1000: the share has 0 of 6.0")
    assert jobs[1].endswith("the share has 1 of 6.8")
    assert jobs[4].endswith("share=unheard priority=9000: no leaf of the tree, so it comes after all leaves")
    assert query(tbuf, "SELECT COUNT(*) FROM ATLAS_PANDA.jobsActive4 WHERE jobStatus = 'sent'") == [(0,)]


def test_a_dry_run_of_a_quiet_server_says_so(tbuf: TaskBuffer, said: Said) -> None:
    assert said("simulate")[0][:2] == ["no", "statistics:"]
