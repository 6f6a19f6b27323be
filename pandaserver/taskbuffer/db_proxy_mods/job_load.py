"""Reading jobs with what belongs to them: files, parameters, metadata."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Final

from pandaserver.taskbuffer.FileSpec import FILE_ATTRIBUTES, FileSpec
from pandaserver.taskbuffer.JobSpec import JOB_COLUMNS, JobSpec
from pandaserver.taskbuffer.states import LIVE_TABLES
from pandaserver.taskbuffer.transaction import Transaction

#: Most keys that one statement takes.
CHUNK: Final = 1000

FILES: Final = f"""
    SELECT {", ".join(FILE_ATTRIBUTES)} FROM ATLAS_PANDA.filesTable4
    WHERE PandaID IN (:ids[])
    ORDER BY PandaID, row_ID
"""


def load_jobs(
    tx: Transaction,
    ids: Sequence[int],
    *,
    tables: Sequence[str] = LIVE_TABLES,
    files: bool = True,
    parameters: bool = True,
    metadata: bool = False,
) -> list[JobSpec]:
    """Return the jobs that exist in ``tables``, in the order of ``ids``.

    All tables are read by one statement: a job that moves between them meanwhile is seen in exactly one.
    """
    found: dict[int, JobSpec] = {}
    text = jobs_text(tuple(tables), parameters, metadata)
    for start in range(0, len(ids), CHUNK):
        chunk = list(ids[start : start + CHUNK])
        jobs = {row[0]: JobSpec(*row) for row in tx.rows(text, ids=chunk)}
        if files and jobs:
            for row in tx.rows(FILES, ids=list(jobs)):
                spec = FileSpec(*row)
                jobs[row[1]].Files.append(spec)
        found |= jobs
    return [found[pid] for pid in ids if pid in found]


@cache
def jobs_text(tables: tuple[str, ...], parameters: bool, metadata: bool, *, clock: bool = False) -> str:
    """Return the statement that reads whole jobs from those tables, with columns in the order of JobSpec's fields.

    With ``clock`` the database's time is a column more.
    """
    joins = ""
    if parameters:
        joins += " LEFT JOIN ATLAS_PANDA.jobParamsTable p ON p.PandaID = j.PandaID"
    if metadata:
        joins += " LEFT JOIN ATLAS_PANDA.metaTable m ON m.PandaID = j.PandaID"
    texts = {
        "jobParameters": "p.jobParameters" if parameters else "NULL AS jobParameters",
        "metadata": "m.metaData" if metadata else "NULL AS metadata",
    }
    columns = [f"j.{column}" for column in JOB_COLUMNS]
    # The two texts stand before prodDBlock in a JobSpec, whose fields are filled by position.
    place = columns.index("j.prodDBlock")
    columns[place:place] = [texts["jobParameters"], texts["metadata"]]
    if clock:
        columns.append("CURRENT_TIMESTAMP AS readTime")
    return " UNION ALL ".join(
        f"SELECT {', '.join(columns)} FROM ATLAS_PANDA.{table} j{joins} WHERE j.PandaID IN (:ids[])" for table in tables
    )
