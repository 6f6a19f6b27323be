"""Datasets and transfers in real databases: closing, freezing, releasing, giving up."""

from __future__ import annotations

from typing import Any

import pytest

from pandaserver.daemons.scripts import datasetManager
from pandaserver.daemons.scripts.datasetManager import sections
from pandaserver.taskbuffer.reports import BlockOfJob
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from tests.db.completion import (
    age,
    change,
    file_statuses,
    history,
    insert,
    job_of,
    put_dataset,
    reports,
    status_of_dataset,
    tables_of,
)
from tests.db.stages import put_job

HOUR, DAY = 60, 1440
OUT_SET = BlockOfJob("user.jane.out", "tobeclosed")


def run(tbuf: TaskBuffer, section: str) -> int:
    return sections(tbuf)[section]()


def set_outputs(tbuf: TaskBuffer, status: str) -> None:
    change(tbuf, "UPDATE ATLAS_PANDA.filesTable4 SET status = :status WHERE type <> 'input'", status=status)


@pytest.mark.parametrize("open_status", ["unknown", "pending", "transferring"])
def test_a_dataset_with_an_open_file_stays_open(tbuf: TaskBuffer, open_status: str) -> None:
    put_dataset(tbuf, "user.jane.out")
    put_job(tbuf, "holding")
    set_outputs(tbuf, open_status)
    assert tbuf.closeDatasets([OUT_SET]) == ()
    assert status_of_dataset(tbuf, "user.jane.out") == "running"


@pytest.mark.parametrize("status", ["cleanup", "tobeclosed", "completed", "deleted", "closed", "locked"])
def test_a_dataset_past_closing_is_left_alone(tbuf: TaskBuffer, status: str) -> None:
    put_dataset(tbuf, "user.jane.out", status=status)
    assert tbuf.closeDatasets([OUT_SET]) == ()
    assert status_of_dataset(tbuf, "user.jane.out") == status


def test_a_dataset_that_nobody_registered_is_not_complete(tbuf: TaskBuffer) -> None:
    assert tbuf.closeDatasets([OUT_SET]) == ()


def test_a_dataset_is_closed_once(tbuf: TaskBuffer) -> None:
    put_dataset(tbuf, "user.jane.out")
    assert [tbuf.closeDatasets([OUT_SET]), tbuf.closeDatasets([OUT_SET])] == [("user.jane.out",), ()]


def test_thousands_of_datasets_are_closed_in_one_call(tbuf: TaskBuffer) -> None:
    put_dataset(tbuf, "d1500")
    assert tbuf.closeDatasets([BlockOfJob(f"d{n}", "tobeclosed") for n in range(2500)]) == ("d1500",)


@pytest.mark.parametrize(("minutes", "status"), [(10, "tobeclosed"), (40, "completed"), (4 * DAY, "tobeclosed")])
def test_a_closed_dataset_is_completed_after_half_an_hour(tbuf: TaskBuffer, minutes: int, status: str) -> None:
    put_dataset(tbuf, "d", status="tobeclosed", minutes_ago=minutes)
    run(tbuf, "closed")
    assert status_of_dataset(tbuf, "d") == status


@pytest.mark.parametrize(
    ("minutes", "file_status", "status"),
    [(HOUR, "failed", "tobeclosed"), (5, "failed", "running"), (HOUR, "unknown", "running")],
)
def test_a_dataset_that_nobody_closed_is_found(tbuf: TaskBuffer, minutes: int, file_status: str, status: str) -> None:
    put_dataset(tbuf, "user.jane.out", minutes_ago=minutes)
    put_job(tbuf, "cancelled")
    set_outputs(tbuf, file_status)
    run(tbuf, "settled")
    assert status_of_dataset(tbuf, "user.jane.out") == status


def test_datasets_that_are_not_ours_to_close_hide_none(tbuf: TaskBuffer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasetManager, "DATASETS", 1)
    put_job(tbuf, "cancelled", outputs=0)
    change(tbuf, "UPDATE ATLAS_PANDA.filesTable4 SET destinationDBlock = 'a_tid1' WHERE type = 'log'")
    put_job(tbuf, "cancelled")
    set_outputs(tbuf, "failed")
    for name in ("a_tid1", "user.jane.out"):
        put_dataset(tbuf, name, minutes_ago=HOUR)
    assert run(tbuf, "settled") == 1
    assert [status_of_dataset(tbuf, name) for name in ("a_tid1", "user.jane.out")] == ["running", "tobeclosed"]


