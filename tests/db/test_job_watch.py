"""Jobs whose pilot went silent, in real databases."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pandaserver.jobdispatcher import Watcher as watcher_module
from pandaserver.jobdispatcher.Watcher import Watcher
from pandaserver.taskbuffer.connection_settings import ConnectionSettings
from pandaserver.taskbuffer.lost_jobs import heartbeat_rules, production_rule, workflow_rules
from pandaserver.taskbuffer.requests import StatusReport
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from pandaserver.taskbuffer.time_limits import DEFAULTS, limits
from tests.db.completion import (
    age,
    change,
    file_statuses,
    history,
    insert,
    job_of,
    put_dataset,
    put_report,
    status_of_dataset,
    tables_of,
)
from tests.db.stages import put_job
from tests.db.transactions import transaction

RULES = (*heartbeat_rules(2.0, 48.0), production_rule(2.0, ("PAUSED_PQ",)))
HOUR = 60.0


def put_silent(tbuf: TaskBuffer, status: str, minutes: float, **attributes: Any) -> int:
    """Return a job of which nothing was heard for so long."""
    job_id = put_job(tbuf, status, **attributes)
    age(tbuf, "jobsActive4", job_id, modificationTime=minutes)
    return job_id


CASES: tuple[tuple[str, str, float, dict[str, Any], int], ...] = (
    ("analysis heartbeat", "running", 2 * HOUR, {}, 100),
    ("analysis heartbeat", "starting", 2 * HOUR, {}, 100),
    ("analysis heartbeat", "stagein", 2 * HOUR, {}, 100),
    ("analysis heartbeat", "running", 2 * HOUR, {"prodSourceLabel": "panda"}, 100),
    ("analysis heartbeat", "running", 2 * HOUR, {"exeErrorDiag": "oops"}, 101),
    ("analysis heartbeat", "running", 2 * HOUR, {"pilotErrorDiag": "oops"}, 101),
    ("production heartbeat", "stageout", 2 * HOUR, {"prodSourceLabel": "managed"}, 100),
    ("production heartbeat", "running", 2 * HOUR, {"prodSourceLabel": "managed"}, 100),
    ("production heartbeat", "running", 2 * HOUR, {"prodSourceLabel": None}, 100),
    ("sent", "sent", 30, {}, 102),
    ("sent", "sent", 30, {"prodSourceLabel": "managed"}, 102),
    ("holding analysis", "holding", 3 * HOUR, {"currentPriority": 500}, 103),
    ("holding analysis", "holding", 3 * HOUR, {"prodSourceLabel": "ddm", "currentPriority": 500}, 103),
    ("holding analysis", "holding", 3 * HOUR, {"jobDispatcherErrorDiag": "by the pilot", "currentPriority": 500}, 103),
    ("holding high priority", "holding", 3 * HOUR, {"prodSourceLabel": "managed", "currentPriority": 801}, 103),
    ("holding", "holding", 48 * HOUR, {"prodSourceLabel": "managed", "currentPriority": 800}, 103),
    ("analysis transferring", "transferring", 2 * HOUR, {}, 104),
)
COVERS = {case[0] for case in CASES} | {"per workflow"}


@pytest.mark.parametrize(("rule", "status", "patience", "attributes", "code"), CASES)
def test_a_silent_job_fails_when_its_time_is_over(
    tbuf: TaskBuffer, rule: str, status: str, patience: float, attributes: dict[str, Any], code: int
) -> None:
    late = put_silent(tbuf, status, patience + 1, **attributes)
    still = put_silent(tbuf, status, patience - 1, **attributes)
    if status == "transferring":
        age(tbuf, "jobsActive4", late, endTime=patience + 1)
    others = [r for r in RULES if r.name != rule]
    assert (Watcher(tbuf).run(others), Watcher(tbuf).run(RULES)) == (0, 1)
    job = job_of(tbuf, late)
    assert (job.jobStatus, job.jobDispatcherErrorCode, bool(job.jobDispatcherErrorDiag)) == ("failed", code, True)
    assert job_of(tbuf, still).jobStatus == status
    assert (tables_of(tbuf, late), history(tbuf, late)) == (["jobsArchived4"], ["failed"])
    assert file_statuses(tbuf, [late]) == ["failed", "failed"]


@pytest.mark.parametrize(
    ("limit", "status", "attributes"),
    [
        ("sent", "sent", {}),
        ("holding_analysis", "holding", {"currentPriority": 500}),
        ("holding_priority", "holding", {"prodSourceLabel": "managed", "currentPriority": 900}),
    ],
)
def test_limits_can_be_changed(tbuf: TaskBuffer, limit: str, status: str, attributes: dict[str, Any]) -> None:
    put_silent(tbuf, status, DEFAULTS[limit] * 1.5, **attributes)
    tripled = limits({f"TIMEOUT_{limit}": DEFAULTS[limit] * 3 / HOUR})
    assert Watcher(tbuf).run(heartbeat_rules(2.0, 48.0, tripled)) == 0
    assert Watcher(tbuf).run(heartbeat_rules(2.0, 48.0)) == 1


@pytest.mark.parametrize(
    ("status", "attributes"),
    [
        ("running", {"prodSourceLabel": "managed", "computingSite": "PAUSED_PQ"}),
        ("transferring", {"prodSourceLabel": "managed"}),
        ("merging", {}),
        ("activated", {}),
    ],
)
def test_silence_means_nothing_elsewhere(tbuf: TaskBuffer, status: str, attributes: dict[str, Any]) -> None:
    job_id = put_silent(tbuf, status, 1000 * HOUR, **attributes)
    assert Watcher(tbuf).run(RULES) == 0
    assert job_of(tbuf, job_id).jobStatus == status


def test_a_job_that_waits_for_the_adder_is_not_lost(tbuf: TaskBuffer) -> None:
    job_id = put_silent(tbuf, "holding", 1000 * HOUR)
    put_report(tbuf, job_id)
    assert Watcher(tbuf).run(RULES) == 0


def test_a_holding_job_is_lost_when_its_end_is_long_ago(tbuf: TaskBuffer) -> None:
    job_id = put_job(tbuf, "holding", currentPriority=900)
    age(tbuf, "jobsActive4", job_id, endTime=4 * HOUR)
    assert Watcher(tbuf).run(RULES) == 1


def test_a_user_job_whose_final_heartbeat_came_is_given_two_days(tbuf: TaskBuffer) -> None:
    job_id = put_job(tbuf, "holding", currentPriority=100)
    change(
        tbuf,
        "UPDATE ATLAS_PANDA.jobsActive4 SET stateChangeTime = creationTime, modificationTime = creationTime "
        "WHERE PandaID = :id",
        id=job_id,
    )
    age(tbuf, "jobsActive4", job_id, endTime=4 * HOUR)
    assert Watcher(tbuf).run(RULES) == 0


def test_the_end_is_the_last_heartbeat(tbuf: TaskBuffer) -> None:
    job_id = put_silent(tbuf, "running", 3 * HOUR)
    before = job_of(tbuf, job_id).modificationTime
    Watcher(tbuf).run(RULES)
    assert job_of(tbuf, job_id).endTime == before


def test_a_heartbeat_in_between_saves_the_job(tbuf: TaskBuffer) -> None:
    job_id = put_silent(tbuf, "running", 3 * HOUR)
    tbuf.updateJobStatus(StatusReport(job_id, "running", 0))
    assert Watcher(tbuf).run(RULES) == 0


@pytest.mark.parametrize(("status", "told"), [("finished", True), ("running", False)])
def test_a_worker_that_ended_first_is_named(tbuf: TaskBuffer, status: str, told: bool) -> None:
    job_id = put_silent(tbuf, "running", 3 * HOUR)
    for worker_id, minutes, state in ((1, 60, "failed" if not told else "running"), (2, 1, status)):
        insert(
            tbuf,
            "Harvester_Workers",
            minutes_ago={"lastUpdate": minutes},
            harvesterID="h",
            workerID=worker_id,
            status=state,
            computingSite="TEST_PQ",
            nJobs=1,
        )
        insert(
            tbuf,
            "Harvester_Rel_Jobs_Workers",
            minutes_ago={"lastUpdate": minutes},
            harvesterID="h",
            workerID=worker_id,
            PandaID=job_id,
        )
    Watcher(tbuf).run(RULES)
    job = job_of(tbuf, job_id)
    assert (job.supErrorCode, "finished" in (job.supErrorDiag or "")) == (
        (2, True) if told else (job.supErrorCode, False)
    )
    assert (job.supErrorCode == 2) == told


def test_a_queue_with_a_limit_of_its_own_has_its_own_rule(tbuf: TaskBuffer) -> None:
    job_id = put_silent(tbuf, "running", 3 * HOUR, prodSourceLabel="managed", computingSite="PUSH_PQ")
    rules = [production_rule(2.0, ("PUSH_PQ",)), *workflow_rules("push", 5.0, ["PUSH_PQ"])]
    assert Watcher(tbuf).run(rules) == 0
    age(tbuf, "jobsActive4", job_id, modificationTime=6 * HOUR)
    assert Watcher(tbuf).run(rules) == 1


def test_thousands_of_queues_fit_a_statement(tbuf: TaskBuffer) -> None:
    many = [f"PQ_{n}" for n in range(2500)]
    put_silent(tbuf, "running", 3 * HOUR, prodSourceLabel="managed", computingSite="PQ_2400")
    assert Watcher(tbuf).run([production_rule(2.0, tuple(many))]) == 0
    assert Watcher(tbuf).run(workflow_rules("push", 2.0, many)) == 1


def test_more_lost_jobs_than_one_transaction_takes_are_all_found(
    tbuf: TaskBuffer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watcher_module, "CHUNK", 2)
    for _ in range(5):
        put_silent(tbuf, "running", 3 * HOUR)
    assert Watcher(tbuf).run(RULES) == 5


def test_the_datasets_of_lost_jobs_are_closed(tbuf: TaskBuffer) -> None:
    put_dataset(tbuf, "user.jane.out")
    put_silent(tbuf, "running", 3 * HOUR)
    Watcher(tbuf).run(RULES)
    assert status_of_dataset(tbuf, "user.jane.out") == "tobeclosed"


def test_a_lost_build_job_cancels_who_waits_for_its_library(tbuf: TaskBuffer) -> None:
    put_silent(tbuf, "running", 3 * HOUR, prodSourceLabel="panda")
    change(tbuf, "UPDATE ATLAS_PANDA.filesTable4 SET destinationDBlock = 'my.lib' WHERE type = 'output'")
    waiting = put_job(tbuf, "assigned")
    change(
        tbuf,
        "UPDATE ATLAS_PANDA.filesTable4 SET dispatchDBlock = 'my.lib' WHERE PandaID = :id AND type = 'input'",
        id=waiting,
    )
    Watcher(tbuf).run(RULES)
    assert job_of(tbuf, waiting).jobStatus == "cancelled"


def test_a_job_that_a_heartbeat_holds_is_spared(
    tbuf: TaskBuffer, database: ConnectionSettings, requires: Callable[[str], None]
) -> None:
    requires("row_locks")
    job_id = put_silent(tbuf, "running", 3 * HOUR)
    with transaction(database) as heartbeat:
        heartbeat.change(
            "UPDATE ATLAS_PANDA.jobsActive4 SET modificationTime = CURRENT_TIMESTAMP WHERE PandaID = :id", id=job_id
        )
        assert Watcher(tbuf).run(RULES) == 0
    assert Watcher(tbuf).run(RULES) == 0
    assert job_of(tbuf, job_id).jobStatus == "running"
