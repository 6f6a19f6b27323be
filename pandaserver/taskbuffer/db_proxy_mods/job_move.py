"""Changing the status of jobs: the only code that writes ``jobStatus``, and with it the history and the announcement.

A transition is compare-and-set on the sources that :mod:`pandaserver.taskbuffer.states` lists. The new status, its
history row and its outgoing message are one commit, so none of them can be seen, or lost, without the others.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import groupby
from typing import Any, Final

from pandaserver.taskbuffer.db_proxy_mods.submission_end import leave_mail
from pandaserver.taskbuffer.JobSpec import JOB_COLUMNS, JOB_TEXT_LIMITS, ZERO_WHEN_UNSET, JobSpec
from pandaserver.taskbuffer.states import ARCHIVED, HOME, LIVE_TABLES, JobStatus, initial_states, sources_of
from pandaserver.taskbuffer.transaction import Transaction

#: Most keys that one statement takes.
CHUNK: Final = 1000

#: States that are not announced, though the job asks for announcements.
SILENT: Final = frozenset({JobStatus.sent, JobStatus.holding, JobStatus.merging})

#: Columns whose default in the schema is not NULL: an insert names them always.
_WITH_DEFAULT: Final = frozenset(
    """
    creationTime modificationTime startTime endTime stateChangeTime prodDBUpdateTime prodSeriesLabel prodSourceLabel
    relocationFlag jobExecutionID jobStatus
    """.split()
)


class Sql(str):
    """A constant canonical expression given where a value is expected: ``endTime=Sql("CURRENT_TIMESTAMP")``."""

    __slots__ = ()


NOW: Final = Sql("CURRENT_TIMESTAMP")

HISTORY: Final = {
    table: f"""
    INSERT INTO ATLAS_PANDA.jobs_StatusLog
        (PandaID, modificationTime, jobStatus, prodSourceLabel, cloud, computingSite, modificationHost,
         modiftime_extended)
    SELECT PandaID, CURRENT_TIMESTAMP, jobStatus, prodSourceLabel, cloud, computingSite, :host, CURRENT_TIMESTAMP
    FROM ATLAS_PANDA.{table}
    WHERE PandaID IN (:ids[])
    ORDER BY PandaID
"""
    for table in LIVE_TABLES
}

ANNOUNCED: Final = {
    table: f"""
    SELECT PandaID, jediTaskID, specialHandling FROM ATLAS_PANDA.{table}
    WHERE PandaID IN (:ids[]) AND specialHandling LIKE '%pc%'
"""
    for table in LIVE_TABLES
}

#: Rows beside the job carry its end time once it has ended; the epoch there means that the job is still live.
SETTLE: Final = tuple(
    f"""
    UPDATE ATLAS_PANDA.{table} SET modificationTime = CURRENT_TIMESTAMP
    WHERE PandaID IN (:ids[])