@pytest.mark.parametrize(("minutes", "status"), [(HOUR, "doing"), (4 * HOUR, "running"), (13 * HOUR, "doing")])
def test_a_dataset_that_waits_for_a_merge_is_looked_at_again(tbuf: TaskBuffer, minutes: int, status: str) -> None:
    put_dataset(tbuf, "d_sub1", status="doing", minutes_ago=minutes, sub="sub")
    run(tbuf, "reopened")
    assert status_of_dataset(tbuf, "d_sub1") == status


@pytest.mark.parametrize(
    ("file_status", "minutes", "frozen"),
    [
        ("ready", 7 * HOUR, True),
        ("nooutput", 7 * HOUR, True),
        ("cancelled", 7 * HOUR, True),
        ("unknown", 7 * HOUR, False),
        ("transferring", 7 * HOUR, False),
        ("ready", 5 * HOUR, False),
        ("ready", 15 * DAY, False),
    ],
)
def test_a_quiet_sub_dataset_is_frozen(tbuf: TaskBuffer, file_status: str, minutes: int, frozen: bool) -> None:
    put_dataset(tbuf, "user.jane.out", minutes_ago=minutes, sub="sub")
    put_job(tbuf, "running")
    set_outputs(tbuf, file_status)
    assert run(tbuf, "frozen") == frozen
    assert status_of_dataset(tbuf, "user.jane.out") == ("completed" if frozen else "running")


def test_freezing_ends_although_some_stay_open(tbuf: TaskBuffer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasetManager, "DATASETS", 1)
    put_job(tbuf, "running")
    put_dataset(tbuf, "user.jane.out", minutes_ago=8 * HOUR, sub="sub")
    put_dataset(tbuf, "other_sub1", minutes_ago=7 * HOUR, sub="sub")
    assert run(tbuf, "frozen") == 1


@pytest.mark.parametrize(
    ("jobs", "status"),
    [
        (["finished", "finished"], "deleting"),
        (["finished", "failed"], "shortening"),
        (["finished", "running"], "completed"),
        (["failed", "assigned"], "completed"),
    ],
)
def test_a_dispatch_dataset_goes_when_its_jobs_have_ended(tbuf: TaskBuffer, jobs: list[str], status: str) -> None:
    put_dataset(tbuf, "panda.dis", "dispatch", "completed", minutes_ago=HOUR)
    for job_status in jobs:
        put_job(tbuf, job_status)
    change(tbuf, "UPDATE ATLAS_PANDA.filesTable4 SET dispatchDBlock = 'panda.dis' WHERE type = 'input'")
    run(tbuf, "served")
    assert status_of_dataset(tbuf, "panda.dis") == status


@pytest.mark.parametrize(("priority", "hours", "overdue"), [(100, 47, False), (100, 49, True), (900, 25, True)])
def test_production_outputs_have_a_time_to_arrive(tbuf: TaskBuffer, priority: int, hours: int, overdue: bool) -> None:
    put_dataset(tbuf, "user.jane.out")
    job_id = put_job(tbuf, "transferring", prodSourceLabel="managed", currentPriority=priority)
    age(tbuf, "jobsActive4", job_id, endTime=hours * HOUR)
    set_outputs(tbuf, "transferring")
    assert run(tbuf, "overdue") == overdue
    job = job_of(tbuf, job_id)
    assert (job.jobStatus, job.taskBufferErrorCode or 0) == (("failed", 101) if overdue else ("transferring", 0))
    assert status_of_dataset(tbuf, "user.jane.out") == ("tobeclosed" if overdue else "running")
    assert file_statuses(tbuf, [job_id]) == ["failed" if overdue else "transferring"] * 2


@pytest.mark.parametrize(
    ("priority", "hours", "overdue"), [(799, 71, False), (799, 73, True), (800, 95, False), (800, 97, True)]
)
def test_the_time_to_arrive_comes_from_the_table_of_parameters(
    tbuf: TaskBuffer, priority: int, hours: int, overdue: bool
) -> None:
    for key, days in (("transtimelo", "3"), ("transtimehi", "4")):
        parameter = {"app": "pandaserver", "component": "job_timeout", "key": key, "VO": "default", "descr": "x"}
        insert(tbuf, "Config", minutes_ago={}, value=days, type="int", **parameter)
    job_id = put_job(tbuf, "transferring", prodSourceLabel="managed", currentPriority=priority)
    age(tbuf, "jobsActive4", job_id, endTime=hours * HOUR)
    assert run(tbuf, "overdue") == overdue


