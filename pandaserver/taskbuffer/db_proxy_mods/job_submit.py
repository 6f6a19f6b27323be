"""Submission: from checked jobs to rows, all or nothing, in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Any, Final

from pandaserver.taskbuffer.db_proxy_mods import audit, event_submit
from pandaserver.taskbuffer.db_proxy_mods.job_move import insert_jobs
from pandaserver.taskbuffer.db_proxy_mods.job_priority import set_priorities
from pandaserver.taskbuffer.db_proxy_mods.policy import Policy, policy_of
from pandaserver.taskbuffer.db_proxy_mods.user import User, lock_user, read_user, store_counters
from pandaserver.taskbuffer.FileSpec import FILE_ATTRIBUTES, FileSpec
from pandaserver.taskbuffer.job_defaults import (
    KEPT_FILE_STATUSES,
    needs_new_numbers,
    settle_file,
    settle_job,
    settle_names,
    settle_owner,
    wants_group_serial,
    working_groups,
)
from pandaserver.taskbuffer.JobSpec import JobSpec
from pandaserver.taskbuffer.labels import ANALYSIS_LABELS, USER_LABELS, is_user_type
from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.sharing import resource_type_of, share_of
from pandaserver.taskbuffer.states import JobStatus
from pandaserver.taskbuffer.submission import StoredJob, Submission, Submitted
from pandaserver.taskbuffer.submission_checks import check_submission
from pandaserver.taskbuffer.transaction import Transaction

#: Queue name of placeholders that the task layer turns into co-jumbo jobs.
CO_JUMBO_QUEUE: Final = "WAITING_CO_JUMBO"

#: jobsetID by which a client asks for a new job set.
NEW_JOBSET: Final = -1


@operation(timeout=60)
def store_jobs(tx: Transaction, submission: Submission) -> Submitted:
    """Store new jobs with their files and say under which numbers.

    Nothing is stored when a job is invalid (BadRequest names it) or when the user is banned. Jobs that need no
    preparation are activated at once; the others are in ``to_set_up``.
    """
    jobs, is_production = _copies(submission.jobs), submission.submitter.is_production
    sets = event_submit.read_sets(jobs, is_production)
    check_submission(jobs, submission.submitter, submission.max_jobs)
    if not jobs:
        return Submitted()
    user = _user_of(tx, submission)
    if user.is_banned:
        return Submitted(is_banned=True)
    _set_facts(tx, submission, jobs, user)
    event_submit.number_sets(tx, sets)
    _set_identifiers(tx, jobs, tx.settings.main_vo)
    event_submit.store_sets(tx, sets, is_production)
    _insert(tx, jobs)
    if user.is_locked:
        user.n_queued += len(jobs)
        store_counters(tx, user, submission.submitter.dn)
    result = Submitted(
        jobs=tuple(_stored(job) for job in jobs),
        to_set_up=tuple(job.PandaID or 0 for job in jobs if job.jobStatus == JobStatus.defined),
    )
    _leave_traces(tx, submission, result)
    return result


def _user_of(tx: Transaction, submission: Submission) -> User:
    """Return the submitter's row, locked if the submission draws job numbers from it."""
    if _is_counted(submission.jobs):
        return lock_user(tx, submission.submitter)
    return read_user(tx, submission.submitter.name)


def _is_counted(jobs: Sequence[JobSpec]) -> bool:
    return any(is_user_type(job.prodSourceLabel, job.processingType) for job in jobs)


def _copies(jobs: Sequence[JobSpec]) -> list[JobSpec]:
    """Copy the jobs, because a transaction that lost a race runs this operation again with the same arguments."""
    copies = []
    for job in jobs:
        mine = copy(job)
        mine.Files = [copy(file) for file in job.Files]
        copies.append(mine)
    return copies


def _set_facts(tx: Transaction, submission: Submission, jobs: Sequence[JobSpec], user: User) -> None:
    """Decide everything about the jobs that does not need their identifiers."""
    submitter = submission.submitter
    policy = policy_of(tx)
    groups = working_groups(submitter.fqans)
    for job in jobs:
        settle_owner(job, submitter, tx.settings.main_vo, groups)
        settle_job(job, submission.queues.get(job.computingSite or ""), submitter.is_production)
    _set_numbers(jobs, user)
    set_priorities(tx, jobs, submission, user, policy)
    _set_times(tx, jobs)
    for job in jobs:
        _tag(job, submission, policy)
        job.jobStatus = str(_first_status(job, submission))


def _set_numbers(jobs: Sequence[JobSpec], user: User) -> None:
    """Give the user's jobs the next job number, and a job set before it if they ask for one."""
    counted = [job for job in jobs if is_user_type(job.prodSourceLabel, job.processingType)]
    if not counted:
        return
    given, jobset = counted[0].jobDefinitionID or 0, counted[0].jobsetID or None
    number = max(given, user.job_id + 1)
    if jobset == NEW_JOBSET:
        jobset, number = number, number + 1
    for job in counted:
        if needs_new_numbers(job):
            job.jobDefinitionID, job.jobsetID = number, jobset
    user.job_id = number
    analysis = [job for job in counted if job.prodSourceLabel in ANALYSIS_LABELS and job.jediTaskID is None]
    builds = sum(job.prodSourceLabel == "panda" for job in analysis)
    for job in analysis:
        job.taskID = bool(builds) + 2 * (len(analysis) - builds)


