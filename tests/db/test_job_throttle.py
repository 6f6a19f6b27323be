"""Jobs that are held back from dispatch, on real databases."""

from __future__ import annotations

import pytest

from pandaserver.taskbuffer.requests import JobRequest, Selection
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from tests.db.crowd import put_jobs, query

LONG = 6 * 3600 + 1


def states(tbuf: TaskBuffer) -> dict[int, tuple[str, int | None]]:
    rows = query(tbuf, "SELECT PandaID, jobStatus, relocationFlag FROM ATLAS_PANDA.jobsActive4")
    return {pid: (status, flag) for pid, status, flag in rows}


def test_long_jobs_of_a_user_are_held_back_and_released(tbuf: TaskBuffer) -> None:
    ids = put_jobs(tbuf, 2, prodUserName="Jane Doe", relocationFlag=1, maxCpuCount=LONG)
    assert sorted(tbuf.throttleUserJobs("Jane Doe", None, 100)) == ids
    assert states(tbuf) == dict.fromkeys(ids, ("throttled", 3))
    assert tbuf.getJobs(JobRequest("TEST_PQ", 9, Selection.user)).jobs == ()
    assert sorted(tbuf.releaseUserJobs("Jane Doe", None, 100)) == ids
    assert states(tbuf) == dict.fromkeys(ids, ("activated", 1))
    history = query(tbuf, "SELECT jobStatus FROM ATLAS_PANDA.jobs_StatusLog ORDER BY statusLogID")
    assert history == [("throttled",), ("throttled",), ("activated",), ("activated",)]


@pytest.mark.parametrize(
    "attributes",
    [
        {"prodUserName": "John Roe"},
        {"maxCpuCount": LONG - 1},
        {"relocationFlag": 2},
        {"workingGroup": "phys"},
        {"status": "sent"},
    ],
)
def test_other_jobs_are_not_held_back(tbuf: TaskBuffer, attributes: dict[str, object]) -> None:
    usual = {"prodUserName": "Jane Doe", "relocationFlag": 1, "maxCpuCount": LONG}
    put_jobs(tbuf, 1, **{**usual, **attributes})  # type: ignore[arg-type]
    assert tbuf.throttleUserJobs("Jane Doe", None, 100) == []


def test_jobs_of_a_group_are_those_of_that_group(tbuf: TaskBuffer) -> None:
    ids = put_jobs(tbuf, 1, prodUserName="Jane Doe", relocationFlag=1, maxCpuCount=LONG, workingGroup="phys")
    assert tbuf.throttleUserJobs("Jane Doe", "higgs", 100) == []
    assert tbuf.throttleUserJobs("Jane Doe", "phys", 100) == ids


def test_the_best_jobs_of_each_work_queue_return(tbuf: TaskBuffer) -> None:
    task = {"lockedby": "jedi", "jediTaskID": 7}
    by_queue = {q: [put_jobs(tbuf, 1, workQueue_ID=q, currentPriority=p, **task)[0] for p in (1, 3, 2)] for q in (4, 5)}
    [of_no_task] = put_jobs(tbuf, 1)
    assert len(tbuf.throttleQueue("TEST_PQ", 100)) == 6
    assert states(tbuf)[of_no_task][0] == "activated"
    assert sorted(tbuf.releaseQueue("TEST_PQ", 2)) == sorted(pid for ids in by_queue.values() for pid in ids[1:])


def test_what_is_held_back_for_its_user_does_not_return_with_its_queue(tbuf: TaskBuffer) -> None:
    task = {"lockedby": "jedi", "jediTaskID": 7, "relocationFlag": 1, "maxCpuCount": LONG}
    put_jobs(tbuf, 1, prodUserName="Jane Doe", **task)
    tbuf.throttleUserJobs("Jane Doe", None, 100)
    assert tbuf.releaseQueue("TEST_PQ", 10) == []
