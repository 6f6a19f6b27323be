"""The order of dispatch in its own words, a list of jobs and a tree of weights, and the same jobs in a database.

The reference knows nothing of searches, indexes or locks. It sorts all jobs that wait at a queue and fit by the rank of
their share, then by priority, then by age, and takes the first ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from random import Random
from typing import Any

from hypothesis import strategies as st

from pandaserver.taskbuffer.connection_settings import ConnectionSettings, OperationSettings
from pandaserver.taskbuffer.FileSpec import FILE_ATTRIBUTES
from pandaserver.taskbuffer.JobSpec import JOB_COLUMNS
from pandaserver.taskbuffer.local_bridge import LocalBridge
from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.requests import JobRequest, Selection
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from pandaserver.taskbuffer.transaction import Transaction
from tests.factories import make_job

QUEUES = ("ALPHA", "BETA")
SHARES = ("Test", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "s12", "s13")
KINDS = ("SCORE", "MCORE")
FIRST_ID = 1000

#: Labels that a request takes.
LABELS: Mapping[str, frozenset[str]] = {
    "user": frozenset({"user", "panda", "install"}),
    "managed": frozenset({"managed", "test", "prod_test", "install"}),
    "unified": frozenset({"managed", "test", "prod_test", "install", "user", "panda"}),
}


@dataclass(frozen=True)
class Weight:
    """A row of the tree; ``place`` orders siblings."""

    name: str
    value: int
    parent: str | None
    place: int


@dataclass(frozen=True)
class Waiting:
    """A job that waits."""

    number: int  # rising with the PandaID
    queue: str
    share: str
    label: str
    priority: int
    memory: int
    disk: int
    kind: str
    cores: int


@dataclass(frozen=True)
class Asking:
    """A pilot's request."""

    queue: str
    count: int
    selection: str
    memory: int
    disk: int
    kind: str | None

    def takes(self, job: Waiting) -> bool:
        """Tell whether the pilot may get the job."""
        return (
            job.queue == self.queue
            and job.label in LABELS[self.selection]
            and (self.memory == 0 or job.memory <= self.memory)
            and (self.disk == 0 or job.disk <= self.disk)
            and (self.kind is None or job.kind == self.kind)
        )


class Reference:
    """What the jobs of one run are given to, in order."""

    def __init__(self, tree: Sequence[Weight], executing: Mapping[str, int], jobs: Sequence[Waiting]) -> None:
        self.tree = tree
        self.executing = dict(executing)
        self.waiting = list(jobs)
        # Statistics are taken once, so a leaf without jobs left keeps its rank, which then means nothing.
        self.counted = {queue: {j.share for j in jobs if j.queue == queue} for queue in {j.queue for j in jobs}}

    def give(self, asking: Asking) -> list[int]:
        """Return the numbers of the jobs that a request gets, in the order in which it gets them."""
        fitting = [job for job in self.waiting if asking.takes(job)]
        ranks = self.ranks() if len(self.counted.get(asking.queue, ())) > 1 else {}
        last = len(self.tree) + 1
        fitting.sort(key=lambda job: (ranks.get(job.share, last), -job.priority, job.number))
        given = fitting[: asking.count]
        for job in given:
            self.waiting.remove(job)
            self.executing[job.share] = self.executing.get(job.share, 0) + job.cores
        return [job.number for job in given]

    def ranks(self) -> dict[str, int]:
        """Return the rank of each leaf: 0 is served first."""
        return {
            name: rank for rank, name in enumerate(sorted(self._below(None, Fraction(1)), key=lambda n: n != "Test"))
        }

    def _below(self, parent: str | None, part: Fraction) -> list[str]:
        children = sorted((w for w in self.tree if w.parent == parent), key=lambda w: (w.place, w.name))
        total = sum(w.value for w in children)
        parts = {w.name: part * w.value / total if total else Fraction(0) for w in children}
        children.sort(key=lambda w: self._saturation(w.name, parts[w.name]))
        return [name for w in children for name in self._below(w.name, parts[w.name]) or [w.name]]

    def _saturation(self, name: str, part: Fraction) -> tuple[bool, Fraction]:
        everything = sum(used for leaf, used in self.executing.items() if self._is_leaf(leaf))
        if part == 0:
            return True, Fraction(0)
        return False, self._used(name) / (everything * part) if everything else Fraction(0)

    def _used(self, name: str) -> int:
        below = [w.name for w in self.tree if w.parent == name]
        return sum(map(self._used, below)) if below else self.executing.get(name, 0)

    def _is_leaf(self, name: str) -> bool:
        return any(w.name == name for w in self.tree) and not any(w.parent == name for w in self.tree)


