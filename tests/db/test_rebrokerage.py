"""Jobs of tasks are handed back where they would wait for long, in real databases."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from pandaserver.dataservice import Rebroker as rebroker_module
from pandaserver.dataservice.Rebroker import Rebroker
from pandaserver.taskbuffer import rebrokerage
from pandaserver.taskbuffer.kill import Killer, KillRequest
from pandaserver.taskbuffer.SiteSpec import SiteSpec
from pandaserver.taskbuffer.states import HOME, JobStatus
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from tests.db.completion import age, change, insert, job_of
from tests.db.crowd import put_jobs
from tests.db.stages import put_job

COVERS = {"fast rebrokerage", "analysis rebrokerage"}

SITES = {
    "TEST_PQ": SiteSpec("TEST_PQ"),
    "OFFLINE_PQ": SiteSpec("OFFLINE_PQ", status="offline"),
    "TRIED_PQ": SiteSpec("TRIED_PQ", status="test"),
}
HOUR = 60.0
OF_SHARE = {"prodSourceLabel": "managed", "gshare": "Sim", "jediTaskID": 7}
OF_USER = {"jediTaskID": 7, "workingGroup": "phys"}


def put_parameter(tbuf: TaskBuffer, key: str, value: str, kind: str = "float") -> None:
    row = {"app": "pandaserver", "component": "rebroker", "key": key, "VO": "default", "descr": "x"}
    insert(tbuf, "Config", minutes_ago={}, value=value, type=kind, **row)


def closed(tbuf: TaskBuffer, ids: list[int]) -> list[int]:
    return [job_id for job_id in ids if job_of(tbuf, job_id).jobStatus == "closed"]


def fast(tbuf: TaskBuffer) -> int:
    tbuf.refreshShareStatistics()
    return Rebroker(tbuf, SITES).fast()


# -- by queue and share


@pytest.mark.parametrize("status", ["defined", "assigned", "activated", "starting"])
def test_the_oldest_jobs_in_excess_are_closed(tbuf: TaskBuffer, status: str) -> None:
    put_parameter(tbuf, "FAST_REBRO_THRESHOLD_NQUEUE_Sim", "2")
    put_jobs(tbuf, 1, "running", **OF_SHARE)
    ids = put_jobs(tbuf, 5, status, **OF_SHARE)
    for age_of, job_id in zip((1, 2, 9, 8, 3), ids, strict=True):
        age(tbuf, HOME[JobStatus(status)], job_id, creationTime=age_of * HOUR)
    assert fast(tbuf) == 2
    assert closed(tbuf, ids) == [ids[2], ids[3]]
    assert job_of(tbuf, ids[2]).taskBufferErrorCode == 130


@pytest.mark.parametrize(
    ("queued", "running", "elsewhere", "parameters", "expected"),
    [
        (12, 4, 0, {}, 0),  # not more than three times those that run
        (13, 4, 0, {}, 1),
        (5, 0, 0, {"NQUEUE_Sim": "5"}, 0),  # not more than the limit
        (6, 0, 0, {"NQUEUE_Sim": "5"}, 1),
        (6, 0, 14, {"NQUEUE_Sim": "3"}, 0),  # not more than 0.3 of all that wait
        (7, 0, 14, {"NQUEUE_Sim": "3"}, 1),  # 0.3 of 21 are 6.3
        (8, 4, 0, {"NQNR_RATIO": "2"}, 0),
        (9, 4, 0, {"NQNR_RATIO": "2"}, 1),
        (10, 0, 10, {"NQUEUE_FRAC": "0.5"}, 0),
        (11, 0, 10, {"NQUEUE_FRAC": "0.5"}, 1),  # half of 21 are 10.5
    ],
)
def test_three_limits_have_to_be_passed(
    tbuf: TaskBuffer, queued: int, running: int, elsewhere: int, parameters: dict[str, str], expected: int
) -> None:
    for key, value in ({"NQUEUE_Sim": "2"} | parameters).items():
        put_parameter(tbuf, f"FAST_REBRO_THRESHOLD_{key}", value)
    put_jobs(tbuf, queued, "activated", **OF_SHARE)
    if running:
        put_jobs(tbuf, running, "running", **OF_SHARE)
    for n in range(elsewhere):
        put_jobs(tbuf, 1, "activated", computingSite=f"Q{n}", **OF_SHARE)
    assert fast(tbuf) == expected


def test_without_a_threshold_it_is_only_told(tbuf: TaskBuffer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "panda.log.copyArchive")
    put_jobs(tbuf, 12, "activated", **OF_SHARE)
    assert fast(tbuf) == 0
    assert "site=TEST_PQ gshare='Sim' excess=2 dry run" in caplog.text


def test_jobs_of_nobodys_task_are_not_taken(tbuf: TaskBuffer) -> None:
    put_parameter(tbuf, "FAST_REBRO_THRESHOLD_NQUEUE_Sim", "2")
    put_jobs(tbuf, 5, "activated", **OF_SHARE | {"jediTaskID": None})
    assert fast(tbuf) == 0


def test_a_pilot_that_was_faster_keeps_its_job(tbuf: TaskBuffer) -> None:
    put_parameter(tbuf, "FAST_REBRO_THRESHOLD_NQUEUE_Sim", "2")
    put_jobs(tbuf, 3, "activated", **OF_SHARE)
    tbuf.refreshShareStatistics()
    change(tbuf, "UPDATE ATLAS_PANDA.jobsActive4 SET jobStatus = 'sent'")
    assert Rebroker(tbuf, SITES).fast() == 0


@pytest.mark.parametrize(("minutes", "excluded"), [(-1.0, True), (1.0, False)])
def test_queues_with_numbers_of_slots_are_left_alone(tbuf: TaskBuffer, minutes: float, excluded: bool) -> None:
    put_parameter(tbuf, "FAST_REBRO_THRESHOLD_NQUEUE_Sim", "2")
    put_jobs(tbuf, 5, "activated", **OF_SHARE)
    times = {"modificationTime": 0.0, "expirationTime": minutes}
    insert(tbuf, "Harvester_Slots", minutes_ago=times, pandaQueueName="TEST_PQ", numSlots=5)
    assert (fast(tbuf) == 0) is excluded


def test_work_queues_outside_shares_are_left_alone(tbuf: TaskBuffer) -> None:
    put_parameter(tbuf, "FAST_REBRO_THRESHOLD_NQUEUE_Sim", "2")
    row = {"queue_ID": 5, "queue_name": "x", "queue_type": "x", "VO": "x", "queue_function": "Resource"}
    insert(tbuf, "JEDI_Work_Queue", minutes_ago={}, **row)
    put_jobs(tbuf, 5, "activated", **OF_SHARE, workQueue_ID=5)
    assert fast(tbuf) == 0


# -- users' jobs


def put_waiting(tbuf: TaskBuffer, hours: float, status: str = "activated", **attributes: Any) -> int:
    """Return a user's job that could begin so long ago."""
    job_id = put_job(tbuf, status, **OF_USER | attributes)
    home = HOME[JobStatus(status)]
    age(tbuf, home, job_id, creationTime=hours * HOUR, stateChangeTime=hours * HOUR)
    if home == "jobsActive4":
        told = {"modificationTime": hours * HOUR, "modiftime_extended": hours * HOUR}
        row = {"PandaID": job_id, "jobStatus": "activated", "prodSourceLabel": "user"}
        insert(tbuf, "jobs_StatusLog", minutes_ago=told, **row)
    return job_id


