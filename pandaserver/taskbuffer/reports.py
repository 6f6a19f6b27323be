"""What travels between the Adder and the database: reports taken, verdicts returned."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pandaserver.taskbuffer.FileSpec import FileSpec
from pandaserver.taskbuffer.JobSpec import JobSpec
from pandaserver.taskbuffer.states import JobStatus


@dataclass(frozen=True, slots=True)
class OutputReport:
    """One row of Job_Output_Report: what the pilot said at the end, waiting for the Adder."""

    PandaID: int
    attemptNr: int
    jobStatus: str  # finished, failed or esregister
    data: str
    timeStamp: datetime
    prodSourceLabel: str | None = None


@dataclass(frozen=True, slots=True)
class TakenReport:
    """A report that this owner holds, with its job; ``job`` is None when it is in no live table."""

    report: OutputReport
    job: JobSpec | None


@dataclass(frozen=True, slots=True)
class ReportOrder:
    """Which reports an Adder process wants to take. Times are seconds."""

    owner: str
    limit: int
    user_jobs: bool | None = None  # None: whatever has waited longest
    grace: float = 1.0  # younger reports are left alone
    lease: float = 600.0  # a lock older than this belongs to nobody


@dataclass(frozen=True, slots=True)
class FileResult:
    """What becomes of one file row."""

    row_ID: int
    status: str
    lfn: str | None
    GUID: str | None
    fsize: int
    md5sum: str | None
    checksum: str | None


@dataclass(frozen=True, slots=True)
class JobMeasures:
    """What a report says about the size of a job's output, and what the job has consumed."""

    nOutputDataFiles: int
    outputFileBytes: int
    nEvents: int
    hs06: int | None
    hs06sec: int | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the Adder decided about one job; ``target`` None leaves the job as it is and drops the report."""

    PandaID: int
    attemptNr: int
    target: JobStatus | None
    by: str = "Adder"
    event_service: int | None = None  # kind of a job whose end is decided with that of others
    changes: dict[str, Any] = field(default_factory=dict)
    measures: JobMeasures | None = None
    files: tuple[FileResult, ...] = ()
    new_files: tuple[FileSpec, ...] = ()  # outputs whose number the payload decided
    blocks: tuple[BlockOfJob, ...] = ()
    awaited: tuple[str, ...] = ()  # datasets whose completion by this job lets other jobs begin
    libraries: tuple[FileSpec, ...] = ()  # what a build job made; complete when the job is


@dataclass(frozen=True, slots=True)
class BlockOfJob:
    """An output dataset that may be complete now, and the status that it gets when it is."""

    name: str
    final_status: str


@dataclass(frozen=True, slots=True)
class Settled:
    """What a batch of verdicts did: jobs that moved, datasets that are complete now, jobs that began to be ready.

    ``kept`` are live jobs that the verdict does not fit: their reports stay and are judged again after the lease.
    """

    moved: tuple[int, ...] = ()
    completed: tuple[str, ...] = ()
    activated: tuple[int, ...] = ()
    kept: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class AwaitedLibrary:
    """A library that jobs wait for although its build job has ended: it is there, or never will be."""

    name: str
    is_there: bool
