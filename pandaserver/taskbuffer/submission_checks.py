"""What a submission must satisfy before anything of it is stored; the first violation names the job and the rule."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any, Final

from pandaserver.srvcore.errors import BadRequest
from pandaserver.taskbuffer.FileSpec import FILE_TEXT_LIMITS, FileSpec
from pandaserver.taskbuffer.JobSpec import JOB_TEXT_LIMITS, JobSpec
from pandaserver.taskbuffer.labels import INTERNAL
from pandaserver.taskbuffer.submission import MAX_JOBS, Submitter

FILE_TYPES: Final = ("input", "pseudo_input", "output", "log", "zipinput")

#: Texts that the server cuts instead of refusing: nobody submits them for their own sake.
CUT: Final = frozenset(
    """
    commandToPilot pilotErrorDiag exeErrorDiag supErrorDiag ddmErrorDiag brokerageErrorDiag jobDispatcherErrorDiag
    taskBufferErrorDiag inputFileType jobSubStatus
    """.split()
)

#: Texts that the server writes itself, whatever a client sends.
OVERWRITTEN: Final = frozenset({"jobStatus", "prodUserName", "creationHost", "modificationHost", "gshare"})

#: Numbers that the schema keeps in 32 bits; the others have 64.
SMALL_NUMBERS: Final = frozenset(
    """
    assignedPriority currentPriority attemptNr maxAttempt pilotErrorCode exeErrorCode supErrorCode ddmErrorCode
    brokerageErrorCode jobDispatcherErrorCode taskBufferErrorCode taskID relocationFlag nInputFiles coreCount
    nInputDataFiles nOutputDataFiles workQueue_ID actualCoreCount reqID eventService failedAttempt diskIO
    """.split()
)

#: The first number that is too large for a column with digits after the point.
DECIMALS: Final[dict[str, float]] = {
    "cpuConversion": 1e5,
    "memory_leak_x2": 1e11,
    "gco2_regional": 1e8,
    "gco2_global": 1e8,
    "meanCoreCount": 1e6,
}

#: The first number that is too large for a column: -limit < value < limit.
LIMITS: Final[dict[str, float]] = {
    **{
        name: 1 << 31 if name in SMALL_NUMBERS else 1 << 63
        for name, kind in JobSpec.__annotations__.items()
        if kind == "int | None" and name != "PandaID"
    },
    **DECIMALS,
}

_CHECKED_TEXTS: Final = tuple(name for name in JOB_TEXT_LIMITS if name not in OVERWRITTEN)

_texts: Callable[[JobSpec], tuple[Any, ...]] = attrgetter(*_CHECKED_TEXTS)
_numbers: Callable[[JobSpec], tuple[Any, ...]] = attrgetter(*LIMITS)
_file_texts: Callable[[FileSpec], tuple[Any, ...]] = attrgetter(*FILE_TEXT_LIMITS)


def check_submission(jobs: Sequence[JobSpec], submitter: Submitter, max_jobs: int = MAX_JOBS) -> None:
    """Raise BadRequest for the first job (counted from 0) that cannot be stored as it is."""
    if len(jobs) > max_jobs:
        raise BadRequest(f"{len(jobs)} jobs in one submission, at most {max_jobs}; nothing was stored")
    for number, job in enumerate(jobs):
        problem = _label_problem(job, submitter) or _job_problem(job) or _file_problem(job.Files)
        if problem:
            raise BadRequest(f"job {number}: {problem}")


def _label_problem(job: JobSpec, submitter: Submitter) -> str | None:
    if job.prodSourceLabel == INTERNAL:
        return f"prodSourceLabel {INTERNAL} is for the system's own use"
    if job.prodSourceLabel in (None, "managed") and not submitter.is_production:
        return "prodSourceLabel managed needs a production role"
    if job.job_label not in (None, "user", "managed"):
        return f"job_label is {job.job_label!r}, which is neither user nor managed"
    return None


def _job_problem(job: JobSpec) -> str | None:
    for name, value in zip(_CHECKED_TEXTS, _texts(job), strict=True):
        if value is None:
            continue
        if name in CUT:
            setattr(job, name, value[: JOB_TEXT_LIMITS[name]])
            continue
        problem = _text_problem(name, value, JOB_TEXT_LIMITS[name])
        if problem:
            return problem
    for (name, limit), value in zip(LIMITS.items(), _numbers(job), strict=True):
        if value is not None and not -limit < value < limit:  # also false for a value that is no number
            return f"{name} is {value}, which is too large"
    return None


def _file_problem(files: Sequence[FileSpec]) -> str | None:
    for number, file in enumerate(files):
        problem = _problem_of_file(file)
        if problem:
            return f"file {number}: {problem}"
    return None


def _problem_of_file(file: FileSpec) -> str | None:
    if not file.lfn:
        return "lfn is missing"
    if "," in file.lfn:
        return f"lfn is {file.lfn!r:.200}, and a comma separates the names of files where pilots read them"
    if file.type not in FILE_TYPES:
        return f"type is {file.type!r}, not one of {', '.join(FILE_TYPES)}"
    if file.fsize is not None and abs(file.fsize) >= 1 << 63:
        return f"fsize is {file.fsize}, which is too large"
    limits: Mapping[str, int] = FILE_TEXT_LIMITS
    for (name, limit), value in zip(limits.items(), _file_texts(file), strict=True):
        problem = None if value is None else _text_problem(name, value, limit)
        if problem:
            return problem
    return None


def _text_problem(name: str, value: str, limit: int) -> str | None:
    return f"{name} is {len(value)} characters, at most {limit}" if len(value) > limit else None
