"""When the last file of an output dataset is settled: which status the dataset gets, and who waits for it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from pandaserver.dataservice.Activator import Activator
from pandaserver.taskbuffer.JobSpec import JobSpec
from pandaserver.taskbuffer.labels import ANALYSIS_LABELS
from pandaserver.taskbuffer.reports import BlockOfJob

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from pandaserver.taskbuffer.TaskBuffer import TaskBuffer

#: Datasets that are not the server's to close: task containers and health-check datasets.
_FOREIGN: Final = re.compile(r".*_tid[\d_]+/?|.*hc_test\..*", re.DOTALL)
_SUB: Final = re.compile(r".*_sub\d+", re.DOTALL)
_MERGE_TYPES: Final = frozenset({"pmerge", "usermerge", "merge", "unmerge"})


def blocks_of(job: JobSpec) -> tuple[BlockOfJob, ...]:
    """Return the output datasets of a job, each with the status that it gets when its last file is settled."""
    names = {spec.destinationDBlock for spec in job.Files if spec.type in ("output", "log") and spec.destinationDBlock}
    return tuple(BlockOfJob(name, _final_status(job, name)) for name in sorted(names) if not _FOREIGN.fullmatch(name))


def close_blocks_of(task_buffer: TaskBuffer, jobs: Iterable[JobSpec]) -> None:
    """Close the output datasets of jobs that have just ended, if nothing else of them is open."""
    blocks = {block.name: block for job in jobs for block in blocks_of(job)}
    if blocks:
        task_buffer.closeDatasets([blocks[name] for name in sorted(blocks)])


def start_activation(task_buffer: TaskBuffer, job: JobSpec, completed: Collection[str]) -> None:
    """Activate the jobs that waited for a library or dataset which ``job`` has just completed.

    A library that no Setupper plug-in registered is complete when its build job is.
    """
    if (job.processingType or "") in _MERGE_TYPES:
        return
    names = {spec.destinationDBlock for spec in job.Files if spec.type == "output" and spec.destinationDBlock}
    for name in sorted(names):
        if not _SUB.fullmatch(name) and (name in completed or job.prodSourceLabel == "panda"):
            Activator(task_buffer).run(name)


def _final_status(job: JobSpec, name: str) -> str:
    if job.destinationSE == "local" and job.prodSourceLabel in ANALYSIS_LABELS:
        return "closed"
    if job.jediTaskID is not None and not _SUB.fullmatch(name):
        return "closed"
    if any(spec.destinationDBlockToken == "TOMERGE" for spec in job.Files if spec.type in ("output", "log")):
        return "doing"
    return "tobeclosed"
