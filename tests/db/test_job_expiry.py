"""Jobs that nobody moves are given up, in real databases."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from pandaserver.dataservice import Expirer
from pandaserver.dataservice.Expirer import expire
from pandaserver.taskbuffer.connection_settings import ConnectionSettings
from pandaserver.taskbuffer.expiry import ExpiryRule, expiry_rules, old_rules
from pandaserver.taskbuffer.kill import Killer, KillRequest
from pandaserver.taskbuffer.requests import StatusReport
from pandaserver.taskbuffer.states import ACTIVE, DEFINED, HOME, JobStatus
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from pandaserver.taskbuffer.time_limits import DEFAULTS, limits
from tests.db.completion import (
    age,
    change,
    file_statuses,
    history,
    insert,
    insert_row_of_the_past,
    job_of,
    put_dataset,
    put_report,
    status_of_dataset,
    tables_of,
)
from tests.db.stages import put_job
from tests.db.transactions import transaction

CO_JUMBO = "WAITING_CO_JUMBO"

RULES = (*expiry_rules(DEFAULTS, ("FIXED_PQ",)), *old_rules(DEFAULTS))
HOUR, DAY = 60, 1440
MANAGED = {"prodSourceLabel": "managed"}
OTHER = {"prodSourceLabel": "ptest"}
TASK = {"jediTaskID": 7}
URGENT = MANAGED | TASK | {"currentPriority": 800, "computingSite": "IDLE_PQ"}
MERGE = OTHER | {"processingType": "pmerge"}


class Case(NamedTuple):
    """A job that a rule gives up when a time of it is older than the limit."""

    rule: str
    status: str
    attributes: dict[str, Any]
    column: str
    limit: str  # parameter TIMEOUT_<limit> of CONFIG
    minutes: int  # the limit without it
    code: int | None  # taskBufferErrorCode; None: set up again
    sub_status: str | None = "toreassign"


CASES = (
    Case("old defined", "assigned", OTHER, "creationTime", "old_defined", 7 * DAY, 102),
    Case("old activated", "activated", OTHER, "creationTime", "old_activated", 7 * DAY, 102),
    Case("inactive queue", "activated", URGENT, "modificationTime", "inactive_job", 4 * HOUR, 100),
    Case("inactive queue", "starting", URGENT, "stateChangeTime", "inactive_job", 4 * HOUR, 100),
    Case("defined stuck", "defined", MANAGED | TASK, "stateChangeTime", "defined", 4 * HOUR, 100),
    Case("defined stuck", "defined", MANAGED, "stateChangeTime", "defined", 4 * HOUR, None),
    Case("defined stuck", "defined", {"prodSourceLabel": "test"}, "stateChangeTime", "defined", 4 * HOUR, None),
    Case("defined stuck", "defined", {}, "stateChangeTime", "defined", 4 * HOUR, 102),
    Case("defined stuck", "defined", {"prodSourceLabel": "panda"} | TASK, "stateChangeTime", "defined", 4 * HOUR, 102),
    Case("long in defined", "assigned", MANAGED | TASK, "modificationTime", "long_defined", 12 * HOUR, 100),
    Case("long in defined", "assigned", MANAGED, "modificationTime", "long_defined", 12 * HOUR, None),
    Case("long activated", "activated", MANAGED | TASK, "modificationTime", "long_activated", 2 * DAY, 100),
    Case("long activated", "activated", MANAGED, "modificationTime", "long_activated", 2 * DAY, None),
    Case("long starting", "starting", MANAGED | TASK, "stateChangeTime", "long_starting", 2 * DAY, 100),
    Case("long starting", "starting", MANAGED, "stateChangeTime", "long_starting", 2 * DAY, None),
    Case("old analysis", "activated", {}, "modificationTime", "old_analysis", 7 * DAY, 102),
    Case("old analysis", "holding", {"prodSourceLabel": "test"}, "modificationTime", "old_analysis", 7 * DAY, 102),
    Case("pending", "pending", {}, "creationTime", "pending", HOUR, 102),
    Case("waiting merge", "waiting", {"eventService": 2}, "stateChangeTime", "waiting_merge", 10, 102),
    Case("waiting", "waiting", {}, "stateChangeTime", "waiting", HOUR, 102),
    Case("old waiting", "waiting", {"computingSite": CO_JUMBO}, "modificationTime", "old_waiting", 7 * DAY, 102),
    Case(
        "long event service",
        "running",
        OTHER | {"eventService": 1, "currentPriority": 900},
        "stateChangeTime",
        "long_event_service",
        DAY,
        102,
        "es_toolong",
    ),
    Case(
        "long event service",
        "starting",
        OTHER | {"eventService": 5, "currentPriority": 900},
        "stateChangeTime",
        "long_event_service",
        DAY,
        102,
        "es_toolong",
    ),
    Case(
        "long event service merge",
        "running",
        OTHER | {"eventService": 2},
        "stateChangeTime",
        "long_event_service_merge",
        DAY,
        102,
    ),
    Case("too old", "sent", OTHER, "creationTime", "too_old", 21 * DAY, 102),
    Case("ddm", "transferring", {"prodSourceLabel": "ddm"}, "creationTime", "ddm", 5 * DAY, 102),
    Case("throttled", "throttled", OTHER, "creationTime", "throttled", 7 * DAY, 102),
    Case("invalid merge", "activated", MERGE, "creationTime", "invalid_merge", 30, 100, None),
    Case("invalid merge", "assigned", MERGE, "creationTime", "invalid_merge", 30, 100, None),
)
COVERS = {case.rule for case in CASES}
IDS = [f"{n} {case.rule}" for n, case in enumerate(CASES)]


def put(tbuf: TaskBuffer, case: Case, minutes: float) -> int:
    """Return a job of the case of that age."""
    job_id = put_job(tbuf, case.status, **case.attributes)
    age(tbuf, HOME[JobStatus(case.status)], job_id, **{case.column: minutes})
    change(
        tbuf,
        "UPDATE ATLAS_PANDA.filesTable4 SET dispatchDBlockToken = 'TOMERGE' WHERE PandaID = :id AND type = 'input'",
        id=job_id,
    )
    return job_id


def put_idle_queue(tbuf: TaskBuffer, minutes: float = 2 * HOUR + 1) -> None:
    started = {"laststart": minutes, "lastMod": 0.0}
    row = {"site": "IDLE_PQ", "flag": "production", "hours": 3}
    tbuf.caller.call(insert_row_of_the_past, ("ATLAS_PANDAMETA.SiteData", row, started), {})


def was_given_up(tbuf: TaskBuffer, job_id: int, case: Case) -> bool:
    job = job_of(tbuf, job_id)
    if case.code is None:
        fresh = (job.jobStatus, job.computingSite, job.taskBufferErrorCode) == ("defined", None, 0)
        return fresh and tables_of(tbuf, job_id) == ["jobsDefined4"]
    status = "cancelled" if case.rule == "invalid merge" else "closed"
    told = f"too long without progress: {case.rule}"
    return (
        (job.jobStatus, job.jobSubStatus, job.taskBufferErrorCode) == (status, case.sub_status, case.code)
        and job.taskBufferErrorDiag == told
        and (tables_of(tbuf, job_id), history(tbuf, job_id)) == (["jobsArchived4"], [status])
    )


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_a_job_is_given_up_when_its_time_is_over_and_not_before(tbuf: TaskBuffer, case: Case) -> None:
    put_idle_queue(tbuf)
    late, still = put(tbuf, case, case.minutes + 1), put(tbuf, case, case.minutes - 1)
    assert expire(tbuf, RULES) == 1
    assert was_given_up(tbuf, late, case)
    assert (job_of(tbuf, still).jobStatus, history(tbuf, still)) == (case.status, [])
    assert job_of(tbuf, still).computingSite is not None


SEEDED = {"defined": "4", "holding": "48", "waiting": "1"}


def test_limits_come_from_the_table_of_parameters(tbuf: TaskBuffer) -> None:
    put_idle_queue(tbuf)
    for name, minutes in DEFAULTS.items():
        if name != "inactive_queue":
            put_limit(tbuf, name, minutes * 3 / HOUR)
    late = [put(tbuf, case, case.minutes * 1.5) for case in CASES]
    try:
        expire(tbuf, _configured(tbuf))
        ended = [case.rule for job_id, case in zip(late, CASES, strict=True) if was_ended(tbuf, job_id, case)]
    finally:
        for name, hours in SEEDED.items():
            change(tbuf, SET_LIMIT, value=hours, key=f"TIMEOUT_{name}_hours")
        change(tbuf, "DELETE FROM ATLAS_PANDA.Config WHERE descr = 'of the test'")
    assert ended == []
    expire(tbuf, _configured(tbuf))
    assert [case.rule for job_id, case in zip(late, CASES, strict=True) if not was_ended(tbuf, job_id, case)] == []


SET_LIMIT = "UPDATE ATLAS_PANDA.Config SET value = :value WHERE key = :key"


def _configured(tbuf: TaskBuffer) -> list[ExpiryRule]:
    found = limits(tbuf.getConfigValues("job_timeout"))
    return [*expiry_rules(found), *old_rules(found)]


def was_ended(tbuf: TaskBuffer, job_id: int, case: Case) -> bool:
    job = job_of(tbuf, job_id)
    if case.code is None:
        return (job.jobStatus, job.computingSite) == ("defined", None)
    return job.jobStatus in ("closed", "cancelled")


def put_limit(tbuf: TaskBuffer, name: str, hours: float) -> None:
    if name in SEEDED:
        assert change(tbuf, SET_LIMIT, value=str(int(hours)), key=f"TIMEOUT_{name}_hours") == 1
        return
    parameter = {"app": "pandaserver", "component": "job_timeout", "key": f"TIMEOUT_{name}", "VO": "default"}
    insert(tbuf, "Config", minutes_ago={}, value=str(hours), type="float", descr="of the test", **parameter)


@pytest.mark.parametrize(
    ("status", "attributes", "column", "minutes"),
    [
        ("activated", MANAGED | {"relocationFlag": 2}, "modificationTime", 3 * DAY),
        ("activated", MANAGED | {"computingSite": "FIXED_PQ"}, "modificationTime", 3 * DAY),
        ("activated", URGENT | {"computingSite": "FIXED_PQ"}, "modificationTime", 5 * HOUR),
        ("activated", URGENT | {"computingSite": "BUSY_PQ"}, "modificationTime", 5 * HOUR),
        ("activated", URGENT | {"currentPriority": 799}, "modificationTime", 5 * HOUR),
        ("activated", URGENT | {"relocationFlag": 2}, "modificationTime", 5 * HOUR),
        ("activated", URGENT | {"processingType": "pmerge"}, "modificationTime", 5 * HOUR),
        ("activated", URGENT | {"jediTaskID": None}, "modificationTime", 5 * HOUR),
        ("running", URGENT, "stateChangeTime", 5 * HOUR),
        ("waiting", {"computingSite": CO_JUMBO}, "creationTime", 8 * DAY),
        ("running", {}, "stateChangeTime", 6 * DAY),
        ("running", OTHER | {"eventService": 1, "currentPriority": 899}, "stateChangeTime", 2 * DAY),
        ("assigned", {}, "modificationTime", 6 * DAY),
        ("defined", TASK, "creationTime", 6 * DAY),
        ("running", MERGE, "creationTime", 29),
        ("activated", MERGE, "creationTime", DAY),  # merges nothing that others made
    ],
)
def test_other_jobs_are_left_alone(
    tbuf: TaskBuffer, status: str, attributes: dict[str, Any], column: str, minutes: int
) -> None:
    put_idle_queue(tbuf)
    job_id = put_job(tbuf, status, **attributes)
    age(tbuf, HOME[JobStatus(status)], job_id, **{column: minutes})
    assert expire(tbuf, RULES) == 0
    assert job_of(tbuf, job_id).jobStatus == status


@pytest.mark.parametrize(("minutes", "given_up"), [(2 * HOUR - 1, 0), (2 * HOUR + 1, 1)])
def test_a_queue_is_inactive_when_nothing_began_for_a_while(tbuf: TaskBuffer, minutes: float, given_up: int) -> None:
    put_idle_queue(tbuf, minutes)
    age(tbuf, ACTIVE, put_job(tbuf, "activated", **URGENT), modificationTime=5 * HOUR)
    assert expire(tbuf, RULES) == given_up


def test_a_killed_merge_job_may_come_again_for_want_of_a_task_layer(
    tbuf: TaskBuffer, caplog: pytest.LogCaptureFixture
) -> None:
    (case,) = (case for case in CASES if (case.rule, case.status) == ("invalid merge", "activated"))
    put(tbuf, case, DAY)
    expire(tbuf, RULES)
    assert "killed merge jobs n=1" in caplog.text
    caplog.clear()
    age(tbuf, ACTIVE, put_job(tbuf, "activated", **MANAGED | TASK, processingType="pmerge"), modificationTime=3 * DAY)
    expire(tbuf, RULES)
    assert "merge jobs" not in caplog.text


def test_a_merge_job_is_valid_while_something_waits_for_it(tbuf: TaskBuffer) -> None:
    merge, waiting = put_job(tbuf, "activated", **MERGE), put_job(tbuf, "merging", **OTHER)
    for job_id, column, kind in (
        (merge, "dispatchDBlockToken", "input"),
        (waiting, "destinationDBlockToken", "output"),
    ):
        change(
            tbuf,
            f"UPDATE ATLAS_PANDA.filesTable4 SET {column} = 'TOMERGE', lfn = 'part.root' "
            "WHERE PandaID = :id AND type = :kind",
            id=job_id,
            kind=kind,
        )
    age(tbuf, ACTIVE, merge, creationTime=DAY)
    assert expire(tbuf, RULES) == 0
    tbuf.killJobs(KillRequest((waiting,), Killer(is_system=True)))
    assert expire(tbuf, RULES) == 1
    assert job_of(tbuf, merge).jobStatus == "cancelled"


@pytest.mark.parametrize("status", ["holding", "transferring"])
@pytest.mark.parametrize(("label", "column"), [("user", "modificationTime"), ("ddm", "creationTime")])
def test_whoever_has_reported_is_not_given_up(tbuf: TaskBuffer, status: str, label: str, column: str) -> None:
    job_id = put_job(tbuf, status, prodSourceLabel=label)
    age(tbuf, ACTIVE, job_id, **{column: 30 * DAY})
    put_report(tbuf, job_id)
    assert expire(tbuf, RULES) == 0


def test_a_job_that_a_heartbeat_holds_is_spared(
    tbuf: TaskBuffer, database: ConnectionSettings, requires: Callable[[str], None]
) -> None:
    requires("row_locks")
    job_id = put_job(tbuf, "starting", **MANAGED)
    age(tbuf, ACTIVE, job_id, stateChangeTime=3 * DAY)
    with transaction(database) as heartbeat:
        heartbeat.change("UPDATE ATLAS_PANDA.jobsActive4 SET pilotID = 'x' WHERE PandaID = :id", id=job_id)
        assert expire(tbuf, RULES) == 0
    assert job_of(tbuf, job_id).jobStatus == "starting"


def test_a_heartbeat_in_time_saves_the_job(tbuf: TaskBuffer) -> None:
    job_id = put_job(tbuf, "starting", attemptNr=1, **MANAGED)
    age(tbuf, ACTIVE, job_id, stateChangeTime=3 * DAY)
    tbuf.updateJobStatus(StatusReport(job_id, "running", attempt_nr=1))
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


@pytest.mark.parametrize(
    ("status", "command", "attributes", "column"),
    [
        ("pending", "tobekilled", {}, "creationTime"),
        ("assigned", "dump", MANAGED, "modificationTime"),  # a job with a command is not set up again
    ],
)
def test_jobs_that_cannot_be_ended_neither_keep_us_busy_nor_hide_others(
    tbuf: TaskBuffer,
    monkeypatch: pytest.MonkeyPatch,
    status: str,
    command: str,
    attributes: dict[str, Any],
    column: str,
) -> None:
    monkeypatch.setattr(Expirer, "CHUNK", 1)
    stuck = put_job(tbuf, status, commandToPilot=command, **attributes)
    others = [put_job(tbuf, status, **attributes) for _ in range(2)]
    for job_id in (stuck, *others):
        age(tbuf, DEFINED, job_id, **{column: 13 * HOUR})
    assert expire(tbuf, RULES) == 2
    assert job_of(tbuf, stuck).jobStatus == status


def test_a_job_that_is_set_up_in_vain_again_and_again_is_stuck(tbuf: TaskBuffer) -> None:
    job_id = put_job(tbuf, "defined", **MANAGED | TASK)
    age(tbuf, DEFINED, job_id, stateChangeTime=5 * HOUR, modificationTime=5 * HOUR)
    assert [job.PandaID for job in tbuf.takeLostJobs(JobStatus.defined, 600, 10)] == [job_id]
    assert expire(tbuf, RULES) == 1


@pytest.mark.parametrize(("status", "attributes"), [("waiting", {}), ("waiting", {"eventService": 2}), ("defined", {})])
def test_an_old_job_that_has_begun_again_is_given_its_time(
    tbuf: TaskBuffer, status: str, attributes: dict[str, Any]
) -> None:
    job_id = put_job(tbuf, status, **attributes)
    age(tbuf, DEFINED, job_id, creationTime=6 * DAY)
    assert expire(tbuf, RULES) == 0
    age(tbuf, DEFINED, job_id, stateChangeTime=5 * HOUR)
    assert expire(tbuf, RULES) == 1


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
