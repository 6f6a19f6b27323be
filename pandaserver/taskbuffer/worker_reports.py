"""What harvester instances report: workers, themselves, complaints and measurements, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from pandaserver.taskbuffer.compact import compact

#: States from which no worker comes back.
ENDED: Final = frozenset({"finished", "failed", "cancelled", "missed"})

#: Hours after its last update for which a worker that has ended stays as it ended, whatever is reported.
STICKY_HOURS: Final = 3

#: Sync level at which a pilot reports about its jobs itself, so that a job without its worker has nobody any more.
PILOT_REPORTS: Final = 1

#: Columns of a worker that its harvester sets, by type.
TEXT_COLUMNS: Final = (
    "batchID",
    "queueName",
    "status",
    "computingSite",
    "nodeID",
    "stdOut",
    "stdErr",
    "batchLog",
    "jdl",
    "resourceType",
    "nativeStatus",
    "diagMessage",
    "computingElement",
    "submissionHost",
    "harvesterHost",
    "jobType",
)
NUMBER_COLUMNS: Final = ("nCore", "errorCode", "nativeExitCode", "nJobs", "minRamCount")
TIME_COLUMNS: Final = ("submitTime", "startTime", "endTime")
WORKER_COLUMNS: Final = (*TEXT_COLUMNS, *NUMBER_COLUMNS, *TIME_COLUMNS)


@compact
@dataclass(frozen=True, slots=True)
class WorkerUpdate:
    """What an instance says about one worker. Columns that it does not name keep their value."""

    worker_id: int
    columns: Mapping[str, Any] = field(default_factory=dict)
    job_ids: tuple[int, ...] = ()  # empty: the harvester does not know, or not any more
    sync_level: int = 0

    @property
    def status(self) -> str | None:
        """What the instance says that the worker does."""
        status: str | None = self.columns.get("status")
        return status

    @property
    def has_ended(self) -> bool:
        """Tell whether the worker has ended by this report."""
        return self.status in ENDED

    @property
    def error_code(self) -> int:
        """The error of the worker, 0 without one."""
        return self.columns.get("errorCode") or 0


@dataclass(frozen=True, slots=True)
class InstanceBeat:
    """One heartbeat of an instance. A field that is None keeps its value."""

    harvester_id: str
    owner: str
    host: str | None = None
    start_time: datetime | None = None
    sw_version: str | None = None
    commit_stamp: str | None = None
    commands: tuple[tuple[str, str, str], ...] = ()  # (queue, resource type, command) that it announces
    may_take_over: bool = True  # whether the sender becomes the owner of an instance that has one


@dataclass(frozen=True, slots=True)
class HarvesterCommand:
    """A command as an instance fetches it."""

    command_id: int
    command: str
    params: Any
    ack_requested: int
    creation_date: datetime


@dataclass(frozen=True, slots=True)
class Sweep:
    """Which workers of a queue shall be killed; ``None`` means all."""

    queue: str
    statuses: tuple[str, ...] | None
    elements: tuple[str, ...] | None
    hosts: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class TargetSlots:
    """How many slots a queue shall have for a share and a resource type; -1 takes the wish back."""

    queue: str
    slots: int
    share: str | None = None
    resource_type: str | None = None
    days: float | None = None  # None: until it is changed