def users(tbuf: TaskBuffer) -> int:
    return Rebroker(tbuf, SITES).users()


@pytest.mark.parametrize("status", ["defined", "assigned", "activated"])
@pytest.mark.parametrize(("hours", "expected"), [(11.9, 0), (12.1, 1)])
def test_users_jobs_wait_half_a_day(tbuf: TaskBuffer, status: str, hours: float, expected: int) -> None:
    job_id = put_waiting(tbuf, hours, status)
    assert users(tbuf) == expected
    job = job_of(tbuf, job_id)
    assert (job.jobStatus, job.jobSubStatus) == (("closed", "toreassign") if expected else (status, None))


@pytest.mark.parametrize(
    ("parameters", "hours", "expected"),
    [
        ({"ANALY_TIMEOUT": "20"}, 19.9, 0),
        ({"ANALY_TIMEOUT": "20"}, 20.1, 1),
        ({"ANALY_TIMEOUT": "20", "ANALY_TIMEOUT_phys": "5"}, 4.9, 0),
        ({"ANALY_TIMEOUT": "20", "ANALY_TIMEOUT_phys": "5"}, 5.1, 1),
        ({"ANALY_TIMEOUT_higgs": "5"}, 11.9, 0),
    ],
)
def test_the_patience_comes_from_the_table_of_parameters(
    tbuf: TaskBuffer, parameters: dict[str, str], hours: float, expected: int
) -> None:
    for key, value in parameters.items():
        put_parameter(tbuf, key, value)
    put_waiting(tbuf, hours)
    assert users(tbuf) == expected


