"""Arithmetic of pilot streaming, case by case."""

from __future__ import annotations

from typing import Any

import pytest

from pandaserver.taskbuffer.provisioning import (
    StreamedQueue,
    WaitingJobs,
    Workers,
    cores_by_type,
    cores_to_submit,
    new_workers,
    serving_instances,
    shared_out,
    streamed_queue,
)
from pandaserver.taskbuffer.sharing import ResourceType

TYPES = (
    ResourceType("SCORE", 1, 1, None, 2000),
    ResourceType("SCORE_HIMEM", 1, 1, 2001, None),
    ResourceType("MCORE", 2, None, None, 2000),
    ResourceType("MCORE_HIMEM", 2, None, 2001, None),
    ResourceType("Undefined"),
)
QUEUE = {"capability": "ucore", "workflow": "pull_ups", "status": "online", "corecount": 8}


def wanted(queue: StreamedQueue, workers: str, waiting: str) -> dict[str, int]:
    """``workers``: ``type running queued``; ``waiting``: ``type jobs``, both separated by commas."""
    known = [line.split() for line in workers.split(",") if line]
    jobs = [line.split() for line in waiting.split(",") if line]
    return new_workers(
        queue,
        [Workers("H", kind, int(running), int(queued)) for kind, running, queued in known],
        [WaitingJobs(kind, int(n)) for kind, n in jobs],
        TYPES,
    )


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (QUEUE, StreamedQueue("Q", 8)),
        ({**QUEUE, "capability": "mcore"}, None),
        ({**QUEUE, "workflow": "push"}, None),
        ({**QUEUE, "workflow": None}, None),
        ({**QUEUE, "corecount": None}, StreamedQueue("Q", 1)),
        ({**QUEUE, "corecount": 0}, StreamedQueue("Q", 1)),
        ({**QUEUE, "harvester": "H"}, StreamedQueue("Q", 8, harvester="H")),
        ({**QUEUE, "params": {"ups_core_target": 500}}, StreamedQueue("Q", 8, 500)),
        ({**QUEUE, "params": {"ups_core_target": "500"}, "status": "brokeroff"}, StreamedQueue("Q", 8, 500)),
        ({**QUEUE, "params": {"ups_core_target": 500}, "status": "test"}, StreamedQueue("Q", 8, 0)),
        ({**QUEUE, "params": None, "uconfig": None}, StreamedQueue("Q", 8)),
        ({**QUEUE, "uconfig": {"resource_type_limits": {"MCORE": 3}}}, StreamedQueue("Q", 8, limits={"MCORE": 3})),
    ],
)
def test_a_queue_is_read(data: dict[str, Any], expected: StreamedQueue | None) -> None:
    assert streamed_queue("Q", data) == expected


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("corecount", "many", "corecount is 'many', which is no number"),
        ("corecount", [], None),
        ("corecount", [8], "corecount is \\[8\\], which is no number"),
        ("params", [1], "params is \\[1\\], which is no object"),
        ("uconfig", {"resource_type_limits": 5}, "resource_type_limits is 5, which is no object"),
        ("uconfig", {"resource_type_limits": {"MCORE": "x"}}, "MCORE is 'x', which is no number"),
    ],
)
def test_an_unreadable_field_is_named(field: str, value: Any, problem: str | None) -> None:
    if problem is None:
        assert streamed_queue("Q", {**QUEUE, field: value}) is not None
        return
    with pytest.raises(ValueError, match=problem):
        streamed_queue("Q", {**QUEUE, field: value})


@pytest.mark.parametrize(
    ("cores", "expected"),
    [
        (8, {"SCORE": 1, "SCORE_HIMEM": 1, "MCORE": 8, "MCORE_HIMEM": 8}),
        (1, {"SCORE": 1, "SCORE_HIMEM": 1, "MCORE": 2, "MCORE_HIMEM": 2}),
    ],
)
def test_a_type_has_the_cores_of_the_queue_within_its_bounds(cores: int, expected: dict[str, int]) -> None:
    assert cores_by_type(StreamedQueue("Q", cores), TYPES) == expected


def test_without_types_there_is_the_smallest_one() -> None:
    assert cores_by_type(StreamedQueue("Q", 8), ()) == {"SCORE": 1}


@pytest.mark.parametrize(
    ("target", "running", "queued", "expected"),
    [
        (0, 0, 0, 600),  # 75 slots of 8 cores
        (0, 1500, 0, 600),  # 0.4 x 1500 is just that
        (0, 2000, 0, 800),
        (0, 2001, 0, 801),  # rounded up
        (2000, 10, 0, 800),  # the target stands for what runs
        (0, 2000, 500, 300),
        (0, 2000, 760, 40),  # exactly 5 slots
        (0, 2000, 800, 40),  # never less
        (0, 2000, 9999, 40),
    ],
)
def test_a_reserve_is_kept_queued(target: int, running: int, queued: int, expected: int) -> None:
    assert cores_to_submit(StreamedQueue("Q", 8, target), running, queued) == expected


EIGHT = StreamedQueue("Q", 8)


