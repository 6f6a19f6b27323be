"""Event ranges of new jobs: reading what the submission says about them, and storing them with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pandaserver.srvcore.errors import BadRequest
from pandaserver.taskbuffer.event_rules import E, FileSplit, splits_of
from pandaserver.taskbuffer.FileSpec import FileSpec
from pandaserver.taskbuffer.job_flags import CO_JUMBO, EVENT_SERVICE, FINE_GRAINED, JOB_CLONING, words_of
from pandaserver.taskbuffer.JobSpec import JobSpec
from pandaserver.taskbuffer.transaction import Transaction

#: Kinds of jobs that bring ranges, and all kinds that a submission may name without being the task layer's.
_OWNERS: Final = frozenset({EVENT_SERVICE, JOB_CLONING, CO_JUMBO, FINE_GRAINED})
_FOR_ALL: Final = frozenset({EVENT_SERVICE, JOB_CLONING, FINE_GRAINED})

#: Flags of analysis jobs that survive because the system itself set them here.
_CLONING: Final = ("sc",)

#: Ranges that another set of the same task has on a file, when this submission takes the file over.
CANCEL_OLD: Final = """
    UPDATE ATLAS_PANDA.JEDI_Events SET status = 4
    WHERE jediTaskID = :jediTaskID AND fileID IN (:files[]) AND status IN (0, 1, 2, 7, 8, 10, 98, 99)
"""
DISCARD_OLD: Final = """
    UPDATE ATLAS_PANDA.JEDI_Events SET status = 5
    WHERE jediTaskID = :jediTaskID AND fileID IN (:files[]) AND status IN (3, 6, 9)
