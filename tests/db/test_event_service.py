"""The life of event-service jobs, from their submission to the merged output."""

from __future__ import annotations

import pytest

from pandaserver.jobdispatcher.Watcher import Watcher
from pandaserver.srvcore.errors import BadRequest
from pandaserver.taskbuffer.db_proxy_mods import event_range
from pandaserver.taskbuffer.events import ZipFile
from pandaserver.taskbuffer.lost_jobs import heartbeat_rules
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from tests.db.completion import age, history, job_of, read, tables_of
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
    settle,
    submit,
    update,
)
from tests.factories import make_job


def test_ranges_are_made_at_submission(tbuf: TaskBuffer) -> None:
    (pid,) = submit(tbuf, consumer(f"es:a:{FILE}/1/25/10/2/100,debug"))
    job = job_of(tbuf, pid)
    rows = read(
        tbuf,
        "SELECT PandaID, status, def_min_eventID, def_max_eventID, attemptNr, event_offset, jobsetID, jediTaskID "
        "FROM ATLAS_PANDA.JEDI_Events ORDER BY job_processID",
    )
    assert rows == [
        (job.jobsetID, 0, 1, 10, 2, 100, job.jobsetID, 0),
        (job.jobsetID, 0, 11, 20, 2, 100, job.jobsetID, 0),
        (job.jobsetID, 0, 21, 25, 2, 100, job.jobsetID, 0),
    ]
    assert job.jobsetID != pid
    assert (job.specialHandling or "").split(",") == ["eventservice", "debug"]


@pytest.mark.parametrize(
    "split",
    [
        None,
        "es:a:",
        "es:a:other.root/1/40/10",
        f"es:a:{FILE}/1/40",
        f"es:a:{FILE}/1/40/0",
        f"es:a:{FILE}/9/8/1",
        f"es:a:{FILE}/1/4/x",
        f"es:a:{FILE}/1/999999999/1",
        f"es:a:{FILE}/1/4/1^{FILE}/1/4/1",
    ],
)
def test_what_cannot_be_split_is_refused_by_name(tbuf: TaskBuffer, split: str | None) -> None:
    with pytest.raises(BadRequest, match="specialHandling"):
        submit(tbuf, consumer(split))  # type: ignore[arg-type]
    assert ranges(tbuf) == []


def test_kinds_of_the_task_layer_are_not_for_everybody(tbuf: TaskBuffer) -> None:
    with pytest.raises(BadRequest, match="eventService 4 needs a production role"):
        submit(tbuf, make_job(eventService=4))


def test_one_consumer_to_the_merged_output(tbuf: TaskBuffer) -> None:
    (pid,) = submit(tbuf, consumer())
    assert begin(tbuf) == [pid]
    got = acquire(tbuf, pid)
    assert [key.split("-")[3] for key in got] == ["1", "11", "21", "31"]
    assert {key.split("-")[1] for key in got} == {str(pid)}
    assert acquire(tbuf, pid) == []
    assert update(tbuf, got[:1], "running").returns == [None]
    assert update(tbuf, got).returns == [True] * 4
    assert job_of(tbuf, pid).nEvents == 40
    assert end(tbuf, pid) == "merging"
    merge = max(family(tbuf))
    assert family(tbuf) == {pid: (1, "merging", "es_merge", 112), merge: (2, "activated", None, 0)}
    assert dispatch(tbuf) == [merge]
    inputs = sorted(spec.lfn or "" for spec in job_of(tbuf, merge).Files if spec.type == "input")
    assert inputs == sorted(f"user.jane.out.0000.root.{key}" for key in got)
    say(tbuf, merge, "running")
    assert end(tbuf, merge) == "finished"
    assert family(tbuf) == {pid: (1, "finished", "es_merge", 112), merge: (2, "finished", None, 0)}
    assert counts(tbuf) == {6: 4}
    assert history(tbuf, pid) == ["defined", "activated", "sent", "running", "holding", "merging", "finished"]
    assert history(tbuf, merge) == ["defined", "activated", "sent", "running", "holding", "finished"]
    files = read(tbuf, "SELECT status FROM ATLAS_PANDA.filesTable4 WHERE PandaID = :id AND type = 'output'", id=pid)
    assert files == [("finished",)]
    assert [tables_of(tbuf, n) for n in (pid, merge)] == [["jobsArchived4"]] * 2


