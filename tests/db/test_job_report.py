"""What is told about the jobs of a task, whether they are live or in the archive."""

from __future__ import annotations

import pytest

from pandaserver.daemons.scripts import archive_jobs
from pandaserver.srvcore.errors import Conflict
from pandaserver.taskbuffer.db_proxy_mods import job_report
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from tests.db.completion import age, insert
from tests.db.stages import put_job

TASK = 4711


def put(tbuf: TaskBuffer, status: str, metadata: str | None = None, days: float = 0, **attributes: object) -> int:
    job_id = put_job(tbuf, status, **{"jediTaskID": TASK, **attributes})
    if metadata is not None:
        insert(tbuf, "metaTable", minutes_ago={"modificationTime": 0}, PandaID=job_id, metadata=metadata)
    if days:
        age(tbuf, "jobsArchived4", job_id, modificationTime=days * 1440)
    return job_id


def test_metadata_is_that_of_finished_user_jobs_of_the_task(tbuf: TaskBuffer) -> None:
    live = put(tbuf, "finished", "live")
    old = put(tbuf, "finished", "old", days=8)
    put(tbuf, "failed", "failed")
    put(tbuf, "finished", "managed", prodSourceLabel="managed")
    put(tbuf, "finished", "another task", jediTaskID=TASK + 1)
    put(tbuf, "finished")
    archive_jobs.main(tbuf=tbuf)
    assert tbuf.getUserJobMetadata(TASK) == {live: "live", old: "old"}


def test_metadata_that_no_reply_can_carry_is_refused(tbuf: TaskBuffer, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tbuf, "finished", "12345678")
    put(tbuf, "finished", "12345678", days=8)
    archive_jobs.main(tbuf=tbuf)
    monkeypatch.setattr(job_report, "MOST_METADATA", 15)
    with pytest.raises(Conflict, match="left 16 characters of metadata, more than 15"):
        tbuf.getUserJobMetadata(TASK)
    monkeypatch.setattr(job_report, "MOST_METADATA", 16)
    assert len(tbuf.getUserJobMetadata(TASK)) == 2


def test_jobs_of_a_task_are_described_whole_in_the_order_of_their_numbers(tbuf: TaskBuffer) -> None:
    old = put(tbuf, "failed", "report", days=8)
    done, runs = put(tbuf, "finished"), put(tbuf, "running")
    put(tbuf, "running", jediTaskID=TASK + 1)
    archive_jobs.main(tbuf=tbuf)
    jobs = tbuf.describeJobsOfTask(TASK)
    assert [job.PandaID for job in jobs] == [old, done, runs]
    assert (jobs[0].metadata, jobs[0].jobParameters, len(jobs[0].Files)) == (None, "-i x", 3)
    assert [job.PandaID for job in tbuf.describeJobsOfTask(TASK, True)] == [old]
    assert tbuf.describeJobsOfTask(TASK + 2) == []