"""


@dataclass(slots=True)
class EventSet:
    """Jobs that share ranges; the first of them brought the ranges."""

    jobs: list[JobSpec] = field(default_factory=list)
    splits: tuple[FileSplit, ...] = ()
    words: list[list[str]] = field(default_factory=list)  # flags to be kept, job by job
    jobset: int = 0


def read_sets(jobs: Sequence[JobSpec], is_production: bool) -> list[EventSet]:
    """Take the word ``es:`` out of the jobs' flags and return the sets of ranges that it describes.

    BadRequest names the job whose description cannot be understood, or that only the task layer may submit.
    """
    sets: dict[tuple[str, int], EventSet] = {}
    for number, job in enumerate(jobs):
        if not job.eventService:
            continue
        if job.eventService not in _FOR_ALL and not is_production:
            raise BadRequest(f"job {number}: eventService {job.eventService} needs a production role")
        if job.eventService not in _OWNERS:
            continue
        try:
            group, splits = _read(job)
        except BadRequest as problem:
            raise BadRequest(f"job {number}: {problem.message}") from problem
        key = (f"g{group}" if group else f"n{number}", job.eventService)
        found = sets.setdefault(key, EventSet())
        if not found.splits:
            found.splits = splits
        found.jobs.append(job)
        found.words.append(sorted(w for w in words_of(job.specialHandling) if w in _CLONING or w.startswith("sc:")))
    for found in sets.values():
        _check(found)
    return list(sets.values())


def _read(job: JobSpec) -> tuple[str, tuple[FileSplit, ...]]:
    read = splits_of(job.specialHandling)
    if read is not None:
        group, splits, job.specialHandling = read
        return group, splits
    if job.eventService != JOB_CLONING:
        raise BadRequest(
            f"eventService is {job.eventService}, so specialHandling must say es:<group>:"
            "<lfn>/<first event>/<last event>/<events per range>"
        )
    return "", ()


def _check(found: EventSet) -> None:
    first = found.jobs[0]
    inputs = {spec.lfn for spec in first.Files if spec.type in ("input", "pseudo_input")}
    missing = [split.lfn for split in found.splits if split.lfn not in inputs]
    if missing:
        raise BadRequest(f"specialHandling splits {missing[0]!r}, which is no input of the job")
    if len({split.lfn for split in found.splits}) < len(found.splits):
        raise BadRequest("specialHandling splits one input twice")
    if not found.splits and first.eventService != JOB_CLONING:
        raise BadRequest("specialHandling says es: without any range; the first job of a group brings them")


def number_sets(tx: Transaction, sets: Sequence[EventSet]) -> None:
    """Give each set its number, from the sequence of PandaIDs, so that it never is the number of a job."""
    if not sets:
        return
    for found, jobset in zip(sets, tx.next_ids("ATLAS_PANDA.JOBSDEFINED4_PANDAID_SEQ", len(sets)), strict=True):
        found.jobset = jobset
        for job, words in zip(found.jobs, found.words, strict=True):
            job.jobsetID = jobset
            kept = [w for w in (job.specialHandling or "").split(",") if w and w != "eventservice" and w not in words]
            job.specialHandling = ",".join([*(["eventservice"] if found.splits else []), *words, *kept]) or None


def store_sets(tx: Transaction, sets: Sequence[EventSet], is_production: bool) -> None:
    """Store ranges and members of sets whose jobs and files have their numbers by now."""
    for found in sets:
        first = found.jobs[0]
        trusted = is_production and first.lockedby == "jedi" and first.jediTaskID is not None
        task = (first.jediTaskID or 0) if trusted else 0
        files = _number_files(found, trusted)
        if trusted and files:
            ids = sorted({spec.fileID for spec in files.values() if spec.fileID is not None})
            for statement in (CANCEL_OLD, DISCARD_OLD):
                tx.change(statement, jediTaskID=task, files=ids)
        rows = list(_rows(found, files, task))
        for row, range_id in zip(rows, tx.next_ids("ATLAS_PANDA.PANDA_EVENT_RANGE_ID_SEQ", len(rows)), strict=True):
            row["rangeID"] = range_id
        tx.insert("ATLAS_PANDA.JEDI_Events", rows)
        add_members(tx, found.jobset, task, found.jobs)


def add_members(tx: Transaction, jobset: int, task: int, jobs: Sequence[JobSpec]) -> None:
    """Say that jobs belong to a set."""
    tx.insert(
        "ATLAS_PANDA.panda_event_jobs",
        [
            {"jobsetID": jobset, "PandaID": job.PandaID, "eventService": job.eventService, "jediTaskID": task}
            for job in jobs
        ],
    )


def _number_files(found: EventSet, trusted: bool) -> dict[str, FileSpec]:
    """Give the split inputs the same fileID in all jobs of the set and return those of the first job by name."""
    split = {s.lfn for s in found.splits}
    mine = {
        spec.lfn or "": spec for spec in found.jobs[0].Files if _is_input(spec) and (spec.lfn in split or not split)
    }
    for spec in mine.values():
        if not trusted or spec.fileID is None:
            spec.fileID = spec.row_ID
    for job in found.jobs[1:]:
        for spec in job.Files:
            if _is_input(spec) and spec.lfn in mine:
                spec.fileID = mine[spec.lfn or ""].fileID
    return mine


def _is_input(spec: FileSpec) -> bool:
    return spec.type in ("input", "pseudo_input")


def _rows(found: EventSet, files: dict[str, FileSpec], task: int) -> Iterator[dict[str, Any]]:
    for split in found.splits:
        for first, last in split.ranges():
            yield _row(found, task, files[split.lfn], (first, last), split.attempts, split.offset)
    if not found.splits:  # clones race for one range, whatever they read
        first_job = found.jobs[0]
        spec = next(iter(files.values()), FileSpec(fileID=0))
        yield _row(found, task, spec, (0, 0), max(first_job.maxAttempt or 1, 1), 0)


def _row(
    found: EventSet, task: int, spec: FileSpec, events: tuple[int, int], attempts: int, offset: int
) -> dict[str, Any]:
    return {
        "jediTaskID": task,
        "PandaID": found.jobset,
        "fileID": spec.fileID or 0,
        "job_processID": events[0],
        "datasetID": spec.datasetID or 0,
        "status": int(E.ready),
        "def_min_eventID": events[0],
        "def_max_eventID": events[1],
        "attemptNr": attempts,
        "event_offset": offset,
        "jobsetID": found.jobset,
    }