def test_what_a_consumer_leaves_is_taken_by_another(tbuf: TaskBuffer) -> None:
    (pid,) = submit(tbuf, consumer())
    begin(tbuf)
    got = acquire(tbuf, pid, 3)
    update(tbuf, got[:1])
    update(tbuf, got[1:2], "failed", error_code=7, error_diag="no luck")
    assert end(tbuf, pid, "failed") == "merging"
    second = max(family(tbuf))
    assert family(tbuf) == {pid: (1, "merging", "es_retry", 111), second: (1, "activated", None, 0)}
    assert job_of(tbuf, second).attemptNr == 1
    assert job_of(tbuf, second).parentID == pid
    jobset = job_of(tbuf, pid).jobsetID
    assert ranges(tbuf) == [(pid, 3, 3), (jobset, 0, 2), (jobset, 0, 2), (jobset, 0, 3)]
    assert begin(tbuf) == [second]
    update(tbuf, acquire(tbuf, second))
    assert end(tbuf, second) == "merging"
    merge = max(family(tbuf))
    assert len([spec for spec in job_of(tbuf, merge).Files if spec.type == "input"]) == 4
    begin(tbuf)
    end(tbuf, merge)
    assert [row[1] for row in family(tbuf).values()] == ["finished"] * 3


def test_a_consumer_without_ranges_is_closed_while_others_work(tbuf: TaskBuffer) -> None:
    first, second = submit(tbuf, consumer(maxAttempt=-1), consumer("es:a:", maxAttempt=-1))
    begin(tbuf, 2)
    got = acquire(tbuf, first)
    assert acquire(tbuf, second) == []
    assert end(tbuf, second) == "closed"
    assert family(tbuf)[second] == (1, "closed", "es_inaction", 117)
    update(tbuf, got)
    assert end(tbuf, first) == "merging"
    assert family(tbuf)[first] == (1, "merging", "es_merge", 112)


def test_a_consumer_that_did_its_part_waits_for_the_others(tbuf: TaskBuffer) -> None:
    first, second = submit(tbuf, consumer(), consumer("es:a:"))
    begin(tbuf, 2)
    update(tbuf, acquire(tbuf, first, 2))
    rest = acquire(tbuf, second, 2)
    assert end(tbuf, first) == "merging"
    assert family(tbuf)[first] == (1, "merging", "es_wait", 115)
    update(tbuf, rest)
    assert end(tbuf, second) == "merging"
    assert sorted(row[0] for row in family(tbuf).values()) == [1, 1, 2]


def test_siblings_that_have_not_begun_are_closed_when_nothing_is_left(tbuf: TaskBuffer) -> None:
    first, second = submit(tbuf, consumer(), consumer("es:a:"))
    begin(tbuf)
    acquire(tbuf, first, 4)
    assert job_of(tbuf, second).jobStatus == "activated"
    assert acquire(tbuf, first, 1) == []
    assert family(tbuf)[second] == (1, "closed", "es_inaction", 116)
    assert history(tbuf, second) == ["defined", "activated", "closed"]


def test_ranges_without_attempts_fail_the_set(tbuf: TaskBuffer) -> None:
    (pid,) = submit(tbuf, consumer(f"es:a:{FILE}/1/40/10/1"))
    begin(tbuf)
    got = acquire(tbuf, pid)
    update(tbuf, got[:3])
    update(tbuf, got[3:], "failed")
    assert end(tbuf, pid, "failed") == "failed"
    assert family(tbuf) == {pid: (1, "failed", None, 114)}
    assert counts(tbuf) == {5: 3, 8: 1}


def test_fatal_ranges_are_not_tried_again(tbuf: TaskBuffer) -> None:
    (pid,) = submit(tbuf, consumer())
    begin(tbuf)
    assert update(tbuf, acquire(tbuf, pid), "fatal").returns == [True] * 4
    assert end(tbuf, pid, "failed") == "failed"
    assert family(tbuf) == {pid: (1, "failed", None, 119)}


