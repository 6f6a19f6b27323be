"""Jobs whose outputs or inputs move: finding those that can go on, and those that never will."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pandaserver.taskbuffer.db_proxy_mods.job_load import load_jobs
from pandaserver.taskbuffer.db_proxy_mods.job_move import NOW, move_jobs, touch_jobs
from pandaserver.taskbuffer.ErrorCode import EC_Transfer
from pandaserver.taskbuffer.JobSpec import JobSpec
from pandaserver.taskbuffer.lost_jobs import NO_REPORT
from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.reports import OutputReport
from pandaserver.taskbuffer.states import ACTIVE, DEFINED, JobStatus
from pandaserver.taskbuffer.transaction import Transaction

_TRANSFERRING: Final = "jobStatus = 'transferring'"
_OF_PRODUCTION: Final = "prodSourceLabel IN ('managed', 'test') AND (eventService IS NULL OR eventService <> 4)"
_OVERDUE: Final = """(
        (COALESCE(currentPriority, 0) < 800
            AND COALESCE(endTime, modificationTime) < CURRENT_TIMESTAMP - :hours * INTERVAL '1' HOUR)
        OR (currentPriority >= 800
            AND COALESCE(endTime, modificationTime) < CURRENT_TIMESTAMP - :urgent_hours * INTERVAL '1' HOUR)
    )"""
_NOT_CHECKED: Final = """(
        prodDBUpdateTime IS NULL OR prodDBUpdateTime < CURRENT_TIMESTAMP - :seconds * INTERVAL '1' SECOND
    )"""

_URGENT_FIRST: Final = "CASE WHEN currentPriority >= 800 THEN 0 ELSE 1 END, PandaID"

ALL_ARRIVED = """
    SELECT j.PandaID FROM ATLAS_PANDA.jobsActive4 j
    WHERE j.jobStatus = 'transferring'
      AND NOT EXISTS (
        SELECT 1 FROM ATLAS_PANDA.filesTable4 f
        WHERE f.PandaID = j.PandaID AND f.type IN ('output', 'log') AND f.status NOT IN ('ready', 'failed', 'nooutput')
      )
      AND NOT EXISTS (SELECT 1 FROM ATLAS_PANDA.Job_Output_Report r WHERE r.PandaID = j.PandaID)
    ORDER BY j.PandaID FETCH FIRST :n ROWS ONLY
"""

LOCK_TRANSFERRING = """
    SELECT PandaID, COALESCE(attemptNr, 0) FROM ATLAS_PANDA.jobsActive4
    WHERE PandaID IN (:ids[]) AND jobStatus = 'transferring'
    ORDER BY PandaID
    FOR UPDATE
"""

QUEUED_REPORTS = """
    SELECT PandaID, attemptNr FROM ATLAS_PANDA.Job_Output_Report WHERE PandaID IN (:ids[])
"""

FAIL_OUTPUTS = """
    UPDATE ATLAS_PANDA.filesTable4 SET status = 'failed'
    WHERE PandaID IN (:ids[]) AND type IN ('output', 'log') AND status <> 'nooutput'
"""


@operation(timeout=120, repeatable=True)
def find_transferred_jobs(tx: Transaction, limit: int) -> list[JobSpec]:
    """Return jobs in ``transferring`` of which no output is under way any more and no report is queued."""
    ids = [row[0] for row in tx.rows(ALL_ARRIVED, n=limit)]
    return load_jobs(tx, ids, tables=(ACTIVE,), parameters=False) if ids else []


@operation(timeout=60)
def store_output_reports(tx: Transaction, reports: Sequence[OutputReport]) -> list[int]:
    """Queue reports for jobs that are still ``transferring`` in that attempt and have none; return these jobs."""
    ids = [report.PandaID for report in reports]
    if not ids:
        return []
    waiting = set(tx.rows(LOCK_TRANSFERRING, ids=ids)) - set(tx.rows(QUEUED_REPORTS, ids=ids))
    wanted = [report for report in reports if (report.PandaID, report.attemptNr) in waiting]
    tx.insert(
        "ATLAS_PANDA.Job_Output_Report",
        [
            {
                "PandaID": report.PandaID,
                "prodSourceLabel": report.prodSourceLabel,
                "jobStatus": report.jobStatus,
                "attemptNr": report.attemptNr,
                "data": report.data,
                "timeStamp": tx.now(),
            }
            for report in wanted
        ],
    )
    return [report.PandaID for report in wanted]


@operation(timeout=120)
def fail_overdue_transfers(tx: Transaction, hours: float, urgent_hours: float, limit: int) -> list[JobSpec]:
    """Fail production jobs whose outputs did not arrive in time; return them, with files, as they were before."""
    ids = tx.claim(
        "ATLAS_PANDA.jobsActive4",
        key="PandaID",
        limit=limit,
        where=(_TRANSFERRING, _OF_PRODUCTION, _OVERDUE, NO_REPORT),
        binds={"hours": hours, "urgent_hours": urgent_hours},
        order="PandaID",
    )
    if not ids:
        return []
    jobs = load_jobs(tx, ids, tables=(ACTIVE,), parameters=False)
    move_jobs(
        tx,
        ids,
        JobStatus.failed,
        by="datasetManager",
        locked=True,
        taskBufferErrorCode=EC_Transfer,
        taskBufferErrorDiag="the outputs did not arrive at their destination in time",
    )
    tx.change(FAIL_OUTPUTS, ids=ids)
    return jobs


@operation(timeout=60)
def take_assigned_jobs(tx: Transaction, seconds: float, limit: int) -> list[int]:
    """Return jobs in ``assigned`` whose input was not looked for in the last ``seconds``, and note that it is now."""
    ids = tx.claim(
        "ATLAS_PANDA.jobsDefined4",
        key="PandaID",
        limit=limit,
        where=("jobStatus = 'assigned'", _NOT_CHECKED),
        binds={"seconds": seconds},
        order=_URGENT_FIRST,
    )
    if ids:
        touch_jobs(tx, DEFINED, ids, prodDBUpdateTime=NOW)
    return ids
