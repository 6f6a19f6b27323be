"""Giving jobs to pilots: one transaction from the claim to what the pilot needs to run them."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, Final

from pandaserver.taskbuffer.db_proxy_mods.job_load import FILES, jobs_text
from pandaserver.taskbuffer.db_proxy_mods.job_move import move_jobs
from pandaserver.taskbuffer.db_proxy_mods.parameter import get_config_value
from pandaserver.taskbuffer.db_proxy_mods.remembered import remembered
from pandaserver.taskbuffer.db_proxy_mods.secret import secrets_of
from pandaserver.taskbuffer.db_proxy_mods.share import count_given, leaves_in_order, mean_memory
from pandaserver.taskbuffer.db_proxy_mods.worker import link_jobs
from pandaserver.taskbuffer.FileSpec import FileSpec
from pandaserver.taskbuffer.job_flags import has_flag
from pandaserver.taskbuffer.JobSpec import JOB_TEXT_LIMITS, JobSpec
from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.requests import MAX_JOBS, NOTHING, Acquired, JobRequest
from pandaserver.taskbuffer.selections import GROUPS, OF_SELECTION, WAITING
from pandaserver.taskbuffer.states import ACTIVE, JobStatus
from pandaserver.taskbuffer.transaction import Transaction
from pandaserver.taskbuffer.WrappedCursor import Row

TABLE: Final = f"ATLAS_PANDA.{ACTIVE}"

#: Whole jobs, and in the last column the time at which they were read.
JOBS: Final = jobs_text((ACTIVE,), True, False, clock=True)

#: Jobs with their files, and the time at which they were read.
Claimed = tuple[list[JobSpec], datetime | None]

AT_SITE: Final = "computingSite = :site"
OF_SHARE: Final = "gshare = :share"
FITS_MEMORY: Final = "minRamCount <= :memory"  # 0 is "no need", so it fits always
FITS_DISK: Final = "maxDiskCount <= :disk_space"
FITS_TIME: Final = "(maxWalltime IS NULL OR maxWalltime <= :remaining_time)"
OF_TASK: Final = "jediTaskID = :task_id"
OF_RESOURCE_TYPE: Final = "resource_type = :resource_type"
OF_USER: Final = "prodUserName = :user_name"
IN_BACKGROUND: Final = "jobExecutionID = 1"
NOT_TAKEN: Final = "PandaID NOT IN (:taken[])"  # no lock protects rows from the transaction that holds them

#: At a queue where the jobs that run need more memory than it wants on average, others of that size wait.
IS_LIGHT: Final = "minRamCount <= :mean_memory * CASE WHEN coreCount > 0 THEN coreCount ELSE 1 END"

#: Leaves tried before a look at the whole queue tells whether any job fits at all.
FIRST_LEAVES: Final = 8

BY_PRIORITY: Final = "currentPriority DESC, PandaID"
BY_AGE: Final = "creationTime, PandaID"

#: Percentage of requests that get the oldest job instead of the most deserving one, unless CONFIG says otherwise.
SLOPPY_RATIO: Final = 10

#: Seconds for which a connection trusts parameters of CONFIG.
CONFIG_LIFETIME: Final = 60.0

SENT_LATELY: Final = """
    SELECT COUNT(*) FROM ATLAS_PANDA.jobsActive4
    WHERE jobStatus = 'sent' AND computingSite = :site AND prodSourceLabel IN ('managed', 'test')
      AND modificationTime > CURRENT_TIMESTAMP - :seconds * INTERVAL '1' SECOND