def test_a_partial_result_is_merged_where_that_is_accepted(tbuf: TaskBuffer) -> None:
    job = consumer(f"es:a:{FILE}/1/40/10,ap", prodSourceLabel="managed")
    (pid,) = submit(tbuf, job, by=TASK_LAYER)
    begin(tbuf)
    got = acquire(tbuf, pid)
    update(tbuf, got[:3])
    update(tbuf, got[3:], "fatal")
    assert end(tbuf, pid) == "merging"
    merge = max(family(tbuf))
    assert family(tbuf)[merge][0] == 2
    assert len([spec for spec in job_of(tbuf, merge).Files if spec.type == "input"]) == 3


def test_the_last_consumer_without_any_result_fails(tbuf: TaskBuffer) -> None:
    (pid,) = submit(tbuf, consumer(maxAttempt=-1))
    begin(tbuf)
    acquire(tbuf, pid)
    assert end(tbuf, pid, "failed") == "failed"
    assert family(tbuf) == {pid: (1, "failed", None, 118)}
    assert counts(tbuf) == {4: 4}


def test_a_queue_that_is_offline_gets_no_new_consumer(tbuf: TaskBuffer) -> None:
    from tests.db.crowd import insert

    (pid,) = submit(tbuf, consumer())
    begin(tbuf)
    acquire(tbuf, pid)
    insert(tbuf, "PANDA.schedconfig_json", {"panda_queue": "TEST_PQ", "data": '{"status": "offline"}'})
    assert end(tbuf, pid, "failed") == "failed"
    assert family(tbuf) == {pid: (1, "failed", None, 125)}


def test_a_lost_heartbeat_gives_the_ranges_back(tbuf: TaskBuffer) -> None:
    (pid,) = submit(tbuf, consumer())
    begin(tbuf)
    got = acquire(tbuf, pid)
    age(tbuf, "jobsActive4", pid, modificationTime=300)
    assert Watcher(tbuf).run(heartbeat_rules(2.0, 48.0)) == 1
    second = max(family(tbuf))
    assert family(tbuf) == {pid: (1, "closed", "es_heartbeat", 123), second: (1, "activated", None, 0)}
    assert update(tbuf, got).returns == [False] * 4
    assert update(tbuf, got).commands == {pid: "tobekilled"}
    begin(tbuf)
    assert len(acquire(tbuf, second)) == 4


def test_a_lost_heartbeat_keeps_what_is_processed(tbuf: TaskBuffer) -> None:
    (pid,) = submit(tbuf, consumer())
    begin(tbuf)
    update(tbuf, acquire(tbuf, pid, 2)[:1])
    age(tbuf, "jobsActive4", pid, modificationTime=300)
    assert Watcher(tbuf).run(heartbeat_rules(2.0, 48.0)) == 1
    job = job_of(tbuf, pid)
    assert (job.jobStatus, job.jobSubStatus, job.jobDispatcherErrorCode) == ("merging", "es_retry", 100)
    assert job.endTime is not None
    assert {spec.type: spec.status for spec in job.Files} == {"input": "unknown", "output": "merging", "log": "failed"}


def test_files_of_a_job_that_its_set_takes_along_in_the_same_batch_end_with_it(tbuf: TaskBuffer) -> None:
    first, second = submit(tbuf, consumer(maxAttempt=-1), consumer("es:a:", maxAttempt=-1))
    begin(tbuf, 2)
    for pid in (first, second):
        update(tbuf, acquire(tbuf, pid, 1))
        say(tbuf, pid, "finished", output_report="{}")
    settle(tbuf)
    assert family(tbuf) == {first: (1, "failed", "es_wait", 121), second: (1, "failed", None, 114)}
    assert {spec.status for spec in job_of(tbuf, first).Files if spec.type == "output"} == {"failed"}