@pytest.mark.parametrize("attributes", [{"prodSourceLabel": "user"}, {"prodSourceLabel": "managed", "eventService": 4}])
def test_outputs_of_others_take_as_long_as_they_take(tbuf: TaskBuffer, attributes: dict[str, Any]) -> None:
    age(tbuf, "jobsActive4", put_job(tbuf, "transferring", **attributes), endTime=100 * HOUR)
    assert run(tbuf, "overdue") == 0


def test_urgent_jobs_are_looked_at_first(tbuf: TaskBuffer) -> None:
    ids = [put_job(tbuf, "assigned", currentPriority=priority) for priority in (799, 800, 900)]
    change(tbuf, "UPDATE ATLAS_PANDA.jobsDefined4 SET prodDBUpdateTime = NULL")
    assert sorted(tbuf.takeAssignedJobs(3600, 2)) == ids[1:]
    assert tbuf.takeAssignedJobs(3600, 2) == ids[:1]


def test_a_transferring_job_whose_files_are_there_is_reported_once(tbuf: TaskBuffer) -> None:
    job_id = put_job(tbuf, "transferring", attemptNr=2)
    set_outputs(tbuf, "ready")
    assert [run(tbuf, "transferred"), run(tbuf, "transferred")] == [1, 0]
    assert reports(tbuf) == [(job_id, 2, "finished")]


def test_a_report_for_a_job_that_was_killed_meanwhile_is_not_stored(tbuf: TaskBuffer) -> None:
    from pandaserver.dataservice.Finisher import final_report

    put_job(tbuf, "transferring")
    set_outputs(tbuf, "ready")
    (job,) = tbuf.findTransferredJobs(10)
    change(tbuf, "DELETE FROM ATLAS_PANDA.jobsActive4 WHERE PandaID = :id", id=job.PandaID)
    assert tbuf.storeOutputReports([final_report(job, job.modificationTime)]) == []  # type: ignore[arg-type]


def put_waiting(tbuf: TaskBuffer, file_status: str) -> int:
    """Return an assigned job whose input has that status, not looked at for hours."""
    job_id = put_job(tbuf, "assigned")
    change(
        tbuf,
        "UPDATE ATLAS_PANDA.filesTable4 SET dispatchDBlock = 'my.lib', lfn = 'lib.tgz', status = :status "
        "WHERE PandaID = :id AND type = 'input'",
        status=file_status,
        id=job_id,
    )
    age(tbuf, "jobsDefined4", job_id, prodDBUpdateTime=2 * HOUR)
    return job_id


def put_build(tbuf: TaskBuffer, status: str) -> None:
    build = put_job(tbuf, status, prodSourceLabel="panda")
    change(
        tbuf,
        "UPDATE ATLAS_PANDA.filesTable4 SET destinationDBlock = 'my.lib', lfn = 'lib.tgz' "
        "WHERE PandaID = :id AND type = 'output'",
        id=build,
    )


def test_an_assigned_job_whose_input_is_there_is_activated(tbuf: TaskBuffer) -> None:
    job_id = put_waiting(tbuf, "ready")
    assert run(tbuf, "activated") == 1
    assert (tables_of(tbuf, job_id), history(tbuf, job_id)) == (["jobsActive4"], ["activated"])


def test_an_assigned_job_whose_input_is_not_there_waits_an_hour(tbuf: TaskBuffer) -> None:
    job_id = put_waiting(tbuf, "pending")
    assert run(tbuf, "activated") == 0
    change(tbuf, "UPDATE ATLAS_PANDA.filesTable4 SET status = 'ready' WHERE type = 'input'")
    assert run(tbuf, "activated") == 0
    assert job_of(tbuf, job_id).jobStatus == "assigned"


@pytest.mark.parametrize(
    ("build", "becomes"),
    [("finished", "activated"), ("failed", "cancelled"), ("closed", "cancelled"), ("running", "assigned")],
)
def test_a_job_that_missed_the_end_of_its_build_is_not_forgotten(tbuf: TaskBuffer, build: str, becomes: str) -> None:
    put_build(tbuf, build)
    job_id = put_waiting(tbuf, "pending")
    run(tbuf, "activated")
    assert job_of(tbuf, job_id).jobStatus == becomes


def test_a_section_that_fails_does_not_stop_the_others(tbuf: TaskBuffer, monkeypatch: pytest.MonkeyPatch) -> None:
    put_dataset(tbuf, "d", status="tobeclosed", minutes_ago=HOUR)
    job_id = put_waiting(tbuf, "ready")
    monkeypatch.setattr(datasetManager, "_repeated", lambda _step: 1 / 0)
    datasetManager.main(tbuf=tbuf)
    assert (status_of_dataset(tbuf, "d"), job_of(tbuf, job_id).jobStatus) == ("tobeclosed", "activated")