"""


@operation(timeout=60)
def acquire_jobs(tx: Transaction, wanted: JobRequest) -> Acquired:
    """Give up to ``wanted.n_jobs`` activated jobs to one pilot: they become ``sent``.

    Nobody is told "nothing" while an unlocked job that fits is waiting: shares and dice decide the order only, and the
    last search is the whole queue.
    """
    jobs, now = _claim_one(tx, wanted) if wanted.n_jobs == 1 else _claim_many(tx, wanted)
    if not jobs:
        return NOTHING
    ids = [job.PandaID for job in jobs if job.PandaID is not None]
    n_sent = int(tx.value(SENT_LATELY, site=wanted.site, seconds=60) or 0) if wanted.counts_sent else 0
    changes = {"modificationTime": now, "stateChangeTime": now, "startTime": now, **_traces(wanted)}
    move_jobs(tx, ids, JobStatus.sent, by="JobDispatcher", locked=True, **changes)
    if wanted.harvester_id and wanted.worker_id is not None:
        link_jobs(tx, wanted.harvester_id, wanted.worker_id, wanted.site, ids)
    # The rows are ours: what was read together with the lock, and what has just been written, is what they are.
    for job in jobs:
        job.jobStatus = str(JobStatus.sent)
        for column, value in changes.items():
            setattr(job, column, value)
    secrets = _secrets(tx, jobs)
    count_given(tx, jobs)
    return Acquired(
        tuple(jobs),
        n_sent,
        pilot_secrets=secrets.pop(tx.settings.pilot_secrets_owner, None),
        secrets=secrets,
    )


def _claim_one(tx: Transaction, wanted: JobRequest) -> Claimed:
    """Lock the job that this request gets, and read it in the same trip where the database can."""
    eligible, binds = _conditions(tx, wanted), _binds(wanted)
    for conditions, more, order in _searches(tx, wanted):
        claimed = tx.claim_row(
            TABLE,
            key="PandaID",
            where=[*eligible, *conditions],
            binds={**binds, **more},
            order=order,
            read=JOBS,
            beside=FILES,
            walks=wanted.selection in GROUPS and wanted.task_id is None and wanted.user_name is None,
        )
        if claimed is not None:
            return _jobs_from([claimed[0]], claimed[1])
    return _jobs_from([], [])


def _claim_many(tx: Transaction, wanted: JobRequest) -> Claimed:
    """Lock the jobs that this request gets, and read them in the order in which it gets them."""
    eligible, binds = _conditions(tx, wanted), _binds(wanted)
    limit = min(wanted.n_jobs, MAX_JOBS)
    ids: list[int] = []
    for conditions, more, order in _searches(tx, wanted):
        if ids:
            conditions, more = (*conditions, NOT_TAKEN), {**more, "taken": ids}
        ids += tx.claim(
            TABLE,
            key="PandaID",
            limit=limit - len(ids),
            where=[*eligible, *conditions],
            binds={**binds, **more},
            order=order,
        )
        if len(ids) >= limit:
            break
    place = {panda_id: n for n, panda_id in enumerate(ids)}
    rows = sorted(tx.rows(JOBS, ids=ids), key=lambda row: place[row[0]])
    return _jobs_from(rows, tx.rows(FILES, ids=ids) if rows else [])


def _jobs_from(rows: Sequence[Row], files: Iterable[Row]) -> Claimed:
    """Return what rows of ``JOBS`` and ``FILES`` tell."""
    jobs = {row[0]: JobSpec(*row[:-1]) for row in rows}
    for file in files:
        jobs[file[1]].Files.append(FileSpec(*file))
    return list(jobs.values()), rows[0][-1] if rows else None


def _searches(tx: Transaction, wanted: JobRequest) -> Iterator[tuple[tuple[str, ...], dict[str, Any], str]]:
    """Yield the searches to make until there are enough jobs: conditions, their binds, order."""
    if random.randrange(100) < _sloppy_ratio(tx):
        yield (), {}, BY_AGE
        return
    for place, leaf in enumerate(leaves_in_order(tx, wanted.site)):
        if place == FIRST_LEAVES and not _any_fits(tx, wanted):
            return
        yield (OF_SHARE,), {"share": leaf}, BY_PRIORITY
    yield (), {}, BY_PRIORITY


def _any_fits(tx: Transaction, wanted: JobRequest) -> bool:
    """Tell whether any job at the queue fits, locked or not: a pilot that nothing fits shall not try 200 leaves."""
    conditions = " AND ".join(_conditions(tx, wanted))
    sql = f"SELECT PandaID FROM {TABLE} WHERE {conditions} ORDER BY {BY_PRIORITY} FETCH FIRST 1 ROWS ONLY"
    return tx.one(sql, **_binds(wanted)) is not None


def _conditions(tx: Transaction, wanted: JobRequest) -> list[str]:
    """Return the conditions on a job that this pilot may get now."""
    too_large = wanted.mean_memory > 0 and mean_memory(tx, wanted.site) > wanted.mean_memory
    light = [IS_LIGHT] if too_large and not remembered(tx, "ignore meanrss", CONFIG_LIFETIME, _ignores_mean) else []
    return _eligible(wanted) + light


def _eligible(wanted: JobRequest) -> list[str]:
    """Return the conditions on a job that this pilot may get."""
    found = [WAITING, AT_SITE, OF_SELECTION[wanted.selection]]
    optional: tuple[tuple[object, str], ...] = (
        (wanted.memory > 0, FITS_MEMORY),
        (wanted.disk_space > 0, FITS_DISK),
        (wanted.remaining_time > 0, FITS_TIME),
        (wanted.task_id is not None, OF_TASK),
        (wanted.resource_type, OF_RESOURCE_TYPE),
        (wanted.user_name is not None, OF_USER),
        (wanted.background, IN_BACKGROUND),
    )
    return found + [condition for asked, condition in optional if asked]


def _binds(wanted: JobRequest) -> dict[str, Any]:
    return {
        "site": wanted.site,
        "label": wanted.label,
        "memory": wanted.memory,
        "disk_space": wanted.disk_space,
        "mean_memory": wanted.mean_memory,
        "remaining_time": wanted.remaining_time,
        "task_id": wanted.task_id,
        "resource_type": wanted.resource_type,
        "user_name": wanted.user_name,
    }


def _traces(wanted: JobRequest) -> dict[str, Any]:
    """Return what the pilot leaves on the job."""
    found = {
        "modificationHost": wanted.node,
        "computingElement": wanted.computing_element,
        "schedulerID": wanted.scheduler_id,
        "jobExecutionID": None if wanted.background else 0,
    }
    return {column: _fitting(column, value) for column, value in found.items() if value is not None}


def _fitting(column: str, value: Any) -> Any:
    return value[: JOB_TEXT_LIMITS[column]] if isinstance(value, str) else value


def _secrets(tx: Transaction, jobs: Sequence[JobSpec]) -> dict[str, str]:
    """Return the secrets of owners whose jobs use them, and those of pilots if a job is in debug mode."""
    owners = {job.prodUserName for job in jobs if has_flag(job.specialHandling, "secrets") and job.prodUserName}
    if any(has_flag(job.specialHandling, "debug") for job in jobs):
        owners.add(tx.settings.pilot_secrets_owner)
    return secrets_of(tx, owners)


def _sloppy_ratio(tx: Transaction) -> int:
    return remembered(tx, "sloppy ratio", CONFIG_LIFETIME, _read_sloppy_ratio)


def _read_sloppy_ratio(tx: Transaction) -> int:
    ratio = get_config_value(tx, "jobdispatch", "SLOPPY_DISPATCH_RATIO")
    return ratio if isinstance(ratio, int) else SLOPPY_RATIO


def _ignores_mean(tx: Transaction) -> bool:
    return get_config_value(tx, "meanrss", "IGNORE_MEANRSS") is True
