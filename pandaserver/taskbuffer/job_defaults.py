"""What the server decides about a new job before it is stored: owner, labels, attempts, names of files."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from typing import Final

from pandaserver.taskbuffer.FileSpec import FileSpec
from pandaserver.taskbuffer.job_flags import FLAG_WORDS, VALUE_PREFIXES
from pandaserver.taskbuffer.JobSpec import JOB_TEXT_LIMITS, JobSpec
from pandaserver.taskbuffer.labels import ANALYSIS_LABELS, is_user_type
from pandaserver.taskbuffer.SiteSpec import SiteSpec
from pandaserver.taskbuffer.submission import Submitter

#: Flags that the owner of an analysis job may set; the others are the system's.
OWNERS_FLAGS: Final = "debug express hpo scout no_looping_check secrets push_status_changes push_job".split()

_OWNERS_WORDS: Final = frozenset(word for flag in OWNERS_FLAGS for word in FLAG_WORDS[flag])

#: States of files that a submission may bring; all others are decided here.
KEPT_FILE_STATUSES: Final = frozenset({"ready", "cached"})

#: Attempts that a user's job gets on top of the ones it has had, when it does not say how many.
MORE_ATTEMPTS: Final = 2

_GROUP_PRODUCTION: Final = re.compile(r"^/[^/]+/([^/]+)/Role=production")
_COUNTRY: Final = re.compile(r"^/[^/]+/([a-z]{2})(?:/|$)")


def vo_of(job: JobSpec, submitter: Submitter, main_vo: str) -> str:
    """Return the VO that a job belongs to: the submitter's credential says it, else the job, else our own."""
    return submitter.vo or job.VO or main_vo


def working_groups(fqans: Sequence[str]) -> frozenset[str]:
    """Return the groups in whose name the holder of those attributes may submit, with and without ``gr_``."""
    found = (_GROUP_PRODUCTION.match(fqan) for fqan in fqans)
    groups = {match[1] for match in found if match}
    return frozenset(groups | {f"gr_{group}" for group in groups})


def settle_owner(job: JobSpec, submitter: Submitter, main_vo: str, groups: frozenset[str]) -> None:
    """Set whose job it is."""
    if job.prodSourceLabel in ANALYSIS_LABELS or not job.prodUserID:
        job.prodUserID = submitter.dn[: JOB_TEXT_LIMITS["prodUserID"]]
    job.prodUserName = submitter.name[: JOB_TEXT_LIMITS["prodUserName"]]
    job.VO = vo_of(job, submitter, main_vo)[: JOB_TEXT_LIMITS["VO"]]
    if submitter.host:
        job.creationHost = submitter.host[: JOB_TEXT_LIMITS["creationHost"]]
    if not is_user_type(job.prodSourceLabel, job.processingType):
        return
    if job.workingGroup not in groups and not submitter.is_production:
        job.workingGroup = None
    if job.lockedby != "jedi":
        country = next(filter(None, map(_COUNTRY.match, submitter.fqans)), None)
        if country:
            job.countryGroup = country[1]


def settle_job(job: JobSpec, queue: SiteSpec | None, is_production: bool) -> None:
    """Fill in what the submission left out and what is not for it to say."""
    if job.prodSourceLabel in ANALYSIS_LABELS:
        job.specialHandling = _owners_handling(job.specialHandling)
    if job.computingSite and job.relocationFlag != 2:
        job.relocationFlag = 1
    if not job.jobParameters:
        job.jobParameters = " "
    if is_user_type(job.prodSourceLabel, job.processingType):
        _settle_attempts(job)
    if not job.job_label:
        job.job_label = queue.job_label(job.prodSourceLabel) if queue else "managed"
        if queue is None and job.prodSourceLabel in ANALYSIS_LABELS:
            job.job_label = "user"
    job.commandToPilot = None
    if not is_production:  # only the task layer knows better than the rules
        job.gshare = None


def _owners_handling(text: str | None) -> str | None:
    backend = VALUE_PREFIXES["ddm_backend"]
    words = [word.strip() for word in (text or "").split(",")]
    return ",".join(word for word in words if word in _OWNERS_WORDS or word.startswith(backend)) or None


def _settle_attempts(job: JobSpec) -> None:
    job.attemptNr = job.attemptNr or 0
    if job.maxAttempt == -1:
        job.maxAttempt = job.attemptNr
    elif job.maxAttempt is None or job.maxAttempt <= job.attemptNr:
        job.maxAttempt = job.attemptNr + MORE_ATTEMPTS


def needs_new_numbers(job: JobSpec) -> bool:
    """Tell whether a user's job gets the numbers of this submission, or keeps those of its first attempt."""
    return not job.attemptNr or job.jobExecutionID is not None or job.lockedby == "jedi"


def settle_names(job: JobSpec, group_serial: int | None) -> None:
    """Put identifiers into the names that ask for them."""
    if job.jobName and "$ORIGINPANDAID" in job.jobName:
        name = job.jobName.replace("$ORIGINPANDAID", str(job.PandaID))
        job.jobName = name[: JOB_TEXT_LIMITS["jobName"]]
    replacements = _replacements(job, group_serial)
    for file in job.Files:
        if file.lfn and "$" in file.lfn:
            for mark, text in replacements.items():
                file.lfn = file.lfn.replace(mark, text)


def _replacements(job: JobSpec, group_serial: int | None) -> Mapping[str, str]:
    marks = {"$PANDAID": f"{job.PandaID:05}"}
    if job.prodSourceLabel != "managed":
        marks |= {
            "$JOBSETID": f"{job.jobsetID or 0:06}",
            "$GROUPJOBSN": f"{group_serial or 0:05}",
            "$JEDITASKID": str(job.jediTaskID or 0),
        }
    return marks


def wants_group_serial(job: JobSpec) -> bool:
    """Tell whether a name of the job asks for a serial number of group jobs."""
    return job.prodSourceLabel != "managed" and any("$GROUPJOBSN" in (file.lfn or "") for file in job.Files)


def settle_file(file: FileSpec, job: JobSpec, row_id: int, main_vo: str) -> None:
    """Make a file one of a stored job."""
    file.row_ID = row_id
    file.PandaID = job.PandaID
    file.fsize = file.fsize or 0
    if file.status not in KEPT_FILE_STATUSES:
        file.status = "unknown"
    if file.type == "log" and not file.GUID:
        file.GUID = str(uuid.uuid4())
    if file.type in ("output", "log") and not file.scope and main_vo == job.VO:
        file.scope = scope_of(file.destinationDBlock or file.dataset)
    if file.jediTaskID is None:
        file.jediTaskID = job.jediTaskID


def scope_of(dataset: str | None) -> str | None:
    """Return the scope that the name of a dataset implies: ``user.jane`` for users and groups, else the first word."""
    if not dataset:
        return None
    words = dataset.split(".")
    return ".".join(words[:2] if words[0] in ("user", "group") else words[:1])[:30]
