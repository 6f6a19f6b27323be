"""Many waiting jobs at once, and asking the database what no operation tells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

from pandaserver.taskbuffer.FileSpec import FILE_ATTRIBUTES
from pandaserver.taskbuffer.JobSpec import JOB_COLUMNS
from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.states import HOME, JobStatus
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from pandaserver.taskbuffer.transaction import Transaction
from tests.factories import make_job

_ids = count(50_000_000)


@operation(timeout=300)
def put_jobs_for_test(tx: Transaction, number: int, status: str, attributes: Mapping[str, Any]) -> list[int]:
    """Store many equal jobs, each with its files and parameters."""
    now = tx.now()
    job = make_job(**attributes)
    job.jobStatus = status
    job.creationTime = job.modificationTime = job.stateChangeTime = job.prodDBUpdateTime = now
    columns = {name: getattr(job, name) for name in JOB_COLUMNS if getattr(job, name) is not None}
    ids = [next(_ids) for _ in range(number)]
    tx.insert(f"ATLAS_PANDA.{HOME[JobStatus(status)]}", [{**columns, "PandaID": pid} for pid in ids])
    tx.insert("ATLAS_PANDA.jobParamsTable", [{"PandaID": pid, "jobParameters": job.jobParameters} for pid in ids])
    files = [{name: getattr(file, name) for name in FILE_ATTRIBUTES} for file in job.Files]
    tx.insert(
        "ATLAS_PANDA.filesTable4",
        [
            {**file, "row_ID": next(_ids), "PandaID": pid, "fsize": 0, "status": "ready"}
            for pid in ids
            for file in files
        ],
    )
    return ids


def put_jobs(tbuf: TaskBuffer, number: int, status: str = "activated", **attributes: Any) -> list[int]:
    """Return the PandaIDs of that many new jobs in that status."""
    found: list[int] = tbuf.caller.call(put_jobs_for_test, (number, status, attributes), {})
    return found


@operation(timeout=60)
def insert_for_test(tx: Transaction, table: str, rows: Sequence[Mapping[str, Any]]) -> int:
    """Put rows where only daemons put them."""
    return tx.insert(table, [{name: tx.now() if value == "now" else value for name, value in r.items()} for r in rows])


def insert(tbuf: TaskBuffer, table: str, *rows: Mapping[str, Any]) -> None:
    """Insert rows; the value ``now`` is the clock of the database."""
    tbuf.caller.call(insert_for_test, (f"ATLAS_{table}", rows), {})


@operation(timeout=60)
def query_for_test(tx: Transaction, sql: str, binds: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Read what the test looks at."""
    return tx.rows(sql, **binds)


def query(tbuf: TaskBuffer, sql: str, **binds: Any) -> list[tuple[Any, ...]]:
    """Return the rows of a query."""
    found: list[tuple[Any, ...]] = tbuf.caller.call(query_for_test, (sql, binds), {})
    return found


@operation(timeout=60)
def count_statements_for_test(tx: Transaction, name: str, *args: Any) -> int:
    """Run an operation and return how many statements it took."""
    from pandaserver.taskbuffer.operation import OPERATIONS

    before = tx.statements
    OPERATIONS[name](tx, *args)
    return tx.statements - before


def statements_of(tbuf: TaskBuffer, name: str, *args: Any) -> int:
    """Run an operation for good and return how many statements it took."""
    found: int = tbuf.caller.call(count_statements_for_test, (name, *args), {})
    return found
