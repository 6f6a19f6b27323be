"""What tests about the end of jobs share: reports, ages, datasets, and looking at the database."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from pandacommon.pandautils.PandaUtils import naive_utcnow
from pandaserver.brokerage.SiteMapper import SiteMapper
from pandaserver.dataservice.Adder import Adder
from pandaserver.dataservice.AdderPluginBase import AdderPluginBase
from pandaserver.dataservice.AdderSimplePlugin import AdderSimplePlugin
from pandaserver.taskbuffer.JobSpec import JobSpec
from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.reports import FileResult, JobMeasures, ReportOrder, TakenReport, Verdict
from pandaserver.taskbuffer.SiteSpec import SiteRows, SiteSpec
from pandaserver.taskbuffer.states import LIVE_TABLES, JobStatus
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from pandaserver.taskbuffer.transaction import Transaction

OUT, LOG = "user.jane.out.0000.root", "user.jane.log.0001.tgz"

#: What a pilot says about the outputs of ``make_job``.
GOOD = {
    OUT: {"guid": "g-out", "fsize": 1000, "adler32": "0a0b0c0d", "surl": "srm://out"},
    LOG: {"guid": "g-log", "fsize": 10, "adler32": "01020304", "surl": "srm://log"},
}


@operation(timeout=60)
def read_for_test(tx: Transaction, sql: str, binds: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    return tx.rows(sql, **binds)


@operation(timeout=60)
def change_for_test(tx: Transaction, sql: str, binds: Mapping[str, Any]) -> int:
    return tx.change(sql, **binds)


@operation(timeout=60)
def insert_row_of_the_past(tx: Transaction, table: str, row: Mapping[str, Any], times: Mapping[str, float]) -> None:
    """Insert a row whose ``times`` are so many minutes ago."""
    moments = {name: tx.now() - timedelta(minutes=minutes) for name, minutes in times.items()}
    tx.insert(table, [{**row, **moments}])


def read(tbuf: TaskBuffer, sql: str, **binds: Any) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = tbuf.caller.call(read_for_test, (sql, binds), {})
    return found


def change(tbuf: TaskBuffer, sql: str, **binds: Any) -> int:
    count: int = tbuf.caller.call(change_for_test, (sql, binds), {})
    return count


def insert(tbuf: TaskBuffer, table: str, *, minutes_ago: Mapping[str, float], **row: Any) -> None:
    tbuf.caller.call(insert_row_of_the_past, (f"ATLAS_PANDA.{table}", row, minutes_ago), {})


def age(tbuf: TaskBuffer, table: str, job_id: int, **minutes: float) -> None:
    """Let columns of a job lie so many minutes in the past."""
    for column, amount in minutes.items():
        change(
            tbuf,
            f"UPDATE ATLAS_PANDA.{table} SET {column} = CURRENT_TIMESTAMP - :n * INTERVAL '1' MINUTE "
            "WHERE PandaID = :id",
            n=amount,
            id=job_id,
        )


def put_report(
    tbuf: TaskBuffer,
    job_id: int,
    status: str = "finished",
    content: Mapping[str, Any] | str = GOOD,
    *,
    attempt: int = 0,
    label: str | None = "user",
    minutes_ago: float = 1.0,
) -> None:
    insert(
        tbuf,
        "Job_Output_Report",
        minutes_ago={"timeStamp": minutes_ago},
        PandaID=job_id,
        attemptNr=attempt,
        jobStatus=status,
        prodSourceLabel=label,
        data=content if isinstance(content, str) else json.dumps(content),
    )


def put_dataset(
    tbuf: TaskBuffer, name: str, kind: str = "output", status: str = "running", *, minutes_ago: float = 0, sub: str = ""
) -> None:
    insert(
        tbuf,
        "Datasets",
        minutes_ago={"modificationDate": minutes_ago, "creationDate": minutes_ago},
        vuid=str(uuid.uuid4()),
        name=name,
        type=kind,
        status=status,
        subType=sub or "top",
    )


def status_of_dataset(tbuf: TaskBuffer, name: str) -> str:
    return str(read(tbuf, "SELECT status FROM ATLAS_PANDA.Datasets WHERE name = :name", name=name)[0][0])


def reports(tbuf: TaskBuffer) -> list[tuple[Any, ...]]:
    sql = "SELECT PandaID, attemptNr, jobStatus FROM ATLAS_PANDA.Job_Output_Report ORDER BY PandaID, attemptNr"
    return read(tbuf, sql)


def history(tbuf: TaskBuffer, job_id: int) -> list[str]:
    sql = "SELECT jobStatus FROM ATLAS_PANDA.jobs_StatusLog WHERE PandaID = :id ORDER BY statusLogID"
    return [row[0] for row in read(tbuf, sql, id=job_id)]


def tables_of(tbuf: TaskBuffer, job_id: int) -> list[str]:
    """Return the tables in which the job is found; more or less than one is a catastrophe."""
    return [
        table
        for table in LIVE_TABLES
        if read(tbuf, f"SELECT PandaID FROM ATLAS_PANDA.{table} WHERE PandaID = :id", id=job_id)
    ]


def job_of(tbuf: TaskBuffer, job_id: int) -> JobSpec:
    job = tbuf.peekJobs([job_id])[0]
    assert job is not None
    return job


def take(tbuf: TaskBuffer, owner: str = "one", limit: int = 10, **order: Any) -> list[TakenReport]:
    return tbuf.takeOutputReports(ReportOrder(owner, limit, **order))


def finished(job: JobSpec, **attributes: Any) -> Verdict:
    """Return the verdict on a job that made everything."""
    files = tuple(
        FileResult(f.row_ID or 0, "ready", f.lfn, "g", 5, None, "ad:1")
        for f in job.Files
        if f.type in ("output", "log")
    )
    values: dict[str, Any] = {"measures": JobMeasures(1, 5, 100, 10, 3600), "files": files} | attributes
    return Verdict(job.PandaID or 0, job.attemptNr or 0, JobStatus.finished, **values)


def file_statuses(tbuf: TaskBuffer, ids: Sequence[int]) -> list[str]:
    sql = """
        SELECT status FROM ATLAS_PANDA.filesTable4 WHERE PandaID IN (:ids[]) AND type <> 'input' ORDER BY row_ID
    """
    return [row[0] for row in read(tbuf, sql, ids=list(ids))]


def queue(name: str | None = None) -> SiteSpec:
    return SiteSpec(name or "default", corepower=10.0)


def adder(
    tbuf: TaskBuffer,
    plugin: type[AdderPluginBase] = AdderSimplePlugin,
    clock: Callable[[], datetime] = naive_utcnow,
    **more: Any,
) -> Adder:
    sites = SiteMapper(SiteRows, queue())
    return Adder(tbuf, sites, lambda _vo: plugin, "test-adder", clock=clock, **more)


def tomorrow() -> datetime:
    return naive_utcnow() + timedelta(hours=25)
