"""Commands to harvesters: given once, replaced, acknowledged; and what instances say of themselves."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest

from pandacommon.pandautils.PandaUtils import naive_utcnow
from pandaserver.taskbuffer.connection_settings import ConnectionSettings, OperationSettings
from pandaserver.taskbuffer.local_bridge import LocalBridge
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from pandaserver.taskbuffer.worker_reports import InstanceBeat, Sweep, TargetSlots
from tests.db.crowd import insert, query, statements_of

H = "hv1"
ROWS = "SELECT command, params, status, ack_requested FROM ATLAS_PANDA.Harvester_Commands ORDER BY command_id"
LOCKS = """
    SELECT computingSite, resourceType, lockedBy FROM ATLAS_PANDA.Harvester_Command_Lock
    ORDER BY computingSite, resourceType
"""
AUDIT = "SELECT actor, action, objectType, objectID FROM ATLAS_PANDA.panda_audit ORDER BY id"


def ago(**span: float) -> datetime:
    return naive_utcnow() - timedelta(**span)


def given(tbuf: TaskBuffer, number: int, text: str, status: str = "new", minutes: float = 0, **more: Any) -> None:
    """Store a command; a number below 1 is none that the sequence will draw."""
    row = {
        "command_id": number,
        "command": text,
        "harvester_ID": H,
        "ack_requested": 0,
        "creation_date": ago(minutes=minutes),
        "status": status,
        "status_date": ago(minutes=minutes),
        "params": None,
    }
    insert(tbuf, "PANDA.Harvester_Commands", row | more)


def texts(tbuf: TaskBuffer) -> list[str]:
    return [row[0] for row in query(tbuf, ROWS)]


# -- fetching


def test_the_oldest_come_first_and_each_once(tbuf: TaskBuffer) -> None:
    for number in range(1, 6):
        given(tbuf, number, f"C{number}")
    given(tbuf, 6, "C6", harvester_ID="other")
    assert [c.command for c in tbuf.getCommands(H, 3)] == ["C1", "C2", "C3"]
    assert [c.command for c in tbuf.getCommands(H, 20)] == ["C4", "C5"]
    assert tbuf.getCommands(H, 20) == []
    assert query(tbuf, ROWS)[-1][2] == "new"


def test_two_processes_of_one_instance_share_its_commands(database: ConnectionSettings, tbuf: TaskBuffer) -> None:
    for number in range(1, 41):
        given(tbuf, number, f"C{number}")
    bridges = [LocalBridge(database, OperationSettings(hostname=f"host{n}")) for n in range(2)]

    def fetch(bridge: LocalBridge) -> list[int]:
        found: list[int] = []
        while commands := TaskBuffer(bridge).getCommands(H, 3):
            found += [c.command_id for c in commands]
        return found

    try:
        with ThreadPoolExecutor(2) as pool:
            taken = [n for found in pool.map(fetch, bridges) for n in found]
    finally:
        for bridge in bridges:
            bridge.close()
    missed = [c.command_id for c in tbuf.getCommands(H, 100)]  # that both saw locked by the other
    assert sorted(taken + missed) == list(range(1, 41))


def test_a_batch_costs_few_statements(tbuf: TaskBuffer) -> None:
    for number in range(1, 101):
        given(tbuf, number, f"C{number}")
    assert statements_of(tbuf, "take_harvester_commands", H, 100) <= 4


@pytest.mark.parametrize(("owner", "taken"), [("Jane Doe", 1), ("John Roe", 0), (None, 1)])
def test_commands_are_for_the_owner_of_an_instance(tbuf: TaskBuffer, owner: str | None, taken: int) -> None:
    tbuf.harvesterIsAlive(InstanceBeat(H, "Jane Doe"))
    given(tbuf, 1, "C")
    assert len(tbuf.getCommands(H, 5, owner)) == taken
    assert tbuf.ackCommands([1], owner) == taken


@pytest.mark.parametrize(("by_role", "owner"), [(True, "John Roe"), (False, "Jane Doe")])
def test_an_instance_is_taken_over_by_role_only(tbuf: TaskBuffer, by_role: bool, owner: str) -> None:
    tbuf.harvesterIsAlive(InstanceBeat(H, "Jane Doe", may_take_over=False))
    tbuf.harvesterIsAlive(InstanceBeat(H, "John Roe", may_take_over=by_role))
    assert query(tbuf, "SELECT owner FROM ATLAS_PANDA.Harvester_Instances") == [(owner,)]
    recorded = [("John Roe", "takeOverHarvester", H)] if by_role else []
    assert query(tbuf, "SELECT actor, action, objectID FROM ATLAS_PANDA.panda_audit") == recorded


def test_commands_are_acknowledged(tbuf: TaskBuffer) -> None:
    given(tbuf, 1, "A", "retrieved")
    given(tbuf, 2, "B", "retrieved")
    given(tbuf, 5000, "C", "retrieved")
    assert tbuf.ackCommands([2, 2, 99, *range(100, 1600), 5000]) == 2
    assert tbuf.ackCommands([]) == 0
    assert [row[2] for row in query(tbuf, ROWS)] == ["retrieved", "acknowledged", "acknowledged"]


# -- giving


@pytest.mark.parametrize(
    ("text", "params"),
    [
        ("REPORT_WORKER_STATS:TEST_PQ", None),
        ("SET_N_WORKERS:TEST_PQ", {"SCORE": 3}),
        ("SET_N_WORKERS_JOBTYPE:TEST_PQ", {"managed": {"SCORE": 0}}),
        ("KILL_WORKERS", {"status": ["submitted"], "computingSite": ["Q"], "computingElement": "ALL",
                          "submissionHost": "ALL"}),
        ("SYNC_WORKERS_KILL", [1, 2]),
        ("SYNC_WORKERS_ACTIVATE", [3]),
    ],
)  # fmt: skip
def test_the_whole_vocabulary_comes_through(tbuf: TaskBuffer, text: str, params: Any) -> None:
    assert tbuf.commandToHarvester(H, text, params, ack_requested=True)
    [command] = tbuf.getCommands(H, 1)
    assert (command.command, command.params, command.ack_requested) == (text, params, 1)


def test_a_command_replaces_the_last_one_of_its_text(tbuf: TaskBuffer) -> None:
    given(tbuf, -3, "A", "acknowledged")
    given(tbuf, -2, "B")
    given(tbuf, -1, "A", harvester_ID="other")
    assert tbuf.commandToHarvester(H, "A")
    assert tbuf.commandToHarvester(H, "A")
    assert sorted(texts(tbuf)) == ["A", "A", "B"]


@pytest.mark.parametrize(
    ("status", "minutes", "spans", "again"),
    [
        ("new", 4, {"lock_minutes": 5}, False),
        ("new", 6, {"lock_minutes": 5}, True),
        ("lock", 4, {"lock_minutes": 5}, False),
        ("retrieved", 4, {"lock_minutes": 5}, False),
        ("acknowledged", 4, {"lock_minutes": 5}, True),
        ("new", 4, {"command_minutes": 5}, True),
        ("retrieved", 4, {"command_minutes": 5}, False),
        ("acknowledged", 4, {"command_minutes": 5}, False),
        ("acknowledged", 6, {"command_minutes": 5}, True),
        ("acknowledged", 6, {"command_minutes": 8, "lock_minutes": 5}, False),
        ("new", 0, {}, True),
    ],
)
def test_a_young_command_is_not_given_again(
    tbuf: TaskBuffer, status: str, minutes: float, spans: dict[str, Any], again: bool
) -> None:
    given(tbuf, -1, "A", status, minutes)
    assert tbuf.commandToHarvester(H, "A", **spans) is again
    assert query(tbuf, ROWS)[0][2] == ("new" if again else status)


# -- what instances announce


def announce(tbuf: TaskBuffer, *kinds: str, harvester: str = H) -> None:
    beat = InstanceBeat(harvester, "x", commands=tuple(("TEST_PQ", kind, "SET_N_WORKERS") for kind in kinds))
    tbuf.harvesterIsAlive(beat)


def test_announcing_again_leaves_rows_alone(tbuf: TaskBuffer) -> None:
    held = {"harvester_ID": H, "computingSite": "TEST_PQ", "resourceType": "SCORE", "command": "SET_N_WORKERS"}
    insert(tbuf, "PANDA.Harvester_Command_Lock", {**held, "lockedBy": "me", "lockedTime": ago(minutes=1)})
    announce(tbuf, "SCORE", "MCORE")
    assert query(tbuf, LOCKS) == [("TEST_PQ", "MCORE", None), ("TEST_PQ", "SCORE", "me")]


def test_two_processes_of_one_name_announce_together(database: ConnectionSettings, tbuf: TaskBuffer) -> None:
    bridges = [LocalBridge(database, OperationSettings(hostname=f"host{n}")) for n in range(4)]
    kinds = [f"T{n}" for n in range(20)]
    try:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda bridge: announce(TaskBuffer(bridge), *kinds), bridges))
    finally:
        for bridge in bridges:
            bridge.close()
    assert len(query(tbuf, LOCKS)) == 20
    assert query(tbuf, "SELECT harvester_ID FROM ATLAS_PANDA.Harvester_Instances") == [(H,)]


# -- operators


def test_sweeps_of_two_queues_wait_side_by_side(tbuf: TaskBuffer) -> None:
    tbuf.storeQueues({name: {"harvester": H} for name in ("A_PQ", "B_PQ")})
    given(tbuf, -1, "KILL_WORKERS", "retrieved")
    for queue in ("A_PQ", "B_PQ"):
        assert tbuf.sweepPQ(Sweep(queue, ("submitted",), None, None), "Paula Prod") == "OK"
    assert [c.params["computingSite"] for c in tbuf.getCommands(H, 9)] == [["A_PQ"], ["B_PQ"]]
    assert query(tbuf, AUDIT)[1:] == [("Paula Prod", "sweepPQ", "queue", name) for name in ("A_PQ", "B_PQ")]


def test_wishes_for_slots_replace_each_other_by_share_and_type(tbuf: TaskBuffer) -> None:
    for slots, share, kind in ((1, None, None), (2, "A", None), (3, "A", "SCORE"), (4, "A", None)):
        tbuf.setNumSlotsForWP(TargetSlots("TEST_PQ", slots, share, kind), "Paula Prod")
    tbuf.setNumSlotsForWP(TargetSlots("TEST_PQ", 5, "B", days=2), "Paula Prod")
    tbuf.setNumSlotsForWP(TargetSlots("TEST_PQ", -1), "Paula Prod")
    rows = query(tbuf, "SELECT numSlots, gshare, resourceType, expirationTime FROM ATLAS_PANDA.Harvester_Slots")
    found = {row[0]: row for row in rows}
    assert {n: row[1:3] for n, row in found.items()} == {3: ("A", "SCORE"), 4: ("A", None), 5: ("B", None)}
    assert found[4][3] is None
    assert ago(days=-1) < found[5][3] < ago(days=-3)


# -- words of instances


def test_words_of_harvesters_are_forgotten_after_a_week(tbuf: TaskBuffer) -> None:
    for number, days in ((1, 8), (2, 6)):
        dialog = {"diagID": number, "creationTime": ago(days=days), "diagMessage": "x", "moduleName": None}
        tbuf.addHarvesterDialogs(H, [dialog | {"identifier": None, "messageLevel": None}])
        tbuf.updateServiceMetrics(H, [{"creation_time": ago(days=days), "harvester_host": "h", "metrics": "{}"}])
    assert tbuf.forgetServiceWords(7) == 2
    assert query(tbuf, "SELECT diagID FROM ATLAS_PANDA.Harvester_Dialogs") == [(2,)]
    assert len(query(tbuf, "SELECT metrics FROM ATLAS_PANDA.Harvester_Metrics")) == 1


def test_statistics_of_workers_are_replaced_whole(tbuf: TaskBuffer) -> None:
    tbuf.reportWorkerStats_jobtype(H, "A_PQ", [("managed", "SCORE", "running", 1), ("managed", "MCORE", "running", 2)])
    tbuf.reportWorkerStats_jobtype(H, "B_PQ", [("managed", "SCORE", "running", 3)])
    tbuf.reportWorkerStats_jobtype(H, "A_PQ", [("user", "SCORE", "submitted", 4), ("user", "SCORE", "submitted", 5)])
    assert tbuf.getWorkerStats() == {
        "A_PQ": {H: {"user": {"SCORE": {"submitted": 5}}}},
        "B_PQ": {H: {"managed": {"SCORE": {"running": 3}}}},
    }
    tbuf.reportWorkerStats_jobtype(H, "A_PQ", [])
    assert list(tbuf.getWorkerStats()) == ["B_PQ"]
