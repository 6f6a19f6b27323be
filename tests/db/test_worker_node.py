"""Machines and GPUs that pilots report."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pandaserver.taskbuffer.connection_settings import ConnectionSettings
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from tests.db.crowd import query, statements_of
from tests.db.transactions import transaction

NODE = {"site": "SITE", "host_name": "wn01", "cpu_model": "AMD EPYC"}
GPU = {"site": "SITE", "host_name": "wn01", "vendor": "NVIDIA", "model": "A100"}


def facts(**known: Any) -> dict[str, Any]:
    return {"n_logical_cpus": 8, "clock_speed": 2596.13, "total_memory": 24105, **known}


def test_a_machine_is_stored_as_it_was_first_told(tbuf: TaskBuffer) -> None:
    assert tbuf.updateWorkerNode(NODE, facts(), "TEST_PQ")
    assert tbuf.updateWorkerNode(NODE, facts(n_logical_cpus=99), "OTHER_PQ")
    rows = query(tbuf, "SELECT host_name, n_logical_cpus, clock_speed, total_memory FROM ATLAS_PANDA.Worker_Node")
    assert [(host, cpus, float(clock), memory) for host, cpus, clock, memory in rows] == [("wn01", 8, 2596.13, 24105)]
    queues = query(tbuf, "SELECT panda_queue FROM ATLAS_PANDA.Worker_Node_Queue ORDER BY panda_queue")
    assert queues == [("OTHER_PQ",), ("TEST_PQ",)]


def test_seeing_a_machine_again_refreshes_the_time(tbuf: TaskBuffer) -> None:
    tbuf.updateWorkerNode(NODE, facts(), None)
    [[first]] = query(tbuf, "SELECT last_seen FROM ATLAS_PANDA.Worker_Node")
    tbuf.updateWorkerNode(NODE, facts(), None)
    [[second]] = query(tbuf, "SELECT last_seen FROM ATLAS_PANDA.Worker_Node")
    assert second >= first
    assert query(tbuf, "SELECT panda_queue FROM ATLAS_PANDA.Worker_Node_Queue") == []


def test_gpus_are_counted_again_and_keep_what_they_are(tbuf: TaskBuffer) -> None:
    assert tbuf.updateWorkerNodeGPU(GPU, 4, {"vram": 40960, "framework": "CUDA", "framework_version": "12.1"})
    assert tbuf.updateWorkerNodeGPU(GPU, 2, {"vram": 1, "framework": None, "framework_version": "12.2"})
    rows = query(tbuf, "SELECT count, vram, framework, framework_version FROM ATLAS_PANDA.Worker_Node_GPUs")
    assert rows == [(2, 40960, "CUDA", "12.2")]


def test_machines_that_nobody_sees_are_forgotten(tbuf: TaskBuffer) -> None:
    tbuf.updateWorkerNode(NODE, facts(), "TEST_PQ")
    tbuf.updateWorkerNodeGPU(GPU, 4, {})
    assert tbuf.forgetWorkerNodes(1) == 0
    assert tbuf.forgetWorkerNodes(-1) == 3
    assert query(tbuf, "SELECT site FROM ATLAS_PANDA.Worker_Node") == []


def test_a_report_takes_few_statements(tbuf: TaskBuffer, database: ConnectionSettings) -> None:
    tbuf.updateWorkerNode(NODE, facts(), "TEST_PQ")
    assert statements_of(tbuf, "see_worker_node", NODE, facts(), "TEST_PQ") <= 4


def test_a_row_that_another_pilot_holds_is_not_waited_for(
    tbuf: TaskBuffer, database: ConnectionSettings, requires: Callable[[str], None]
) -> None:
    requires("row_locks")
    tbuf.updateWorkerNode(NODE, facts(), None)
    tbuf.updateWorkerNodeGPU(GPU, 4, {})
    with transaction(database) as held:
        held.rows("SELECT 1 FROM ATLAS_PANDA.Worker_Node FOR UPDATE")
        held.rows("SELECT 1 FROM ATLAS_PANDA.Worker_Node_GPUs FOR UPDATE")
        assert not tbuf.updateWorkerNode(NODE, facts(), None)
        assert not tbuf.updateWorkerNodeGPU(GPU, 4, {})
