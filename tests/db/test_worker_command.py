"""Commands to harvesters: how many workers to submit, and which are behind their pilots."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest

from pandacommon.pandautils.PandaUtils import naive_utcnow
from pandaserver.daemons.scripts import pilotStreaming, worker_synchronization
from pandaserver.taskbuffer.provisioning import StreamedQueue
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from tests.db.crowd import insert, put_jobs, query, statements_of

QUEUE = StreamedQueue("TEST_PQ", cores=8)
COMMAND = "SET_N_WORKERS_JOBTYPE:TEST_PQ"
COMMANDS = """
    SELECT harvester_ID, command, params, ack_requested, status, creation_date
    FROM ATLAS_PANDA.Harvester_Commands ORDER BY command_id
"""
TYPES: tuple[dict[str, Any], ...] = (
    {"resource_name": "SCORE", "mincore": 1, "maxcore": 1, "minrampercore": None, "maxrampercore": 2000},
    {"resource_name": "MCORE", "mincore": 2, "maxcore": None, "minrampercore": None, "maxrampercore": 2000},
    {"resource_name": "Undefined", "mincore": None, "maxcore": None, "minrampercore": None, "maxrampercore": None},
)


@pytest.fixture(autouse=True)
def _types(tbuf: TaskBuffer) -> None:
    tbuf.replaceResourceTypes(list(TYPES))


def ago(**span: float) -> datetime:
    return naive_utcnow() - timedelta(**span)


def report(
    tbuf: TaskBuffer, harvester: str, kind: str, numbers: Mapping[str, int], job_type: str = "managed", minutes: int = 0
) -> None:
    """Store what an instance has reported of a queue."""
    rows = [
        {
            "harvester_ID": harvester,
            "computingSite": "TEST_PQ",
            "resourceType": kind,
            "jobType": job_type,
            "status": status,
            "n_workers": number,
            "lastUpdate": ago(minutes=minutes),
        }
        for status, number in numbers.items()
    ]
    insert(tbuf, "PANDA.Harvester_Worker_Stats", *rows)


def commands(tbuf: TaskBuffer) -> list[tuple[str, str, Any]]:
    return [(harvester, command, json.loads(params)) for harvester, command, params, *_ in query(tbuf, COMMANDS)]


# -- pilot streaming


def test_the_instance_is_told_what_waiting_jobs_need(tbuf: TaskBuffer) -> None:
    report(tbuf, "H", "MCORE", {"running": 5, "submitted": 1, "ready": 1, "to_submit": 50})
    put_jobs(tbuf, 4, resource_type="MCORE")
    put_jobs(tbuf, 2, resource_type="SCORE")
    put_jobs(tbuf, 9, "running", resource_type="SCORE")
    assert tbuf.streamPilots(QUEUE) == {"H": {"MCORE": 3, "SCORE": 3}}
    assert commands(tbuf) == [("H", COMMAND, {"managed": {"MCORE": 3, "SCORE": 3}})]
    assert query(tbuf, COMMANDS)[0][3:5] == (0, "new")


def test_workers_of_all_job_types_count_together(tbuf: TaskBuffer) -> None:
    report(tbuf, "H", "SCORE", {"submitted": 1})
    report(tbuf, "H", "SCORE", {"submitted": 2}, job_type="user")
    put_jobs(tbuf, 5, resource_type="SCORE")
    assert tbuf.streamPilots(QUEUE) == {"H": {"SCORE": 3}}


def test_nobody_is_told_without_a_report_of_the_last_hour(tbuf: TaskBuffer) -> None:
    put_jobs(tbuf, 2, resource_type="SCORE")
    report(tbuf, "H", "SCORE", {"running": 1}, minutes=61)
    assert tbuf.streamPilots(QUEUE) == {}
    assert commands(tbuf) == []


def test_a_queue_without_work_gets_one_small_worker(tbuf: TaskBuffer) -> None:
    report(tbuf, "H", "SCORE", {"running": 0, "submitted": 0, "to_submit": 0})
    assert tbuf.streamPilots(QUEUE) == {"H": {"SCORE": 1}}


def test_instances_share_what_is_needed_unless_the_queue_names_one(tbuf: TaskBuffer) -> None:
    report(tbuf, "H1", "MCORE", {"running": 1})
    report(tbuf, "H2", "MCORE", {"running": 1})
    put_jobs(tbuf, 4, resource_type="MCORE")
    assert tbuf.streamPilots(QUEUE) == {"H1": {"MCORE": 3}, "H2": {"MCORE": 2}}
    named = StreamedQueue("TEST_PQ", cores=8, harvester="H2")
    assert tbuf.streamPilots(named) == {"H2": {"MCORE": 5}}


def test_a_new_command_replaces_the_one_before(tbuf: TaskBuffer) -> None:
    report(tbuf, "H", "SCORE", {"running": 1})
    tbuf.streamPilots(StreamedQueue("OTHER_PQ"))
    tbuf.streamPilots(QUEUE)
    put_jobs(tbuf, 1, resource_type="SCORE")
    tbuf.streamPilots(QUEUE)
    assert commands(tbuf) == [("H", COMMAND, {"managed": {"SCORE": 2}})]


def test_shares_come_in_the_order_of_dispatch(tbuf: TaskBuffer) -> None:
    shares = [
        {"name": name, "value": value, **dict.fromkeys(("parent", "prodSourceLabel", "workingGroup", "campaign"))}
        for name, value in (("Idle", 50), ("Busy", 50))
    ]
    empty = dict.fromkeys(("processingType", "vo", "queue_ID", "throttled", "transpath", "rtype"))
    tbuf.replaceShares([{**share, **empty} for share in shares])
    put_jobs(tbuf, 1, "running", gshare="Busy", hs06=1000)
    put_jobs(tbuf, 10, gshare="Busy", resource_type="SCORE", currentPriority=900)
    put_jobs(tbuf, 200, gshare="Idle", resource_type="MCORE", currentPriority=100)
    tbuf.refreshShareStatistics()
    report(tbuf, "H", "MCORE", {"running": 1})
    assert tbuf.streamPilots(QUEUE) == {"H": {"MCORE": 76}}


def test_higher_priorities_come_first_within_a_share(tbuf: TaskBuffer) -> None:
    put_jobs(tbuf, 200, gshare="A", resource_type="MCORE", currentPriority=100)
    put_jobs(tbuf, 600, gshare="A", resource_type="SCORE", currentPriority=900)
    report(tbuf, "H", "MCORE", {"running": 1})
    assert tbuf.streamPilots(QUEUE) == {"H": {"MCORE": 0, "SCORE": 601}}


def test_a_queue_costs_few_statements_however_many_jobs_wait(tbuf: TaskBuffer) -> None:
    report(tbuf, "H", "MCORE", {"running": 1})
    put_jobs(tbuf, 500, resource_type="MCORE")
    tbuf.streamPilots(QUEUE)
    assert statements_of(tbuf, "stream_pilots", QUEUE) <= 8


def test_the_script_tells_unified_pull_queues_only(tbuf: TaskBuffer) -> None:
    pull = {"capability": "ucore", "workflow": "pull_ups", "status": "online", "corecount": 8}
    tbuf.storeQueues(
        {"TEST_PQ": pull, "PUSH": {**pull, "workflow": "push"}, "BROKEN": {**pull, "corecount": "many"}, "SILENT": pull}
    )
    report(tbuf, "H", "MCORE", {"running": 1})
    pilotStreaming.main(tbuf=tbuf)
    assert commands(tbuf) == [("H", COMMAND, {"managed": {"MCORE": 0, "SCORE": 1}})]


# -- workers behind their pilots


def worker(tbuf: TaskBuffer, number: int, status: str, pilot: str | None, minutes: float = 90, **columns: Any) -> None:
    """Store a worker whose pilot said that so many minutes ago."""
    since = {"finished": "pilotEndTime"}.get(pilot or "", "pilotStartTime")
    row = {
        "harvesterID": "H",
        "workerID": number,
        "status": status,
        "pilotStatus": pilot,
        "computingSite": "TEST_PQ",
        "lastUpdate": ago(hours=1),
        "submitTime": ago(hours=5),
        since: ago(minutes=minutes),
    }
    insert(tbuf, "PANDA.Harvester_Workers", row | columns)


def told(tbuf: TaskBuffer) -> dict[str, list[int]]:
    """What the last run has told: ids by command."""
    found: dict[str, list[int]] = {}
    for _, command, ids in commands(tbuf):
        found.setdefault(command, []).extend(ids)
    return found


@pytest.mark.parametrize("status", ["submitted", "ready"])
@pytest.mark.parametrize("pilot", ["started", "running"])
def test_a_waiting_worker_with_a_running_pilot_is_activated(tbuf: TaskBuffer, status: str, pilot: str) -> None:
    worker(tbuf, 1, status, pilot)
    assert tbuf.synchronizeWorkers(100) == {"SYNC_WORKERS_ACTIVATE": 1, "SYNC_WORKERS_KILL": 0}
    assert commands(tbuf) == [("H", "SYNC_WORKERS_ACTIVATE", [1])]


@pytest.mark.parametrize("status", ["submitted", "ready", "running", "idle"])
def test_a_worker_whose_pilot_has_finished_is_killed(tbuf: TaskBuffer, status: str) -> None:
    worker(tbuf, 1, status, "finished")
    assert tbuf.synchronizeWorkers(100) == {"SYNC_WORKERS_ACTIVATE": 0, "SYNC_WORKERS_KILL": 1}
    assert commands(tbuf) == [("H", "SYNC_WORKERS_KILL", [1])]


def test_all_others_are_left_alone(tbuf: TaskBuffer) -> None:
    worker(tbuf, 1, "running", "started")
    worker(tbuf, 2, "finished", "finished")
    worker(tbuf, 3, "cancelled", "started")
    worker(tbuf, 4, "submitted", None)
    worker(tbuf, 5, "submitted", "started", minutes=59)
    worker(tbuf, 6, "running", "finished", minutes=59)
    worker(tbuf, 7, "running", "finished", lastUpdate=ago(days=8))
    worker(tbuf, 8, "running", "finished", submitTime=ago(days=15))
    worker(tbuf, 9, "running", "finished", pilotStatusSyncTime=ago(minutes=59))
    assert tbuf.synchronizeWorkers(100) == {"SYNC_WORKERS_ACTIVATE": 0, "SYNC_WORKERS_KILL": 0}
    assert commands(tbuf) == []


def test_nobody_is_told_twice_within_an_hour(tbuf: TaskBuffer) -> None:
    worker(tbuf, 1, "running", "finished")
    worker(tbuf, 2, "running", "finished", pilotStatusSyncTime=ago(minutes=61))
    worker_synchronization.main(tbuf=tbuf)
    worker_synchronization.main(tbuf=tbuf)
    assert told(tbuf) == {"SYNC_WORKERS_KILL": [1, 2]}


def test_many_workers_are_told_in_commands_of_a_hundred_that_all_survive(
    tbuf: TaskBuffer, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = {
        "harvesterID": "H",
        "status": "running",
        "pilotStatus": "finished",
        "lastUpdate": ago(hours=1),
        "submitTime": ago(hours=5),
        "pilotEndTime": ago(hours=2),
    }
    insert(tbuf, "PANDA.Harvester_Workers", *({**row, "workerID": n} for n in range(250)))
    insert(tbuf, "PANDA.Harvester_Workers", {**row, "harvesterID": "H2", "workerID": 1})
    monkeypatch.setattr(worker_synchronization, "BATCH", 120)
    worker_synchronization.main(tbuf=tbuf)
    sizes = [(harvester, len(ids)) for harvester, _, ids in commands(tbuf)]
    assert sizes == [("H", 100), ("H", 20), ("H", 100), ("H", 20), ("H", 10), ("H2", 1)]
    assert sorted(told(tbuf)["SYNC_WORKERS_KILL"]) == sorted([*range(250), 1])


def test_commands_that_were_fetched_or_are_too_old_are_forgotten(tbuf: TaskBuffer) -> None:
    rows = [
        {
            "command_id": 10**6 + n,
            "command": "SYNC_WORKERS_KILL",
            "harvester_ID": harvester,
            "ack_requested": 0,
            "creation_date": ago(minutes=minutes),
            "status": status,
            "params": f"[{n}]",
        }
        for n, (harvester, status, minutes) in enumerate(
            [("H", "retrieved", 5), ("H", "new", 5), ("H", "new", 61), ("H2", "retrieved", 5)]
        )
    ]
    insert(tbuf, "PANDA.Harvester_Commands", *rows)
    worker(tbuf, 77, "running", "finished")
    tbuf.synchronizeWorkers(100)
    assert sorted(ids[0] for _, _, ids in commands(tbuf)) == [1, 3, 77]
