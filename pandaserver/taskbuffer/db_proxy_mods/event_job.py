"""New jobs that the server itself makes for a set of event ranges: another consumer, or the merge job."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from copy import copy
from typing import Any, Final

from pandaserver.taskbuffer.db_proxy_mods.event_submit import add_members
from pandaserver.taskbuffer.db_proxy_mods.job_load import load_jobs
from pandaserver.taskbuffer.db_proxy_mods.job_move import insert_jobs
from pandaserver.taskbuffer.db_proxy_mods.pilot_retry import CLEAN, PRIORITY_STEP, renamed
from pandaserver.taskbuffer.db_proxy_mods.policy import policy_of
from pandaserver.taskbuffer.event_rules import PROCESSED
from pandaserver.taskbuffer.event_texts import for_merge, merge_transformation
from pandaserver.taskbuffer.FileSpec import FILE_ATTRIBUTES, FileSpec
from pandaserver.taskbuffer.job_flags import EVENT_SERVICE, EVENT_SERVICE_MERGE
from pandaserver.taskbuffer.JobSpec import JOB_TEXT_LIMITS, JobSpec
from pandaserver.taskbuffer.sharing import share_of
from pandaserver.taskbuffer.states import JobStatus
from pandaserver.taskbuffer.transaction import Transaction

#: Attempts of a merge job.
MERGE_ATTEMPTS: Final = 3

#: Columns of a job that say what became of it.
_ITS_OWN: Final = """
    cpuConsumptionTime pilotTiming pilotID schedulerID computingElement nEvents jobMetrics actualCoreCount meanCoreCount
    maxRSS maxVMEM maxSWAP maxPSS avgRSS avgVMEM avgSWAP avgPSS hs06 hs06sec nOutputDataFiles outputFileBytes
    commandToPilot metadata
""".split()

OUTPUTS_OF_RANGES: Final = """
    SELECT jediTaskID, PandaID, fileID, job_processID, attemptNr, objStore_ID, zipRow_ID
    FROM ATLAS_PANDA.JEDI_Events WHERE jobsetID = :jobsetID AND status IN (:statuses[]) ORDER BY rangeID
"""

ARCHIVES: Final = """
    SELECT row_ID, lfn, fsize, checksum, destinationSE FROM ATLAS_PANDA.filesTable4 WHERE PandaID IN (:ids[])
    AND type = 'zipoutput' ORDER BY row_ID
