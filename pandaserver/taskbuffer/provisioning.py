"""How many workers a queue needs whose workers pull jobs of several shapes. Pure arithmetic on counts.

A queue keeps a reserve of queued workers in proportion to what it runs. It is spent on the waiting jobs in the order in
which dispatch would take them.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pandaserver.taskbuffer.sharing import UNDEFINED, ResourceType

#: Cores that should wait in the batch system: this part of the running ones, but at least so many slots.
QUEUED_PART: Final = 0.4
QUEUED_SLOTS: Final = 75

#: Slots that each round may add, however many are queued.
SLOTS_A_ROUND: Final = 5

#: What keeps a queue alive of which nothing is known: one small pilot, to see whether it works.
SMALLEST: Final = "SCORE"

#: Group of resource types, by a part of their name, whose common limit is given in cores.
HIMEM: Final = "HIMEM"

#: Statuses in which a queue is to be kept at its target, however little it runs.
_KEPT_AT_TARGET: Final = ("online", "brokeroff")


@dataclass(frozen=True, slots=True)
class StreamedQueue:
    """What matters of a queue's description."""

    name: str
    cores: int = 1  # of a slot
    core_target: int = 0  # cores that it counts as running at least
    harvester: str | None = None  # the instance that serves it, if one is named
    limits: dict[str, int] = field(default_factory=dict)  # workers by resource type, cores for HIMEM


@dataclass(frozen=True, slots=True)
class Workers:
    """Workers of one resource type, as an instance reported them last."""

    harvester: str
    resource_type: str
    running: int = 0
    queued: int = 0


@dataclass(frozen=True, slots=True)
class WaitingJobs:
    """Activated jobs of one resource type."""

    resource_type: str
    jobs: int


def streamed_queue(name: str, data: Mapping[str, Any]) -> StreamedQueue | None:
    """Return the queue if its workers pull unified jobs; ValueError names an unreadable field."""
    if data.get("capability") != "ucore" or data.get("workflow") != "pull_ups":
        return None
    target = _number(_object(data, "params"), "ups_core_target")
    limits = _object(_object(data, "uconfig"), "resource_type_limits")
    return StreamedQueue(
        name,
        cores=max(1, _number(data, "corecount")),
        core_target=target if data.get("status") in _KEPT_AT_TARGET else 0,
        harvester=str(data["harvester"]) if data.get("harvester") else None,
        limits={str(kind): _number(limits, kind) for kind in limits},
    )


def _object(data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = data.get(key) or {}
    if not isinstance(found, Mapping):
        raise ValueError(f"{key} is {found!r:.60}, which is no object")
    return found


def _number(data: Mapping[str, Any], key: str) -> int:
    try:
        return int(float(data.get(key) or 0))
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{key} is {data[key]!r:.60}, which is no number") from None


def cores_by_type(queue: StreamedQueue, types: Iterable[ResourceType]) -> dict[str, int]:
    """Return how many cores a worker of each type has at a queue; the catch-all is no type to ask for."""
    return {SMALLEST: 1} | {
        kind.name: max(min(queue.cores, kind.maxcore or queue.cores), kind.mincore or 1)
        for kind in types
        if kind.name != UNDEFINED
    }


def cores_to_submit(queue: StreamedQueue, running: int, queued: int) -> int:
    """Return how many cores a round may add, given those of running and of queued workers."""
    wanted = max(math.ceil(QUEUED_PART * max(running, queue.core_target)), QUEUED_SLOTS * queue.cores)
    return max(wanted - queued, SLOTS_A_ROUND * queue.cores)


class Room:
    """How many more workers the limits of a queue allow."""

    def __init__(self, queue: StreamedQueue, cores: Mapping[str, int], workers: Iterable[Workers]) -> None:
        self._cores = cores
        self._types = {kind: limit for kind, limit in queue.limits.items() if kind != HIMEM}
        self._himem = queue.limits.get(HIMEM)
        for known in workers:
            self.take(known.resource_type, known.running + known.queued)

    def of(self, kind: str) -> float:
        """Return the number of workers of a type; infinity where nothing limits it."""
        rooms = [math.inf]
        if kind in self._types:
            rooms.append(self._types[kind])
        if self._himem is not None and HIMEM in kind:
            rooms.append(self._himem // self._cores.get(kind, 1))
        return max(0, min(rooms))

    def take(self, kind: str, number: int) -> None:
        """Use some of it up."""
        if kind in self._types:
            self._types[kind] -= number
        if self._himem is not None and HIMEM in kind:
            self._himem -= number * self._cores.get(kind, 1)


def new_workers(
    queue: StreamedQueue,
    workers: Iterable[Workers],
    waiting: Iterable[WaitingJobs],
    types: Iterable[ResourceType],
) -> dict[str, int]:
    """Return how many workers to submit by resource type; ``waiting`` is in the order of dispatch.

    A type that lacks workers gets one more than it lacks. A queue with nothing to submit and nothing queued gets one
    small worker.
    """
    cores = cores_by_type(queue, types)
    known = [group for group in workers if group.resource_type in cores]
    room = Room(queue, cores, known)
    spare: defaultdict[str, int] = defaultdict(int)
    for group in known:
        spare[group.resource_type] += group.queued
    is_queued = any(spare.values())
    budget = cores_to_submit(
        queue,
        sum(group.running * cores[group.resource_type] for group in known),
        sum(group.queued * cores[group.resource_type] for group in known),
    )
    lacking: dict[str, int] = dict.fromkeys(spare, 0)
    for jobs in waiting:
        kind = jobs.resource_type
        if budget <= 0:
            break
        if kind not in cores:
            continue
        served = min(jobs.jobs, spare[kind])
        spare[kind] -= served
        wanted = int(min(jobs.jobs - served, math.ceil(budget / cores[kind]), room.of(kind)))
        lacking[kind] = lacking.get(kind, 0) + wanted
        budget -= wanted * cores[kind]
        room.take(kind, wanted)
    for kind, number in lacking.items():
        if number and room.of(kind) >= 1:
            lacking[kind] = number + 1
            room.take(kind, 1)
    if not is_queued and not any(lacking.values()) and room.of(SMALLEST) >= 1:
        lacking[SMALLEST] = 1
    return lacking


def serving_instances(queue: StreamedQueue, workers: Iterable[Workers]) -> list[str]:
    """Return the instances to be told: the one that the queue names if it reports, else all that report."""
    reporting = sorted({group.harvester for group in workers})
    return [queue.harvester] if queue.harvester in reporting else reporting


def shared_out(numbers: Mapping[str, int], instances: list[str]) -> dict[str, dict[str, int]]:
    """Return the part of each instance, as equal as whole workers can be."""
    parts = len(instances)
    return {
        instance: {kind: number // parts + (place < number % parts) for kind, number in sorted(numbers.items())}
        for place, instance in enumerate(instances)
    }
