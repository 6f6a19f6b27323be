"""What pilots ask of the database floor, and what it answers: plain values that cross the bridge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from pandaserver.taskbuffer.compact import compact
from pandaserver.taskbuffer.JobSpec import JobSpec

#: Most jobs that one request gets, and most identifiers that one request names in a statement.
MAX_JOBS: Final = 1000


class Selection(StrEnum):
    """Which jobs a pilot takes, by their prodSourceLabel and processingType; see ``dispatch_sql.OF_SELECTION``."""

    user = "user"
    managed = "managed"
    unified = "unified"
    test = "test"
    gangarobot = "gangarobot"
    exact = "exact"  # exactly the label of the request


@compact
@dataclass(frozen=True, slots=True)
class JobRequest:
    """One getJob call. A filter that is None (or 0, for sizes) is not applied."""

    site: str
    n_jobs: int = 1
    selection: Selection = Selection.managed
    label: str | None = None  # for Selection.exact
    memory: int = 0  # MB that the slot offers
    disk_space: int = 0  # MB
    remaining_time: int = 0  # seconds
    mean_memory: int = 0  # MB per core that the queue wants to stay below on average
    task_id: int | None = None
    resource_type: str | None = None
    user_name: str | None = None  # clean name of the owner
    background: bool = False  # only jobs that may run in the background
    node: str | None = None
    computing_element: str | None = None
    scheduler_id: str | None = None
    harvester_id: str | None = None
    worker_id: int | None = None
    counts_sent: bool = False  # wants to know how many jobs left for this queue in the last minute


@compact
@dataclass(frozen=True, slots=True)
class Acquired:
    """Jobs that are now ``sent``, highest priority first, and what belongs to them."""

    jobs: tuple[JobSpec, ...] = ()
    n_sent: int = 0
    secrets: Mapping[str, str] = field(default_factory=dict)  # JSON text by clean name of the owner
    pilot_secrets: str | None = None  # JSON text, for jobs in debug mode


#: The answer to a pilot for which nothing waits.
NOTHING: Final = Acquired()


@compact
@dataclass(frozen=True, slots=True)
class StatusReport:
    """One heartbeat. ``status`` is what the pilot said, so ``finished`` where the job becomes ``holding``."""

    PandaID: int
    status: str
    attempt_nr: int | None = None
    columns: Mapping[str, Any] = field(default_factory=dict)  # cleaned values of columns that a pilot may set
    output_report: str = ""
    meta_data: str = ""
    stdout: str = ""
    asks_retry: bool = False  # the sign of pilotErrorCode, which is not stored
    corrupted_files: tuple[str, ...] = ()
    queue: str | None = None  # only a job of that queue: the sender may speak for its pilots and no others

    @property
    def is_final(self) -> bool:
        """Tell whether the payload has ended: an output report comes with it."""
        return self.status in ("finished", "failed")


class Reception(StrEnum):
    """What became of a heartbeat."""

    applied = "applied"
    ignored = "ignored"  # the job's state does not take it; the pilot need not know
    already_done = "alreadydone"
    rejected = "rejected"  # unknown job, other attempt, or a second pilot: the sender must stop
    unknown_job = "unknown_job"  # brings metadata of a job that is in no table


@compact
@dataclass(frozen=True, slots=True)
class UpdateOutcome:
    """What became of one heartbeat and what the pilot is told in return."""

    PandaID: int
    reception: Reception
    command: str | None = None
    pilot_secrets: str | None = None


@dataclass(frozen=True, slots=True)
class JobState:
    """Where a job is, for callers that ask for nothing else. ``status`` None: nobody knows the job."""

    PandaID: int
    status: str | None = None
    attempt_nr: int = 0
    command: str | None = None


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """What a pilot says about its own beginning (``started``) and end (``finished``)."""

    harvester_id: str
    worker_id: int
    status: str
    node_id: str | None = None
    queue: str | None = None  # only a worker of that queue: the sender may speak for its pilots and no others