def _set_times(tx: Transaction, jobs: Sequence[JobSpec]) -> None:
    now = tx.now()
    for job in jobs:
        job.creationTime = job.modificationTime = job.stateChangeTime = job.prodDBUpdateTime = now
        job.startTime = job.endTime = None
        job.modificationHost = tx.settings.hostname


def _tag(job: JobSpec, submission: Submission, policy: Policy) -> None:
    queue = submission.queues.get(job.computingSite or "")
    job.resource_type = job.resource_type or resource_type_of(policy.resource_types, job.coreCount, job.minRamCount)
    facts = {
        "prodSourceLabel": job.prodSourceLabel,
        "workingGroup": job.workingGroup,
        "processingType": job.processingType,
        "rtype": queue.resource_type if queue else None,
    }
    job.gshare = job.gshare or share_of(policy.shares, facts, job.eventService)


def _first_status(job: JobSpec, submission: Submission) -> JobStatus:
    if submission.pending:
        return JobStatus.waiting if job.computingSite == CO_JUMBO_QUEUE else JobStatus.pending
    return JobStatus.activated if _is_ready(job, submission) else JobStatus.defined


def _is_ready(job: JobSpec, submission: Submission) -> bool:
    """Tell whether the Setupper would do nothing with a job but activate it."""
    if not job.computingSite or job.computingSite in submission.unknown_queues or _awaits_input(job):
        return False
    ready = submission.nothing_to_prepare
    key = "local" if job.destinationSE == "local" else job.VO or ""
    return ready.get(key, ready.get("any", False))


def _awaits_input(job: JobSpec) -> bool:
    """Tell whether the job names something that has to arrive first, such as the library of a build job."""
    awaited = (file for file in job.Files if file.type == "input" and file.dispatchDBlock)
    return bool(job.dispatchDBlock) or any(file.status not in KEPT_FILE_STATUSES for file in awaited)


def _set_identifiers(tx: Transaction, jobs: Sequence[JobSpec], main_vo: str) -> None:
    """Draw all identifiers, in one trip for each kind, and put them where they belong."""
    job_ids = tx.next_ids("ATLAS_PANDA.JOBSDEFINED4_PANDAID_SEQ", len(jobs))
    for job, job_id in zip(jobs, sorted(job_ids), strict=True):
        job.PandaID = job_id
    n_files = sum(len(job.Files) for job in jobs)
    row_ids = iter(sorted(tx.next_ids("ATLAS_PANDA.FILESTABLE4_ROW_ID_SEQ", n_files)) if n_files else ())
    wanting = any(wants_group_serial(job) for job in jobs)
    serial = tx.next_ids("ATLAS_PANDA.GROUP_JOBID_SEQ", 1)[0] if wanting else None
    for job in jobs:
        settle_names(job, serial)
        for file in job.Files:
            settle_file(file, job, next(row_ids), main_vo)


def _insert(tx: Transaction, jobs: Sequence[JobSpec]) -> None:
    ready = [job for job in jobs if job.jobStatus == JobStatus.activated]
    others = [job for job in jobs if job.jobStatus != JobStatus.activated]
    if ready:
        insert_jobs(tx, ready, through=(JobStatus.defined,))
    if others:
        insert_jobs(tx, others)
    files = [_file_row(file) for job in jobs for file in job.Files]
    if files:
        tx.insert("ATLAS_PANDA.filesTable4", files)
    parameters = [{"PandaID": job.PandaID, "jobParameters": job.jobParameters} for job in jobs]
    tx.insert("ATLAS_PANDA.jobParamsTable", parameters)
    metadata = [
        {"PandaID": job.PandaID, "metadata": job.metadata}
        for job in jobs
        if job.metadata and job.prodSourceLabel in ANALYSIS_LABELS
    ]
    if metadata:
        tx.insert("ATLAS_PANDA.metaTable", metadata)


def _file_row(file: FileSpec) -> dict[str, Any]:
    return {name: getattr(file, name) for name in FILE_ATTRIBUTES}


def _stored(job: JobSpec) -> StoredJob:
    return StoredJob(
        PandaID=job.PandaID or 0,
        jobDefinitionID=job.jobDefinitionID or 0,
        jobsetID=job.jobsetID,
        jobName=job.jobName,
        has_jobset=job.prodSourceLabel in USER_LABELS,
    )


def _leave_traces(tx: Transaction, submission: Submission, result: Submitted) -> None:
    owner, ids = submission.submitter.name, [job.PandaID for job in result.jobs]
    named = str(ids[0]) if len(ids) == 1 else f"{ids[0]}-{ids[-1]}"
    audit.record(tx, owner, "submitJobs", "job", named, jobs=len(ids), dn=submission.submitter.dn)