"""


def make_consumer(tx: Transaction, job_id: int, task: int) -> int:
    """Store another consumer like this one and return its PandaID."""
    before = load_jobs(tx, [job_id])[0]
    job = _like(tx, before)
    job.eventService = EVENT_SERVICE
    job.attemptNr = (before.attemptNr or 0) + 1
    job.currentPriority = (before.currentPriority or 0) - PRIORITY_STEP
    job.Files = [copy(spec) for spec in before.Files if spec.type != "zipoutput"]
    _rename_logs(job, str(job.attemptNr))
    return _store(tx, job, before, task)


def make_merge_job(tx: Transaction, job_id: int, task: int) -> int:
    """Store the job that merges the outputs of a set of which this job is a member, and return its PandaID."""
    before = load_jobs(tx, [job_id])[0]
    job = _like(tx, before)
    job.eventService = EVENT_SERVICE_MERGE
    job.attemptNr = (before.attemptNr or 0) + 1 if before.eventService == EVENT_SERVICE_MERGE else 0
    job.maxAttempt = before.maxAttempt if before.eventService == EVENT_SERVICE_MERGE else MERGE_ATTEMPTS
    if before.eventService != EVENT_SERVICE_MERGE:
        words = [w for w in (before.specialHandling or "").split(",") if w and w != "eventservice"]
        job.specialHandling = ",".join(["esmerge", *words])[: JOB_TEXT_LIMITS["specialHandling"]]
        parameters = before.jobParameters or ""
        job.jobParameters = for_merge(parameters)
        job.transformation = merge_transformation(parameters, before.transformation)
        job.coreCount = 1
    job.gshare = share_of(policy_of(tx).shares, {}, EVENT_SERVICE_MERGE)
    outputs = [copy(spec) for spec in before.Files if spec.type in ("output", "log")]
    job.Files = [*_merge_inputs(tx, before, outputs), *outputs]
    _rename_logs(job, f"merge{job.attemptNr or ''}")
    return _store(tx, job, before, task)


def _like(tx: Transaction, before: JobSpec) -> JobSpec:
    """Return a job that begins where that one did."""
    job = copy(before)
    for column, value in CLEAN.items():
        setattr(job, column, value)
    for column in _ITS_OWN:
        setattr(job, column, None)
    job.PandaID = tx.next_ids("ATLAS_PANDA.JOBSDEFINED4_PANDAID_SEQ", 1)[0]
    job.parentID = before.PandaID
    now = tx.now()
    job.creationTime = job.modificationTime = job.stateChangeTime = job.prodDBUpdateTime = now
    job.modificationHost = tx.settings.hostname
    job.jobStatus = JobStatus.activated
    return job


def _rename_logs(job: JobSpec, suffix: str) -> None:
    """Give the log a name that no other job of the set has."""
    names: dict[str, str] = {}
    for spec in job.Files:
        if spec.type == "log" and spec.lfn:
            names[spec.lfn] = f"{spec.lfn}.{suffix}"
            spec.lfn, spec.GUID = names[spec.lfn], str(uuid.uuid4())
    job.jobParameters = renamed(job.jobParameters or " ", names)


def _merge_inputs(tx: Transaction, before: JobSpec, outputs: Iterable[FileSpec]) -> list[FileSpec]:
    """Return the archives that have outputs of the set's ranges, and the outputs that are in none."""
    rows = tx.rows(OUTPUTS_OF_RANGES, jobsetID=before.jobsetID, statuses=[int(s) for s in PROCESSED])
    jobs = sorted({row[1] for row in rows})
    archives: dict[int, tuple[Any, ...]] = {}
    for start in range(0, len(jobs), 1000):
        archives |= {row[0]: row[1:] for row in tx.rows(ARCHIVES, ids=jobs[start : start + 1000])}
    dataset = before.prodDBlock
    found: list[FileSpec] = []
    for row_id in sorted({row[6] for row in rows if row[6] in archives}):
        lfn, fsize, checksum, store = archives[row_id]
        found.append(_input(f"zip://{lfn}", dataset, store, fsize, checksum))
    names = [spec.lfn for spec in outputs if spec.type == "output"]
    for task, job, file, process, attempt, store, row_id in rows:
        if row_id not in archives:
            key = f"{task}-{job}-{file}-{process}-{attempt}"
            place = None if store is None else str(store)
            found += [_input(f"{name}.{key}", dataset, place, None, None) for name in names]
    return found


def _input(lfn: str, dataset: str | None, store: str | None, fsize: int | None, checksum: str | None) -> FileSpec:
    return FileSpec(
        lfn=lfn, type="input", dataset=dataset, status="ready", destinationSE=store, fsize=fsize, checksum=checksum
    )


def _store(tx: Transaction, job: JobSpec, before: JobSpec, task: int) -> int:
    """Store a job with its files and parameters, ready for a pilot."""
    row_ids = tx.next_ids("ATLAS_PANDA.FILESTABLE4_ROW_ID_SEQ", len(job.Files))
    for spec, row_id in zip(job.Files, row_ids, strict=True):
        spec.row_ID, spec.PandaID, spec.fsize = row_id, job.PandaID, spec.fsize or 0
        spec.jediTaskID = before.jediTaskID
        if spec.type in ("output", "log"):
            spec.status, spec.fsize, spec.md5sum, spec.checksum = "unknown", 0, None, None
    insert_jobs(tx, [job], through=(JobStatus.defined,))
    tx.insert(
        "ATLAS_PANDA.filesTable4", [{name: getattr(spec, name) for name in FILE_ATTRIBUTES} for spec in job.Files]
    )
    tx.insert("ATLAS_PANDA.jobParamsTable", [{"PandaID": job.PandaID, "jobParameters": job.jobParameters or " "}])
    add_members(tx, job.jobsetID or 0, task, [job])
    return job.PandaID or 0