def test_reports_count_once(tbuf: TaskBuffer) -> None:
    (pid,) = submit(tbuf, consumer())
    begin(tbuf)
    got = acquire(tbuf, pid)
    task, job, file, process, attempt = got[1].split("-")
    odd = [
        got[0],
        got[0],
        "junk",
        f"{task}-999-{file}-{process}-{attempt}",
        f"{task}-{job}-{file}-{process}-9",
        f"{task}-{job}-{file}-12-{attempt}",
    ]
    taken = update(tbuf, odd)
    assert taken.returns == [True, True, False, False, False, False]
    assert taken.commands == {pid: None, 999: "tobekilled"}
    assert update(tbuf, got[:1], "failed").returns == [False]
    assert update(tbuf, got[1:2], "resting").returns == [False]
    assert job_of(tbuf, pid).nEvents == 10


def test_a_job_that_is_not_at_work_gets_nothing(tbuf: TaskBuffer) -> None:
    (pid,) = submit(tbuf, consumer())
    assert acquire(tbuf, pid) == []
    assert acquire(tbuf, 999) == []
    begin(tbuf)
    assert tbuf.checkEventsAvailability(pid) == 4
    got = acquire(tbuf, pid, 1)
    assert tbuf.checkEventsAvailability(pid) == 3
    end(tbuf, pid, "failed")
    assert acquire(tbuf, pid) == []
    assert update(tbuf, got).returns == [False]
    assert tbuf.checkEventsAvailability(pid) == 0


def test_states_of_ranges_are_told_by_job(tbuf: TaskBuffer) -> None:
    (pid,) = submit(tbuf, consumer())
    begin(tbuf)
    got = acquire(tbuf, pid, 2)
    update(tbuf, got[:1], "failed", error_code=3, error_diag="x")
    states = tbuf.getEventRangeStates([pid, 999])
    assert {key: (s.status, s.error, s.dialog) for key, s in states[pid].items()} == {
        got[0]: ("failed", 3, "x"),
        got[1]: ("sent", None, None),
    }


def test_a_new_set_of_the_task_takes_its_files_over(tbuf: TaskBuffer) -> None:
    def of_task() -> list[int]:
        job = consumer(prodSourceLabel="managed", lockedby="jedi", jediTaskID=77)
        job.Files[0].fileID, job.Files[0].datasetID = 5, 6
        return submit(tbuf, job, by=TASK_LAYER)

    (old,) = of_task()
    begin(tbuf)
    got = acquire(tbuf, old, 2)
    assert got[0].split("-")[0::2] == ["77", "5", "3"]
    update(tbuf, got[:1])
    (new,) = of_task()
    assert counts(tbuf) == {0: 4, 4: 3, 5: 1}
    assert update(tbuf, got[1:]).returns == [False]
    assert end(tbuf, old) == "closed"
    assert family(tbuf)[old] == (1, "closed", "es_badstatus", 126)
    begin(tbuf)
    assert len(acquire(tbuf, new)) == 4


def test_ranges_of_too_many_jobs_are_told_apart(tbuf: TaskBuffer, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = submit(tbuf, consumer(f"es:a:{FILE}/1/6/1"), consumer("es:a:"))
    begin(tbuf, 2)
    assert [len(acquire(tbuf, pid, 3)) for pid in (first, second)] == [3, 3]
    monkeypatch.setattr(event_range, "MOST_TOLD", 5)
    with pytest.raises(BadRequest, match="more than 5 event ranges; ask for fewer jobs"):
        tbuf.getEventRangeStates([first, second])
    assert len(tbuf.getEventRangeStates([second])[second]) == 3


def test_what_is_reported_again_costs_nothing_again(tbuf: TaskBuffer) -> None:
    (pid,) = submit(tbuf, consumer())
    begin(tbuf)
    first, second = acquire(tbuf, pid, 2)
    update(tbuf, [first], cpu_seconds=10.0, zip_file=ZipFile("a.zip"))
    update(tbuf, [first, second], cpu_seconds=10.0)
    assert update(tbuf, [first], "failed", zip_file=ZipFile("b.zip")).returns == [False]
    job = job_of(tbuf, pid)
    assert (job.nEvents, job.cpuConsumptionTime) == (20, 20)
    assert read(tbuf, "SELECT lfn FROM ATLAS_PANDA.filesTable4 WHERE type = 'zipoutput'") == [("a.zip",)]
