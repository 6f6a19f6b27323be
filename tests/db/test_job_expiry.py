"""Jobs that nobody moves are given up, in real databases."""

from __future__ import annotations

from typing import Any

import pytest

from pandaserver.dataservice import Expirer
from pandaserver.dataservice.Expirer import expire
from pandaserver.taskbuffer.expiry import expiry_rules
from pandaserver.taskbuffer.states import ACTIVE, DEFINED, HOME, JobStatus
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from tests.db.completion import age, change, file_statuses, history, job_of, put_dataset, status_of_dataset, tables_of
from tests.db.stages import put_job

RULES = expiry_rules(defined_hours=4, waiting_hours=1)
HOUR, DAY = 60, 1440
MANAGED = {"prodSourceLabel": "managed"}
TASK = {"jediTaskID": 7}


@pytest.mark.parametrize(
    ("status", "attributes", "column", "patience", "code"),
    [
        ("assigned", {}, "creationTime", 7 * DAY, 102),
        ("activated", {"prodSourceLabel": "ptest"}, "creationTime", 7 * DAY, 102),
        ("defined", {}, "creationTime", 4 * HOUR, 102),
        ("defined", MANAGED | TASK, "modificationTime", 4 * HOUR, 100),
        ("assigned", MANAGED, "modificationTime", 12 * HOUR, 102),
        ("assigned", MANAGED | TASK, "modificationTime", 12 * HOUR, 100),
        ("activated", MANAGED, "modificationTime", 2 * DAY, 102),
        ("activated", MANAGED | TASK, "modificationTime", 2 * DAY, 100),
        ("starting", MANAGED, "stateChangeTime", 2 * DAY, 102),
        ("activated", {}, "modificationTime", 7 * DAY, 102),
        ("pending", {}, "creationTime", HOUR, 102),
        ("waiting", {}, "creationTime", HOUR, 102),
        ("waiting", {"eventService": 2}, "creationTime", 10, 102),
        ("sent", {"prodSourceLabel": "ptest"}, "creationTime", 21 * DAY, 102),
        ("transferring", {"prodSourceLabel": "ddm"}, "creationTime", 5 * DAY, 102),
        ("throttled", {"prodSourceLabel": "ptest"}, "creationTime", 7 * DAY, 102),
    ],
)
def test_a_job_is_closed_when_its_time_is_over(
    tbuf: TaskBuffer, status: str, attributes: dict[str, Any], column: str, patience: int, code: int
) -> None:
    late, still = put_job(tbuf, status, **attributes), put_job(tbuf, status, **attributes)
    home = HOME[JobStatus(status)]
    age(tbuf, home, late, **{column: patience + 1})
    age(tbuf, home, still, **{column: patience - 1})
    assert expire(tbuf, RULES) == 1
    job = job_of(tbuf, late)
    assert (job.jobStatus, job.jobSubStatus, job.taskBufferErrorCode) == ("closed", "toreassign", code)
    assert (tables_of(tbuf, late), history(tbuf, late)) == (["jobsArchived4"], ["closed"])
    assert job_of(tbuf, still).jobStatus == status


@pytest.mark.parametrize(
    ("status", "attributes", "column", "minutes"),
    [
        ("activated", MANAGED | {"relocationFlag": 2}, "modificationTime", 3 * DAY),
        ("waiting", {"computingSite": "WAITING_CO_JUMBO"}, "creationTime", 2 * DAY),
        ("running", {}, "stateChangeTime", 6 * DAY),
        ("assigned", {}, "modificationTime", 6 * DAY),
    ],
)
def test_other_jobs_are_left_alone(
    tbuf: TaskBuffer, status: str, attributes: dict[str, Any], column: str, minutes: int
) -> None:
    job_id = put_job(tbuf, status, **attributes)
    age(tbuf, HOME[JobStatus(status)], job_id, **{column: minutes})
    assert expire(tbuf, RULES) == 0


def test_a_running_job_that_is_too_old_is_told_once(tbuf: TaskBuffer) -> None:
    job_id = put_job(tbuf, "running", prodSourceLabel="managed")
    age(tbuf, ACTIVE, job_id, creationTime=22 * DAY)
    assert [expire(tbuf, RULES), expire(tbuf, RULES)] == [1, 0]
    job = job_of(tbuf, job_id)
    assert (job.jobStatus, job.commandToPilot) == ("running", "tobekilled")


def test_a_build_job_that_was_only_told_keeps_who_waits_for_it(tbuf: TaskBuffer) -> None:
    build, waiting = put_job(tbuf, "running", prodSourceLabel="panda"), put_job(tbuf, "assigned")
    for block, kind, job_id in (("destinationDBlock", "output", build), ("dispatchDBlock", "input", waiting)):
        change(
            tbuf,
            f"UPDATE ATLAS_PANDA.filesTable4 SET {block} = 'my.lib' WHERE PandaID = :id AND type = :kind",
            id=job_id,
            kind=kind,
        )
    age(tbuf, ACTIVE, build, creationTime=22 * DAY)
    assert expire(tbuf, RULES) == 1
    assert job_of(tbuf, waiting).jobStatus == "assigned"


def test_more_jobs_than_one_transaction_takes_are_all_ended(tbuf: TaskBuffer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Expirer, "CHUNK", 2)
    for _ in range(5):
        age(tbuf, DEFINED, put_job(tbuf, "defined"), creationTime=8 * DAY)
    assert expire(tbuf, RULES) == 5


def test_jobs_that_cannot_be_ended_do_not_keep_us_busy(tbuf: TaskBuffer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Expirer, "CHUNK", 1)
    job_id = put_job(tbuf, "pending", commandToPilot="tobekilled")
    age(tbuf, DEFINED, job_id, creationTime=2 * HOUR)
    assert expire(tbuf, RULES) == 0


def test_outputs_and_datasets_of_expired_jobs_are_settled(tbuf: TaskBuffer) -> None:
    put_dataset(tbuf, "user.jane.out")
    job_id = put_job(tbuf, "defined")
    age(tbuf, DEFINED, job_id, creationTime=8 * DAY)
    expire(tbuf, RULES)
    assert file_statuses(tbuf, [job_id]) == ["failed", "failed"]
    assert status_of_dataset(tbuf, "user.jane.out") == "tobeclosed"


def test_a_job_that_moves_meanwhile_is_spared(tbuf: TaskBuffer) -> None:
    job_id = put_job(tbuf, "activated", prodSourceLabel="managed")
    age(tbuf, ACTIVE, job_id, modificationTime=3 * DAY)
    change(tbuf, "UPDATE ATLAS_PANDA.jobsActive4 SET modificationTime = CURRENT_TIMESTAMP")
    assert expire(tbuf, RULES) == 0
    assert job_of(tbuf, job_id).jobStatus == "activated"
