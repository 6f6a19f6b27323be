"""Pilot streaming on random queues: limits hold, the round is bounded, and nothing is asked for nothing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pandaserver.taskbuffer.provisioning import (
    HIMEM,
    SMALLEST,
    StreamedQueue,
    WaitingJobs,
    Workers,
    cores_by_type,
    cores_to_submit,
    new_workers,
    shared_out,
)
from pandaserver.taskbuffer.sharing import ResourceType

TYPES = (
    ResourceType("SCORE", 1, 1, None, 2000),
    ResourceType("SCORE_HIMEM", 1, 1, 2001, None),
    ResourceType("MCORE", 2, None, None, 2000),
    ResourceType("MCORE_HIMEM", 2, None, 2001, None),
)
KINDS = st.sampled_from([kind.name for kind in TYPES])
COUNTS = st.integers(0, 400)
QUEUES = st.builds(
    StreamedQueue,
    st.just("Q"),
    cores=st.sampled_from([1, 8, 64]),
    core_target=st.integers(0, 3000),
    limits=st.dictionaries(KINDS | st.just(HIMEM), COUNTS, max_size=3),
)
WORKERS = st.dictionaries(KINDS, st.tuples(COUNTS, COUNTS)).map(
    lambda known: [Workers("H", kind, *numbers) for kind, numbers in known.items()]
)
WAITING = st.lists(st.builds(WaitingJobs, KINDS | st.just("Undefined"), st.integers(1, 400)), max_size=8)


@given(queue=QUEUES, workers=WORKERS, waiting=WAITING)
def test_limits_hold(queue: StreamedQueue, workers: list[Workers], waiting: list[WaitingJobs]) -> None:
    cores = cores_by_type(queue, TYPES)
    new = new_workers(queue, workers, waiting, TYPES)
    known = {group.resource_type: group.running + group.queued for group in workers}
    for kind, limit in queue.limits.items():
        if kind != HIMEM:
            assert new.get(kind, 0) <= max(0, limit - known.get(kind, 0))
    if HIMEM in queue.limits:
        used, more = (
            sum(number * cores[kind] for kind, number in numbers.items() if HIMEM in kind) for numbers in (known, new)
        )
        assert more <= max(0, queue.limits[HIMEM] - used)


@given(queue=QUEUES, workers=WORKERS, waiting=WAITING)
def test_a_round_is_bounded(queue: StreamedQueue, workers: list[Workers], waiting: list[WaitingJobs]) -> None:
    cores = cores_by_type(queue, TYPES)
    running = sum(group.running * cores[group.resource_type] for group in workers)
    queued = sum(group.queued * cores[group.resource_type] for group in workers)
    new = new_workers(queue, workers, waiting, TYPES)
    asked = sum(number * cores[kind] for kind, number in new.items())
    one_more_each = sum(cores[kind] for kind in new)
    assert asked < cores_to_submit(queue, running, queued) + max(cores.values()) + one_more_each


@given(queue=QUEUES, workers=WORKERS, waiting=WAITING)
def test_nobody_works_for_jobs_that_do_not_wait(
    queue: StreamedQueue, workers: list[Workers], waiting: list[WaitingJobs]
) -> None:
    jobs = {
        kind: sum(group.jobs for group in waiting if group.resource_type == kind)
        for kind in cores_by_type(queue, TYPES)
    }
    for kind, number in new_workers(queue, workers, waiting, TYPES).items():
        assert 0 <= number <= jobs[kind] + 1
        if not jobs[kind]:
            assert number == 0 or kind == SMALLEST


@given(number=st.integers(0, 1000), parts=st.integers(1, 12))
def test_sharing_out_loses_and_adds_nothing(number: int, parts: int) -> None:
    shares = [part["X"] for part in shared_out({"X": number}, [f"H{n}" for n in range(parts)]).values()]
    assert (sum(shares), max(shares) - min(shares) <= 1) == (number, True)
