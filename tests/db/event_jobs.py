"""Event-service jobs for tests: submitting them, and playing pilot, Adder and Watcher."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from pandaserver.brokerage.SiteMapper import SiteMapper
from pandaserver.dataservice.Adder import Adder
from pandaserver.dataservice.AdderPluginBase import AdderPluginBase
from pandaserver.taskbuffer.events import RangeOrder, RangeReport, RangesTaken
from pandaserver.taskbuffer.JobSpec import JobSpec
from pandaserver.taskbuffer.requests import JobRequest, Selection, StatusReport, UpdateOutcome
from pandaserver.taskbuffer.SiteSpec import SiteRows, SiteSpec
from pandaserver.taskbuffer.submission import Submission, Submitter
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from tests.db.completion import job_of, read
from tests.factories import make_job

JANE = Submitter(dn="/CN=Jane Doe", name="Jane Doe")
TASK_LAYER = Submitter(dn="/CN=Task Layer", name="Task Layer", is_production=True)

FILE = "data.0000.root"
LOG = {"guid": "g-log", "fsize": 10, "adler32": "01020304", "surl": "srm://log"}


class Plain(AdderPluginBase):
    """Leaves outputs where they are."""

    def execute(self) -> None:
        """Do nothing."""


def consumer(split: str = f"es:a:{FILE}/1/40/10", **attributes: Any) -> JobSpec:
    """Return a job whose input has four ranges of ten events."""
    given: dict[str, Any] = {"eventService": 1, "specialHandling": split, "maxAttempt": 3} | attributes
    return make_job(**given)


def submit(tbuf: TaskBuffer, *jobs: JobSpec, by: Submitter = JANE) -> list[int]:
    stored = tbuf.storeJobs(Submission(jobs, by, nothing_to_prepare={"any": True}))
    return [job.PandaID for job in stored.jobs]


def dispatch(tbuf: TaskBuffer, n: int = 1) -> list[int]:
    """Give jobs to a pilot and return which."""
    got = tbuf.getJobs(JobRequest("TEST_PQ", n_jobs=n, selection=Selection.unified))
    return [job.PandaID or 0 for job in got.jobs]


def say(tbuf: TaskBuffer, job_id: int, status: str, **more: Any) -> UpdateOutcome:
    return tbuf.updateJobStatus(StatusReport(job_id, status, job_of(tbuf, job_id).attemptNr, **more))


def begin(tbuf: TaskBuffer, n: int = 1) -> list[int]:
    """Give jobs to a pilot that begins them at once."""
    ids = dispatch(tbuf, n)
    for job_id in ids:
        say(tbuf, job_id, "running")
    return ids


def acquire(tbuf: TaskBuffer, job_id: int, n: int = 10, **order: Any) -> list[str]:
    return [found.range_id for found in tbuf.getEventRanges(RangeOrder(job_id, n, **order))]


def update(
    tbuf: TaskBuffer, ids: Sequence[str], status: str = "finished", version: int = 1, **more: Any
) -> RangesTaken:
    return tbuf.updateEventRanges([RangeReport(range_id, status, **more) for range_id in ids], version)


def end(tbuf: TaskBuffer, job_id: int, status: str = "finished", **more: Any) -> str | None:
    """Let the pilot of a job end and the Adder judge it; return what the job is then."""
    say(tbuf, job_id, status, output_report=_report(job_of(tbuf, job_id), status), **more)
    settle(tbuf)
    return job_of(tbuf, job_id).jobStatus


def settle(tbuf: TaskBuffer) -> None:
    Adder(tbuf, SiteMapper(SiteRows, SiteSpec("default")), lambda _: Plain, "adder").run(grace=0.0)


def _report(job: JobSpec, status: str) -> str:
    kinds = ("output", "log") if job.eventService not in (1, 4, 6) and status == "finished" else ("log",)
    return json.dumps({spec.lfn: LOG for spec in job.Files if spec.type in kinds})


def ranges(tbuf: TaskBuffer) -> list[tuple[Any, ...]]:
    """Return (PandaID, status, attempts left) of all ranges, in the order of their events."""
    return read(tbuf, "SELECT PandaID, status, attemptNr FROM ATLAS_PANDA.JEDI_Events ORDER BY fileID, job_processID")


def counts(tbuf: TaskBuffer) -> Counter[int]:
    return Counter(row[1] for row in ranges(tbuf))


def family(tbuf: TaskBuffer) -> dict[int, tuple[int, str | None, str | None, int | None]]:
    """Return kind, status, sub status and error code of every member of every set."""
    ids = [row[0] for row in read(tbuf, "SELECT PandaID FROM ATLAS_PANDA.panda_event_jobs ORDER BY PandaID")]
    return {
        pid: (job.eventService or 0, job.jobStatus, job.jobSubStatus, job.taskBufferErrorCode)
        for pid, job in ((pid, job_of(tbuf, pid)) for pid in ids)
    }
