"""Jobs whose outputs have moved: the report that brings them to the Adder a second time."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from pandacommon.pandalogger.PandaLogger import PandaLogger
from pandacommon.pandautils.PandaUtils import naive_utcnow
from pandaserver.taskbuffer.JobSpec import JobSpec
from pandaserver.taskbuffer.reports import OutputReport

if TYPE_CHECKING:
    from pandaserver.taskbuffer.TaskBuffer import TaskBuffer

_log = PandaLogger().getLogger("Finisher")

#: Jobs that one call looks at.
CHUNK: Final = 200


class Finisher:
    """Looks for jobs in ``transferring`` whose files are all ready, failed or allowed to be missing."""

    def __init__(self, task_buffer: TaskBuffer, clock: Callable[[], datetime] = naive_utcnow) -> None:
        self._task_buffer = task_buffer
        self._clock = clock

    def run(self) -> int:
        """Queue a report for each of them; return how many."""
        total = 0
        while jobs := self._task_buffer.findTransferredJobs(CHUNK):
            stored = self._task_buffer.storeOutputReports([final_report(job, self._clock()) for job in jobs])
            total += len(stored)
            if stored:
                _log.info(f"reported n={len(stored)} first={stored[0]} last={stored[-1]}")
            if len(jobs) < CHUNK or not stored:
                break
        return total


def final_report(job: JobSpec, now: datetime) -> OutputReport:
    """Return what the pilot would say about the files that have arrived; a lost file fails the job."""
    outputs = [spec for spec in job.Files if spec.type in ("output", "log")]
    lost = any(spec.status == "failed" for spec in outputs)
    data: dict[str, dict[str, Any]] = {}
    for spec in outputs:
        if spec.status == "ready":
            kind, _, value = (spec.checksum or "").partition(":")
            data[spec.lfn or ""] = {
                "guid": spec.GUID,
                "fsize": spec.fsize,
                "adler32" if kind == "ad" else "md5sum": value or spec.md5sum,
            }
    return OutputReport(
        job.PandaID or 0,
        job.attemptNr or 0,
        "failed" if lost else "finished",
        json.dumps(data),
        now,
        job.prodSourceLabel,
    )
