"""Merge jobs of event service, and what kills and other ends from outside do to sets of ranges."""

from __future__ import annotations

from pandaserver.dataservice.Expirer import expire
from pandaserver.taskbuffer.events import RangeReport, ZipFile
from pandaserver.taskbuffer.expiry import expiry_rules
from pandaserver.taskbuffer.kill import Killer, KillRequest
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from pandaserver.taskbuffer.time_limits import DEFAULTS
from tests.db.completion import age, job_of, status_of_dataset
from tests.db.event_jobs import (
    TASK_LAYER,
    acquire,
    begin,
    consumer,
    counts,
    dispatch,
    end,
    family,
    ranges,
    submit,
    update,
)

SYSTEM = Killer(is_system=True)


def test_a_kill_that_keeps_results_goes_on_with_another_consumer(tbuf: TaskBuffer) -> None:
    (pid,) = submit(tbuf, consumer())
    begin(tbuf)
    update(tbuf, acquire(tbuf, pid, 2)[:1])
    assert tbuf.killJobs(KillRequest((pid,), SYSTEM, 2, keep_unmerged=True)) == [True]
    second = max(family(tbuf))
    assert family(tbuf) == {pid: (1, "merging", "es_retry", 111), second: (1, "activated", None, 0)}


def test_a_kill_of_the_last_consumer_cancels_its_set(tbuf: TaskBuffer) -> None:
    first, second = submit(tbuf, consumer(), consumer("es:a:"))
    begin(tbuf, 2)
    update(tbuf, acquire(tbuf, first, 2))
    acquire(tbuf, second, 1)
    end(tbuf, first)
    assert family(tbuf)[first][1] == "merging"
    third = max(family(tbuf))
    assert tbuf.killJobs(KillRequest((second, third), SYSTEM, 9)) == [True, True]
    assert [row[1] for row in family(tbuf).values()] == ["cancelled"] * 3
    assert counts(tbuf) == {4: 2, 5: 2}


def test_what_is_processed_outlives_a_kill_that_keeps_it(tbuf: TaskBuffer) -> None:
    first, second = submit(tbuf, consumer(), consumer("es:a:"))
    begin(tbuf, 2)
    update(tbuf, acquire(tbuf, first))
    assert end(tbuf, first) == "merging"
    assert tbuf.killJobs(KillRequest((second,), SYSTEM, 51, keep_unmerged=True)) == [True]
    merge = max(family(tbuf))
    assert [row[:2] for row in family(tbuf).values()] == [(1, "merging"), (1, "closed"), (2, "activated")]
    assert tbuf.killJobs(KillRequest((merge,), SYSTEM, 51, keep_unmerged=True)) == [True]
    again = max(family(tbuf))
    assert family(tbuf)[again][:2] == (2, "activated")
    assert tbuf.killJobs(KillRequest((again,), SYSTEM, 9)) == [True]
    assert family(tbuf)[first] == (1, "cancelled", "merge_cancelled", 113)


def test_a_kill_of_one_consumer_leaves_its_ranges_to_the_others(tbuf: TaskBuffer) -> None:
    first, second = submit(tbuf, consumer(), consumer("es:a:"))
    begin(tbuf, 2)
    acquire(tbuf, first, 3)
    assert tbuf.killJobs(KillRequest((first,), SYSTEM, 9)) == [True]
    assert len(acquire(tbuf, second)) == 4


def test_a_failed_merge_is_tried_again_and_then_given_up(tbuf: TaskBuffer) -> None:
    (pid,) = submit(tbuf, consumer())
    begin(tbuf)
    update(tbuf, acquire(tbuf, pid))
    end(tbuf, pid)
    for attempt in range(4):
        (merge,) = begin(tbuf)
        assert job_of(tbuf, merge).attemptNr == attempt
        assert family(tbuf)[pid][1] == "merging"
        assert end(tbuf, merge, "failed") == "failed"
    assert family(tbuf)[pid] == (1, "failed", "merge_failed", 113)
    assert dispatch(tbuf) == []


def test_a_merge_job_that_nobody_starts_is_made_again_by_copy_archive(tbuf: TaskBuffer) -> None:
    job = consumer(prodSourceLabel="managed", lockedby="jedi", jediTaskID=77, currentPriority=100)
    (pid,) = submit(tbuf, job, by=TASK_LAYER)
    begin(tbuf)
    update(tbuf, acquire(tbuf, pid))
    end(tbuf, pid)
    for attempt in range(4):
        merge = max(family(tbuf))
        assert (family(tbuf)[merge][1], job_of(tbuf, merge).attemptNr) == ("activated", attempt)
        age(tbuf, "jobsActive4", merge, modificationTime=3 * 1440)
        assert expire(tbuf, [rule for rule in expiry_rules(DEFAULTS) if rule.name == "long activated"]) == 1
        assert family(tbuf)[merge][1:3] == ("closed", "toreassign")
    assert max(family(tbuf)) == merge
    assert family(tbuf)[pid] == (1, "cancelled", "merge_closed", 113)


def test_an_archive_that_cannot_be_read_is_made_again(tbuf: TaskBuffer) -> None:
    (pid,) = submit(tbuf, consumer())
    begin(tbuf)
    got = acquire(tbuf, pid)
    for name, part in (("one.zip", got[:2]), ("two.zip", got[2:])):
        archive = ZipFile(name, store=4, fsize=100, checksum="ad:1", path_convention=1000)
        tbuf.updateEventRanges([RangeReport(key, "finished", zip_file=archive) for key in part], 1)
    end(tbuf, pid)
    (merge,) = begin(tbuf)
    names = [spec.lfn for spec in job_of(tbuf, merge).Files if spec.type == "input"]
    assert names == ["zip://one.zip", "zip://two.zip"]
    end(tbuf, merge, "failed", corrupted_files=("two.zip",))
    jobset = job_of(tbuf, pid).jobsetID
    assert ranges(tbuf) == [(pid, 3, 3), (pid, 3, 3), (jobset, 0, 2), (jobset, 0, 2)]
    (second,) = begin(tbuf)
    assert job_of(tbuf, second).eventService == 1
    update(tbuf, acquire(tbuf, second))
    end(tbuf, second)
    (merge,) = begin(tbuf)
    end(tbuf, merge)
    assert [row[1] for row in family(tbuf).values()] == ["finished", "failed", "finished", "finished"]


def test_datasets_stay_open_until_the_merge(tbuf: TaskBuffer) -> None:
    from tests.db.completion import put_dataset

    put_dataset(tbuf, "user.jane.out")
    (pid,) = submit(tbuf, consumer())
    begin(tbuf)
    update(tbuf, acquire(tbuf, pid))
    end(tbuf, pid)
    assert status_of_dataset(tbuf, "user.jane.out") == "running"
    (merge,) = begin(tbuf)
    end(tbuf, merge)
    assert status_of_dataset(tbuf, "user.jane.out") == "tobeclosed"
