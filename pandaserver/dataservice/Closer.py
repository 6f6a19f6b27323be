"""When the last file of an output dataset is settled: which status the dataset gets, and who waits for it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from pandaserver.taskbuffer.FileSpec import FileSpec
from pandaserver.taskbuffer.JobSpec import JobSpec
from pandaserver.taskbuffer.labels import ANALYSIS_LABELS
from pandaserver.taskbuffer.reports import BlockOfJob

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from pandaserver.taskbuffer.TaskBuffer import TaskBuffer

#: Datasets that are not the server's to close: task containers and health-check datasets.
_FOREIGN: Final = re.compile(r".*_tid[\d_]+/?|.*hc_test\..*", re.DOTALL)
_SUB: Final = re.compile(r".*_sub\d+", re.DOTALL)
_BUILD: Final = "panda"
_MERGE_TYPES: Final = frozenset({"pmerge", "usermerge", "merge", "unmerge"})


def blocks_of(job: JobSpec) -> tuple[BlockOfJob, ...]:
    """Return the output datasets of a job, each with the status that it gets when its last file is settled."""
    names = {spec.destinationDBlock for spec in job.Files if spec.type in ("output", "log") and spec.destinationDBlock}
    return tuple(BlockOfJob(name, _final_status(job, name)) for name in sorted(names) if not _FOREIGN.fullmatch(name))


def after_end(task_buffer: TaskBuffer, jobs: Collection[JobSpec]) -> None:
    """Do what the end of jobs means to others: close datasets that were open for them only, cancel who waits in vain.

    For jobs that ended without success, by whatever hand.
    """
    _close_blocks(task_buffer, jobs)
    cancel_waiting(task_buffer, [library for job in jobs for library in what_waits_for(job)[1]])


def what_waits_for(job: JobSpec) -> tuple[tuple[str, ...], tuple[FileSpec, ...]]:
    """Return the datasets whose completion by this job lets other jobs begin, and the libraries that it builds."""
    outputs = [spec for spec in job.Files if spec.type == "output" and spec.destinationDBlock]
    if (job.processingType or "") in _MERGE_TYPES:
        return (), ()
    names = {spec.destinationDBlock or "" for spec in outputs}
    libraries = tuple(outputs) if job.prodSourceLabel == _BUILD else ()
    return tuple(sorted(name for name in names if not _SUB.fullmatch(name))), libraries


def cancel_waiting(task_buffer: TaskBuffer, libraries: Iterable[FileSpec]) -> int:
    """Cancel the jobs that wait for libraries which nobody will build; return how many."""
    cancelled = 0
    for name in sorted({library.destinationDBlock or "" for library in libraries}):
        while jobs := task_buffer.cancelDownstreamJobs(name):
            _close_blocks(task_buffer, jobs)
            cancelled += len(jobs)
    return cancelled


def _close_blocks(task_buffer: TaskBuffer, jobs: Iterable[JobSpec]) -> None:
    blocks = {block.name: block for job in jobs for block in blocks_of(job)}
    if blocks:
        task_buffer.closeDatasets([blocks[name] for name in sorted(blocks)])


def _final_status(job: JobSpec, name: str) -> str:
    if job.destinationSE == "local" and job.prodSourceLabel in ANALYSIS_LABELS:
        return "closed"
    if job.jediTaskID is not None and not _SUB.fullmatch(name):
        return "closed"
    if any(spec.destinationDBlockToken == "TOMERGE" for spec in job.Files if spec.type in ("output", "log")):
        return "doing"
    return "tobeclosed"