"""
    for table in ("filesTable4", "jobParamsTable", "metaTable")
)

DELETE_JOBS: Final = {table: f"DELETE FROM ATLAS_PANDA.{table} WHERE PandaID IN (:ids[])" for table in LIVE_TABLES}


def move_jobs(
    tx: Transaction,
    ids: Sequence[int],
    target: JobStatus,
    *,
    by: str,
    where: Sequence[str] = (),
    binds: Mapping[str, Any] | None = None,
    locked: bool = False,
    **changes: Any,
) -> list[int]:
    """Move jobs to ``target`` as actor ``by`` and return the identifiers of those that moved.

    A job whose state is not a source of that transition, or that fails a condition of ``where``, stays as it is.
    ``changes`` are columns that change with the status. ``locked`` tells that the caller holds the rows and has
    checked all of that (``tx.claim``), which saves the statement that would.
    """
    moved: list[int] = []
    tables = _sources_by_table(target, by)
    locked = locked and len(tables) == 1  # of several tables, only the rows themselves tell which one they are in
    for chunk in _chunks(ids):
        wanted = set(chunk)
        for table, sources in tables:
            if not wanted:
                break
            found = _move_from(tx, table, sorted(wanted), sources, target, where, binds or {}, locked, changes)
            wanted.difference_update(found)
            moved += found
    return moved


def insert_jobs(tx: Transaction, jobs: Sequence[JobSpec], *, through: Sequence[JobStatus] = ()) -> None:
    """Store new jobs, whose PandaID and jobStatus are set, in the home of their status.

    ``through`` are the states that they pass on the way in the same transaction, for the history.
    """
    by_table = sorted(jobs, key=_home_of)
    for table, group in groupby(by_table, key=_home_of):
        members = list(group)
        tx.insert(f"ATLAS_PANDA.{table}", _rows_of(members))
        for job in members:
            first = JobStatus(through[0] if through else job.jobStatus or "")
            if first not in initial_states():
                raise ValueError(f"a new job cannot be {first}")
        if tx.settings.record_statuschange:
            now = tx.now()
            tx.insert(
                "ATLAS_PANDA.jobs_StatusLog",
                [
                    {
                        "PandaID": job.PandaID,
                        "modificationTime": now,
                        "jobStatus": str(status),
                        "prodSourceLabel": job.prodSourceLabel,
                        "cloud": job.cloud,
                        "computingSite": job.computingSite,
                        "modificationHost": tx.settings.hostname,
                        "modiftime_extended": now,
                    }
                    for job in members
                    for status in (*through, job.jobStatus)
                ],
            )
        _announce(tx, table, [job.PandaID for job in members if job.PandaID is not None])


def touch_jobs(
    tx: Transaction,
    table: str,
    ids: Sequence[int],
    *,
    where: Sequence[str] = (),
    binds: Mapping[str, Any] | None = None,
    **changes: Any,
) -> int:
    """Change columns of jobs in one table, never the status, and return how many rows changed."""
    if "jobStatus" in changes:
        raise ValueError("jobStatus changes through move_jobs only")
    assignments, values = _assignments(changes)
    sql = _update_text(table, assignments, tuple(where), sources=False)
    return sum(tx.change(sql, ids=list(chunk), **values, **(binds or {})) for chunk in _chunks(ids))


def touch_locked(tx: Transaction, table: str, job_id: int, **changes: Any) -> None:
    """Change columns of a job whose row the caller holds, so that nobody has to count."""
    assignments, values = _assignments(changes)
    tx.change_later(_update_text(table, assignments, (), sources=False), ids=[job_id], **values)


def _move_from(
    tx: Transaction,
    table: str,
    ids: list[int],
    sources: tuple[JobStatus, ...],
    target: JobStatus,
    where: Sequence[str],
    binds: Mapping[str, Any],
    locked: bool,
    changes: Mapping[str, Any],
) -> list[int]:
    """Move those of ``ids`` that are in ``table`` and in one of ``sources``."""
    home = HOME[target]
    conditions: tuple[str, ...] = tuple(where)
    guards: dict[str, Any] = {"sources": [str(source) for source in sources], **binds}
    if not locked and (home != table or len(ids) > 1):
        ids = [row[0] for row in tx.rows(_lock_text(table, conditions), ids=ids, **guards)]
        locked = True
    if not ids:
        return []
    assignments, values = _assignments(_with_status(changes, target))
    if not locked:
        if not tx.change(_update_text(table, assignments, conditions, sources=True), ids=ids, **values, **guards):
            return []
    elif home == table:  # held and checked, so nobody has to count
        tx.change_later(_update_text(table, assignments, (), sources=False), ids=ids, **values)
    else:
        tx.change_later(_copy_text(table, home, assignments), ids=ids, **values)
        tx.change_later(DELETE_JOBS[table], ids=ids)
        for statement in SETTLE if home == ARCHIVED else ():
            tx.change_later(statement, ids=ids)
    if tx.settings.record_statuschange:
        tx.change_later(HISTORY[home], ids=ids, host=tx.settings.hostname)
    if target not in SILENT:
        _announce(tx, home, ids)
    if home == ARCHIVED and tx.settings.mail_users:
        leave_mail(tx, ids)
    return ids


def _announce(tx: Transaction, table: str, ids: Sequence[int]) -> None:
    """Leave an outgoing message for each job that asks for announcements; a daemon script sends them."""
    if not tx.settings.push_messages or not ids:
        return
    tagged = [row for row in tx.rows(ANNOUNCED[table], ids=list(ids)) if "pc" in (row[2] or "").split(",")]
    if not tagged:
        return
    status = {row[0]: row[1] for row in tx.rows(STATUS_OF[table], ids=[row[0] for row in tagged])}
    now = tx.now()
    tx.insert(
        "ATLAS_PANDA.panda_messages",
        [
            {
                "topic": "panda_jobstatus",
                "creationTime": now,
                "payload": json.dumps(
                    {
                        "msg_type": "job_status",
                        "jobid": pid,
                        "taskid": task,
                        "status": status[pid],
                        "timestamp": int(now.timestamp()),
                    }
                ),
            }
            for pid, task, _ in tagged
        ],
    )


STATUS_OF: Final = {
    table: f"SELECT PandaID, jobStatus FROM ATLAS_PANDA.{table} WHERE PandaID IN (:ids[])" for table in LIVE_TABLES
}


def _with_status(changes: Mapping[str, Any], target: JobStatus) -> dict[str, Any]:
    complete: dict[str, Any] = {"jobStatus": str(target), "modificationTime": NOW, "stateChangeTime": NOW}
    if HOME[target] == ARCHIVED:
        complete["endTime"] = Sql("COALESCE(endTime, CURRENT_TIMESTAMP)")
    return complete | dict(changes)


def _assignments(changes: Mapping[str, Any]) -> tuple[tuple[tuple[str, str], ...], dict[str, Any]]:
    """Split changes into (column, expression) pairs, which name the statement, and the values they bind."""
    pairs: list[tuple[str, str]] = []
    values: dict[str, Any] = {}
    for column, value in changes.items():
        if isinstance(value, Sql):
            pairs.append((column, value))
            continue
        limit = JOB_TEXT_LIMITS.get(column)
        pairs.append((column, f":new_{column}"))
        values[f"new_{column}"] = value[:limit] if limit and isinstance(value, str) else value
    return tuple(pairs), values


@cache
def _sources_by_table(target: JobStatus, by: str) -> tuple[tuple[str, tuple[JobStatus, ...]], ...]:
    sources = sources_of(target, by)
    return tuple(
        (table, tuple(s for s in sources if HOME[s] == table)) for table in LIVE_TABLES if _any(sources, table)
    )


def _any(sources: Iterable[JobStatus], table: str) -> bool:
    return any(HOME[source] == table for source in sources)


@cache
def _update_text(table: str, assignments: tuple[tuple[str, str], ...], where: tuple[str, ...], sources: bool) -> str:
    conditions = ["PandaID IN (:ids[])", *(["jobStatus IN (:sources[])"] if sources else []), *where]
    changes = ", ".join(f"{column} = {expression}" for column, expression in assignments)
    return f"UPDATE ATLAS_PANDA.{table} SET {changes} WHERE {' AND '.join(conditions)}"


@cache
def _lock_text(table: str, where: tuple[str, ...]) -> str:
    conditions = " AND ".join(("PandaID IN (:ids[])", "jobStatus IN (:sources[])", *where))
    return f"SELECT PandaID FROM ATLAS_PANDA.{table} WHERE {conditions} ORDER BY PandaID FOR UPDATE"


@cache
def _copy_text(source: str, home: str, assignments: tuple[tuple[str, str], ...]) -> str:
    changed = dict(assignments)
    return (
        f"INSERT INTO ATLAS_PANDA.{home} ({', '.join(JOB_COLUMNS)}) "
        f"SELECT {', '.join(changed.get(column, column) for column in JOB_COLUMNS)} "
        f"FROM ATLAS_PANDA.{source} WHERE PandaID IN (:ids[])"
    )


def _home_of(job: JobSpec) -> str:
    return HOME[JobStatus(job.jobStatus or "")]


def _rows_of(jobs: Sequence[JobSpec]) -> list[dict[str, Any]]:
    """Columns that any of the jobs sets, or that the schema would fill with something else than NULL."""
    used = [
        column
        for column in JOB_COLUMNS
        if column in _WITH_DEFAULT or column in ZERO_WHEN_UNSET or any(getattr(j, column) is not None for j in jobs)
    ]
    return [{column: _stored(column, getattr(job, column)) for column in used} for job in jobs]


def _stored(column: str, value: Any) -> Any:
    return 0 if value is None and column in ZERO_WHEN_UNSET else value


def _chunks(ids: Sequence[int]) -> Iterable[Sequence[int]]:
    for start in range(0, len(ids), CHUNK):
        yield ids[start : start + CHUNK]