@pytest.mark.parametrize(
    ("workers", "waiting", "expected"),
    [
        # nothing at all: one small pilot knocks
        ("", "", {"SCORE": 1}),
        ("SCORE 0 0,MCORE 0 0", "", {"SCORE": 1, "MCORE": 0}),
        ("SCORE 3 0", "", {"SCORE": 1}),
        # something is queued already: it will knock
        ("MCORE 0 1", "", {"MCORE": 0}),
        # one more than what is missing
        ("", "SCORE 1", {"SCORE": 2}),
        ("", "MCORE 4", {"MCORE": 5}),
        ("MCORE 2 3", "MCORE 4", {"MCORE": 2}),
        # what is queued is enough
        ("MCORE 2 4", "MCORE 4", {"MCORE": 0}),
        ("MCORE 2 9", "MCORE 4", {"MCORE": 0}),
        # queued workers of one type do not help another
        ("MCORE 0 9", "SCORE 2", {"MCORE": 0, "SCORE": 3}),
        # the same type in several groups
        ("MCORE 0 3", "MCORE 2,SCORE 1,MCORE 2", {"MCORE": 2, "SCORE": 2}),
        # 600 cores may be added: 75 of 8
        ("", "MCORE 1000", {"MCORE": 76}),
        ("", "SCORE 1000", {"SCORE": 601}),
        # in order of dispatch: what comes first takes all
        ("", "SCORE 1000,MCORE 5", {"SCORE": 601}),
        ("", "MCORE 70,SCORE 1000", {"MCORE": 71, "SCORE": 41}),
        # the last core of a round may be exceeded by less than one worker
        ("", "SCORE 593,MCORE 5", {"SCORE": 594, "MCORE": 2}),
        # much is queued: 5 slots a round, for what is not served
        ("SCORE 0 600", "MCORE 100", {"SCORE": 0, "MCORE": 6}),
        # kinds that nobody can ask for are passed over
        ("ANY 50 50,Undefined 5 5", "Undefined 7,unknown 7", {"SCORE": 1}),
        ("", "unknown 7,MCORE 1", {"MCORE": 2}),
    ],
)
def test_workers_are_wanted_for_jobs_in_order(workers: str, waiting: str, expected: dict[str, int]) -> None:
    assert wanted(EIGHT, workers, waiting) == expected


@pytest.mark.parametrize(
    ("limits", "workers", "waiting", "expected"),
    [
        # running and queued workers count, and the one more is within the limit, too
        ({"MCORE": 10}, "MCORE 4 1", "MCORE 9", {"MCORE": 5}),
        ({"MCORE": 10}, "MCORE 4 1", "MCORE 4", {"MCORE": 4}),
        ({"MCORE": 10}, "", "MCORE 9", {"MCORE": 10}),
        ({"MCORE": 10}, "", "MCORE 10", {"MCORE": 10}),
        ({"MCORE": 10}, "MCORE 20 5", "MCORE 90", {"MCORE": 0}),
        # what one type may not use is left to the next
        ({"MCORE": 1}, "", "MCORE 100,SCORE 1000", {"MCORE": 1, "SCORE": 593}),
        # HIMEM is a limit in cores for all types of that kind
        ({"HIMEM": 16}, "", "MCORE_HIMEM 9", {"MCORE_HIMEM": 2}),
        ({"HIMEM": 16}, "MCORE_HIMEM 1 0", "MCORE_HIMEM 9", {"MCORE_HIMEM": 1}),
        ({"HIMEM": 16}, "MCORE_HIMEM 1 0,SCORE_HIMEM 1 0", "MCORE_HIMEM 9,SCORE_HIMEM 9", {"SCORE_HIMEM": 7}),
        ({"HIMEM": 16}, "", "SCORE_HIMEM 9,MCORE_HIMEM 9", {"SCORE_HIMEM": 10, "MCORE_HIMEM": 0}),
        ({"HIMEM": 16, "SCORE_HIMEM": 3}, "", "SCORE_HIMEM 9", {"SCORE_HIMEM": 3}),
        ({"HIMEM": 0}, "", "MCORE 1", {"MCORE": 2}),
        # not even the one that knocks
        ({"SCORE": 0}, "", "", {}),
        ({"SCORE": 3}, "SCORE 3 0", "", {"SCORE": 0}),
    ],
)
def test_limits_of_types_hold(limits: dict[str, int], workers: str, waiting: str, expected: dict[str, int]) -> None:
    found = wanted(StreamedQueue("Q", 8, limits=limits), workers, waiting)
    assert {kind: n for kind, n in found.items() if n} == {kind: n for kind, n in expected.items() if n}


def test_only_the_instance_of_the_queue_is_told_if_it_reports() -> None:
    workers = [Workers("H2", "SCORE"), Workers("H1", "SCORE"), Workers("H1", "MCORE")]
    assert serving_instances(StreamedQueue("Q", harvester="H1"), workers) == ["H1"]
    assert serving_instances(StreamedQueue("Q", harvester="H3"), workers) == ["H1", "H2"]
    assert serving_instances(StreamedQueue("Q"), workers) == ["H1", "H2"]
    assert serving_instances(StreamedQueue("Q", harvester="H1"), []) == []


@pytest.mark.parametrize("number", [0, 1, 2, 3, 7])
def test_instances_share_without_losing_or_adding_a_worker(number: int) -> None:
    parts = [part["MCORE"] for part in shared_out({"MCORE": number}, ["A", "B", "C"]).values()]
    assert sum(parts) == number
    assert max(parts) - min(parts) <= 1
