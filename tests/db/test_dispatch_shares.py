"""Shares and the memory of a queue decide which jobs pilots get, on real databases."""

from __future__ import annotations

import pytest

from pandaserver.taskbuffer.connection_settings import ConnectionSettings
from pandaserver.taskbuffer.db_proxy_mods import job_dispatch
from pandaserver.taskbuffer.requests import Acquired, JobRequest, Selection
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from tests.db.crowd import insert, put_jobs, statements_of


@pytest.fixture(autouse=True)
def no_dice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_dispatch, "SLOPPY_RATIO", 0)


def wants(n_jobs: int = 1, **filters: int) -> JobRequest:
    return JobRequest("TEST_PQ", n_jobs, Selection.user, **filters)


def ids_of(acquired: Acquired) -> list[int | None]:
    return [job.PandaID for job in acquired.jobs]


def test_shares_alternate_between_two_snapshots_of_the_statistics(tbuf: TaskBuffer) -> None:
    ids = {name: put_jobs(tbuf, 3, gshare=name) for name in ("left", "right")}
    insert(tbuf, "PANDA.Global_Shares", *({"name": name, "value": 50} for name in ids))
    tbuf.refreshShareStatistics()
    given = [pid for _ in range(6) for pid in ids_of(tbuf.getJobs(wants()))]
    assert given == [pid for pair in zip(*ids.values(), strict=True) for pid in pair]


@pytest.fixture
def thirsty(tbuf: TaskBuffer) -> int:
    """A queue whose jobs need 3000 MB per core on average, and where a job of 2000 MB on one core waits."""
    put_jobs(tbuf, 1, "running", minRamCount=6000, coreCount=2)
    [waiting] = put_jobs(tbuf, 1, minRamCount=2000, coreCount=1)
    tbuf.refreshShareStatistics()
    return waiting


@pytest.mark.parametrize(("target", "is_given"), [(0, True), (1999, False), (2000, True), (3000, True)])
def test_where_jobs_need_more_memory_than_wanted_only_lighter_ones_are_given(
    tbuf: TaskBuffer, thirsty: int, target: int, is_given: bool
) -> None:
    assert ids_of(tbuf.getJobs(wants(mean_memory=target))) == ([thirsty] if is_given else [])


def test_operators_may_ignore_the_mean_memory(tbuf: TaskBuffer, thirsty: int) -> None:
    row = {"app": "pandaserver", "component": "meanrss", "key": "IGNORE_MEANRSS", "value": "true", "type": "bool"}
    insert(tbuf, "PANDA.Config", {**row, "VO": "default", "descr": "test"})
    assert ids_of(tbuf.getJobs(wants(mean_memory=1000))) == [thirsty]


def test_a_pilot_that_nothing_fits_does_not_try_every_share(tbuf: TaskBuffer, database: ConnectionSettings) -> None:
    names = [f"share{n}" for n in range(40)]
    insert(tbuf, "PANDA.Global_Shares", *({"name": name, "value": 1} for name in names))
    for name in names:
        put_jobs(tbuf, 1, gshare=name, minRamCount=4000)
    tbuf.refreshShareStatistics()
    tbuf.getJobs(wants(memory=100))  # fills the memory of the connection
    searches = 2 if database.backend == "postgres" else 1
    assert statements_of(tbuf, "acquire_jobs", wants(memory=100)) == searches * job_dispatch.FIRST_LEAVES + 1


def test_a_share_beyond_the_first_ones_keeps_its_rank(tbuf: TaskBuffer) -> None:
    names = [f"share{n:02}" for n in range(12)]
    insert(tbuf, "PANDA.Global_Shares", *({"name": name, "value": 1} for name in names))
    ids = [put_jobs(tbuf, 1, gshare=name, currentPriority=100 + n)[0] for n, name in enumerate(names)]
    tbuf.refreshShareStatistics()
    assert ids_of(tbuf.getJobs(wants(12))) == ids
