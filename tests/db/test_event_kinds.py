"""Clones, fine-grained jobs, jumbo jobs and co-jumbo jobs."""

from __future__ import annotations

from typing import Any

import pytest

from pandaserver.taskbuffer.JobSpec import JobSpec
from pandaserver.taskbuffer.submission import Submission
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from tests.db.completion import age, change, history, job_of
from tests.db.event_jobs import (
    FILE,
    TASK_LAYER,
    acquire,
    begin,
    consumer,
    counts,
    dispatch,
    end,
    family,
    ranges,
    say,
    submit,
    update,
)
from tests.factories import make_job


def clone(mode: str, group: str = "es:g:", **attributes: Any) -> JobSpec:
    return make_job(eventService=3, specialHandling=f"{group},sc:{mode},sc", **attributes)


def test_the_first_clone_that_runs_does_the_work(tbuf: TaskBuffer) -> None:
    first, second, third = submit(tbuf, clone("1"), clone("1"), clone("1"))
    assert dispatch(tbuf, 2) == [first, second]
    assert say(tbuf, second, "running").command is None
    lost = say(tbuf, first, "running")
    assert lost.command == "tobekilled"
    assert family(tbuf) == {
        first: (3, "closed", "jc_unlock", 200),
        second: (3, "running", None, 0),
        third: (3, "closed", "jc_unlock", 200),
    }
    assert history(tbuf, first) == ["defined", "activated", "sent", "closed"]
    assert end(tbuf, second) == "finished"
    assert ranges(tbuf) == [(second, 3, 3)]


def test_what_a_failed_clone_had_goes_to_the_others(tbuf: TaskBuffer) -> None:
    first, second = submit(tbuf, clone("1"), clone("1"))
    dispatch(tbuf, 2)
    say(tbuf, first, "running")
    assert end(tbuf, first, "failed") == "failed"
    assert say(tbuf, second, "running").command is None
    assert end(tbuf, second) == "finished"


def test_the_first_clone_that_stores_wins(tbuf: TaskBuffer) -> None:
    first, second = submit(tbuf, clone("2"), clone("2"))
    begin(tbuf, 2)
    assert end(tbuf, second) == "finished"
    assert end(tbuf, first) == "failed"
    loser = job_of(tbuf, first)
    assert (loser.ddmErrorCode, loser.jobSubStatus, loser.taskBufferErrorCode) == (200, "jc_unlock", 200)


@pytest.mark.parametrize(
    ("said", "word", "status"), [(4, "fg_done", "finished"), (1, "fg_partial", "finished"), (0, "fg_stumble", "failed")]
)
def test_a_fine_grained_job_is_what_its_ranges_are(tbuf: TaskBuffer, said: int, word: str, status: str) -> None:
    (pid,) = submit(tbuf, consumer(eventService=6))
    begin(tbuf)
    got = acquire(tbuf, pid, 2)
    task, job, file, _, attempt = got[1].split("-")
    rest = [f"{task}-{job}-{file}-{first}-{attempt}" for first in (21, 31)]
    assert update(tbuf, [*got, *rest][:said], version=2).returns == [True] * said
    assert end(tbuf, pid) == status
    assert family(tbuf)[pid][:3] == (6, status, word)
    assert counts(tbuf)[3] == said


def with_jumbo(tbuf: TaskBuffer) -> tuple[int, int]:
    """Submit a jumbo job and a co-jumbo job of one task and return them."""
    of_task: dict[str, Any] = {"prodSourceLabel": "managed", "lockedby": "jedi", "jediTaskID": 77}
    waiting = consumer(eventService=5, computingSite="WAITING_CO_JUMBO", **of_task)
    waiting.Files[0].fileID = 5
    stored = tbuf.storeJobs(Submission([waiting], TASK_LAYER, pending=True))
    (jumbo,) = submit(tbuf, make_job(eventService=4, **of_task), by=TASK_LAYER)
    return jumbo, stored.jobs[0].PandaID


def test_a_jumbo_job_takes_the_ranges_of_its_task(tbuf: TaskBuffer) -> None:
    jumbo, waiting = with_jumbo(tbuf)
    assert begin(tbuf) == [jumbo]
    assert tbuf.checkEventsAvailability(jumbo) == 4
    got = acquire(tbuf, jumbo)
    assert len(got) == 4
    age(tbuf, "jobsDefined4", waiting, modificationTime=31)
    assert tbuf.finishCoJumboJobs(30, 10) == 0
    update(tbuf, got)
    assert tbuf.finishCoJumboJobs(30, 10) == 1
    merge = max(family(tbuf))
    assert family(tbuf) == {waiting: (5, "closed", "es_merge", 112), merge: (2, "activated", None, 0)}
    assert end(tbuf, jumbo) == "finished"


def test_what_a_jumbo_job_leaves_goes_back(tbuf: TaskBuffer) -> None:
    jumbo, waiting = with_jumbo(tbuf)
    begin(tbuf)
    acquire(tbuf, jumbo, 3)
    assert end(tbuf, jumbo, "failed") == "failed"
    assert job_of(tbuf, jumbo).taskBufferErrorCode == 123
    jobset = job_of(tbuf, waiting).jobsetID
    assert {row[0] for row in ranges(tbuf)} == {jobset}
    age(tbuf, "jobsDefined4", waiting, modificationTime=31)
    assert tbuf.finishCoJumboJobs(30, 10) == 1
    assert family(tbuf) == {waiting: (5, "closed", "cojumbo_wrong", 117)}
    assert counts(tbuf) == {4: 4}


def test_a_jumbo_job_without_ranges_left_is_closed(tbuf: TaskBuffer) -> None:
    jumbo, _ = with_jumbo(tbuf)
    age(tbuf, "jobsActive4", jumbo, creationTime=61)
    assert tbuf.cleanupJumboJobs(10) == 0
    change(tbuf, "UPDATE ATLAS_PANDA.JEDI_Events SET status = 6")
    assert tbuf.cleanupJumboJobs(10) == 1
    assert (job_of(tbuf, jumbo).jobStatus, job_of(tbuf, jumbo).jobSubStatus) == ("closed", "taskdone")


def test_ranges_are_forgotten_with_their_jobs(tbuf: TaskBuffer) -> None:
    (pid,) = submit(tbuf, consumer(f"es:a:{FILE}/1/40/10/1", maxAttempt=-1))
    begin(tbuf)
    acquire(tbuf, pid)
    end(tbuf, pid, "failed")
    age(tbuf, "jobsArchived4", pid, modificationTime=40 * 1440)
    assert tbuf.forgetEvents(30, 10) == 0
    assert tbuf.archiveJobs(7, 10).moved == (pid,)
    assert tbuf.forgetEvents(30, 10) == 1
    assert ranges(tbuf) == []