# -- random input ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class World:
    """One run: who has what part, what runs, what waits, and who asks."""

    tree: tuple[Weight, ...]
    executing: dict[str, int]
    jobs: tuple[Waiting, ...]
    requests: tuple[Asking, ...]


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Draw a tree of any depth with weights of 0 among them, jobs also of shares that nobody knows, and requests.

    Sizes are drawn and so shrink; what fills them comes from a seed, because lists drawn by item stay so small that
    shares hardly ever decide anything.
    """
    n_shares, n_jobs, n_requests = (draw(st.integers(*span)) for span in ((0, len(SHARES)), (0, 40), (1, 12)))
    chance = Random(draw(st.integers(0, 2**32)))
    one = chance.choice
    tree: list[Weight] = []
    for place, name in enumerate(SHARES[:n_shares]):
        parent = one((None, None, *(w.name for w in tree if w.name != "Test")))
        tree.append(Weight(name, one((0, 1, 1, 2, 5, 50)), parent, chance.randint(0, place)))
    shares = (*SHARES[:n_shares], "unheard")
    jobs = [
        Waiting(
            n,
            one((*QUEUES, QUEUES[0])),
            one(shares),
            one(("user", "user", "panda", "install", "managed", "managed", "test", "prod_test", "ptest")),
            one((0, 900, 1000, 1000, 4100)),
            one((0, 1000, 2000, 4000)),
            one((0, 500)),
            one(KINDS),
            one((1, 1, 8)),
        )
        for n in range(n_jobs)
    ]
    requests = [
        Asking(
            one((*QUEUES, QUEUES[0])),
            one((1, 1, 1, 2, 5, 30)),
            one(tuple(LABELS)),
            one((0, 0, 1999, 2000)),
            one((0, 0, 499)),
            one((None, None, *KINDS)),
        )
        for _ in range(n_requests)
    ]
    executing = {share: chance.randint(1, 12) for share in shares if chance.random() < 0.5}
    return World(tuple(tree), executing, tuple(jobs), tuple(requests))


# -- the same in a database --------------------------------------------------------------------------------------------


@operation(timeout=60)
def put_world_for_test(tx: Transaction, world: World) -> None:
    """Store what waits, what runs and the tree, and take the statistics."""
    tx.change("DELETE FROM ATLAS_PANDA.Global_Shares")  # the one that an empty database has
    columns: dict[str, Any] = {n: v for n in JOB_COLUMNS if (v := getattr(make_job(), n)) is not None}
    columns |= dict.fromkeys(("creationTime", "modificationTime", "stateChangeTime", "prodDBUpdateTime"), tx.now())
    number = iter(range(1, FIRST_ID))
    running = [
        {**columns, "PandaID": next(number), "jobStatus": "running", "gshare": share, "coreCount": cores, "hs06": 0}
        for share, cores in world.executing.items()
    ]
    waiting = [
        {
            **columns,
            "PandaID": FIRST_ID + job.number,
            "jobStatus": "activated",
            "computingSite": job.queue,
            "gshare": job.share,
            "prodSourceLabel": job.label,
            "currentPriority": job.priority,
            "minRamCount": job.memory,
            "maxDiskCount": job.disk,
            "resource_type": job.kind,
            "coreCount": job.cores,
            "hs06": 0,
        }
        for job in world.jobs
    ]
    tx.insert("ATLAS_PANDA.jobsActive4", [_complete(row, running + waiting) for row in running + waiting])
    [file, *_] = make_job().Files
    attributes = {name: getattr(file, name) for name in FILE_ATTRIBUTES} | {"fsize": 0, "status": "ready"}
    rows = [{**attributes, "row_ID": row["PandaID"], "PandaID": row["PandaID"]} for row in waiting]
    tx.insert("ATLAS_PANDA.filesTable4", rows)
    shares = [{"name": w.name, "value": w.value, "parent": w.parent, "queue_ID": w.place} for w in world.tree]
    tx.insert("ATLAS_PANDA.Global_Shares", shares)


def _complete(row: dict[str, Any], rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {name: row.get(name) for name in dict.fromkeys(name for one in rows for name in one)}


def dispatched(connection: ConnectionSettings, world: World) -> list[list[int]]:
    """Return the numbers of the jobs that the server gives to each request, on an empty database."""
    bridge = LocalBridge(connection, OperationSettings())
    try:
        task_buffer = TaskBuffer(bridge)
        bridge.call(put_world_for_test, (world,), {})
        task_buffer.refreshShareStatistics()
        return [
            [
                (job.PandaID or 0) - FIRST_ID
                for job in task_buffer.getJobs(
                    JobRequest(
                        asking.queue,
                        asking.count,
                        Selection(asking.selection),
                        memory=asking.memory,
                        disk_space=asking.disk,
                        resource_type=asking.kind,
                    )
                ).jobs
            ]
            for asking in world.requests
        ]
    finally:
        bridge.close()


def expected(world: World) -> list[list[int]]:
    """Return what the reference gives to each request."""
    reference = Reference(world.tree, world.executing, world.jobs)
    return [reference.give(asking) for asking in world.requests]