@pytest.mark.parametrize(
    ("site", "hours", "expected"),
    [("OFFLINE_PQ", 2.9, 0), ("OFFLINE_PQ", 3.1, 1), ("TRIED_PQ", 3.1, 1), ("UNKNOWN_PQ", 100, 0)],
)
def test_at_queues_that_start_nothing_they_do_not_wait(
    tbuf: TaskBuffer, site: str, hours: float, expected: int
) -> None:
    put_waiting(tbuf, hours, computingSite=site)
    assert users(tbuf) == expected


@pytest.mark.parametrize(
    ("status", "hours", "expected"),
    [
        ("running", 2.9, 0),
        ("running", 3.1, 1),
        ("finished", 2.9, 0),
        ("finished", 3.1, 1),
        ("starting", 0.1, 2),
        ("failed", 0.1, 1),
        ("closed", 0.1, 1),
    ],
)
def test_a_group_of_which_a_job_changed_its_state_is_left_alone(
    tbuf: TaskBuffer, status: str, hours: float, expected: int
) -> None:
    put_waiting(tbuf, 13)
    other = put_job(tbuf, status, **OF_USER)
    age(tbuf, HOME[JobStatus(status)], other, stateChangeTime=hours * HOUR)
    assert users(tbuf) == expected


def test_other_groups_do_not_count(tbuf: TaskBuffer) -> None:
    put_waiting(tbuf, 13)
    for other in ({"prodUserName": "John"}, {"jobDefinitionID": 2}, {"computingSite": "X"}, {"jediTaskID": 8}):
        put_job(tbuf, "running", **OF_USER | other)
    assert users(tbuf) == 1


@pytest.mark.parametrize("attributes", [{"prodSourceLabel": "managed"}, {"jediTaskID": None}])
def test_only_users_jobs_of_tasks_are_taken(tbuf: TaskBuffer, attributes: dict[str, Any]) -> None:
    put_waiting(tbuf, 100, **attributes)
    assert users(tbuf) == 0


def test_the_youngest_go_first(tbuf: TaskBuffer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rebroker_module, "CHUNK", 1)
    ids = [put_waiting(tbuf, 13) for _ in range(3)]
    asked: list[int] = []
    kill = tbuf.killJobs

    class Noting(TaskBuffer):
        def killJobs(self, request: KillRequest) -> list[bool]:
            asked.extend(request.ids)
            return kill(request)

    assert Rebroker(Noting(tbuf.caller), SITES).users() == 3
    assert asked == sorted(ids, reverse=True)


def test_a_job_that_begins_meanwhile_stays(tbuf: TaskBuffer) -> None:
    job_id = put_waiting(tbuf, 13)
    waiting = frozenset({JobStatus.activated})
    change(tbuf, "UPDATE ATLAS_PANDA.jobsActive4 SET jobStatus = 'running'")
    assert tbuf.killJobs(KillRequest((job_id,), Killer(is_system=True), 51, statuses=waiting)) == [False]
    assert job_of(tbuf, job_id).commandToPilot is None


@pytest.mark.parametrize("value", ["soon", 0, -1, True, float("nan"), None])
@pytest.mark.parametrize("name", ["ANALY_TIMEOUT", "ANALY_TIMEOUT_phys", "FAST_REBRO_THRESHOLD_NQUEUE_Sim"])
def test_a_limit_that_is_none_does_not_count_and_is_told(name: str, value: object) -> None:
    parameters = {name: value, "SOMETHING_ELSE": "x"}
    assert rebrokerage.unusable(parameters) == [name]
    assert rebrokerage.users_patience("phys", parameters) == 12.0
    (excess,) = rebrokerage.excesses([rebrokerage.Waiting("TEST_PQ", "Sim", 50, 1)], parameters)
    assert (excess.jobs, excess.dry_run) == (35, True)
