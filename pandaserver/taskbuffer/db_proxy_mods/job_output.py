"""Output reports: the queue between a pilot's last word and the Adder's verdict."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from pandaserver.taskbuffer.db_proxy_mods.dataset import close_blocks
from pandaserver.taskbuffer.db_proxy_mods.job_load import load_jobs
from pandaserver.taskbuffer.db_proxy_mods.job_move import move_jobs
from pandaserver.taskbuffer.FileSpec import FILE_ATTRIBUTES
from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.reports import BlockOfJob, OutputReport, ReportOrder, Settled, TakenReport, Verdict
from pandaserver.taskbuffer.states import ACTIVE, ARCHIVED, JobStatus
from pandaserver.taskbuffer.transaction import Transaction

_RIPE: Final = "timeStamp <= CURRENT_TIMESTAMP - :grace * INTERVAL '1' SECOND"
_FREE: Final = "(lockedTime IS NULL OR lockedTime < CURRENT_TIMESTAMP - :lease * INTERVAL '1' SECOND)"
_OF_USERS: Final = "prodSourceLabel = 'user'"
_OF_OTHERS: Final = "(prodSourceLabel IS NULL OR prodSourceLabel <> 'user')"

LOCK_REPORTS = """
    UPDATE ATLAS_PANDA.Job_Output_Report SET lockedBy = :owner, lockedTime = CURRENT_TIMESTAMP
    WHERE PandaID IN (:ids[])
"""

READ_REPORTS = """
    SELECT PandaID, attemptNr, jobStatus, data, timeStamp, prodSourceLabel
    FROM ATLAS_PANDA.Job_Output_Report
    WHERE PandaID IN (:ids[])
    ORDER BY timeStamp, PandaID
"""

OURS = """
    SELECT PandaID FROM ATLAS_PANDA.Job_Output_Report
    WHERE PandaID IN (:ids[]) AND lockedBy = :owner
    ORDER BY PandaID
    FOR UPDATE
"""

RELEASE = """
    UPDATE ATLAS_PANDA.Job_Output_Report
    SET lockedBy = NULL, lockedTime = CURRENT_TIMESTAMP - :age * INTERVAL '1' SECOND
    WHERE PandaID IN (:ids[]) AND lockedBy = :owner
"""

DELETE_REPORTS = """
    DELETE FROM ATLAS_PANDA.Job_Output_Report
    WHERE PandaID = :PandaID AND attemptNr = :attemptNr AND lockedBy = :owner
"""

MEASURE = """
    UPDATE ATLAS_PANDA.jobsActive4
    SET nOutputDataFiles = :nOutputDataFiles, outputFileBytes = :outputFileBytes, nEvents = :nEvents,
        hs06 = :hs06, hs06sec = :hs06sec, endTime = COALESCE(endTime, CURRENT_TIMESTAMP)
    WHERE PandaID = :PandaID AND jobStatus IN ('holding', 'transferring')
"""

SET_FILE = """
    UPDATE ATLAS_PANDA.filesTable4
    SET status = :status, lfn = :lfn, GUID = :GUID, fsize = :fsize, md5sum = :md5sum, checksum = :checksum
    WHERE row_ID = :row_ID
"""


@operation(timeout=60)
def take_output_reports(tx: Transaction, order: ReportOrder) -> list[TakenReport]:
    """Lock up to ``order.limit`` free reports for one Adder and return them with their jobs, oldest first."""
    where = [_RIPE, _FREE]
    if order.user_jobs is not None:
        where.append(_OF_USERS if order.user_jobs else _OF_OTHERS)
    ids = tx.claim(
        "ATLAS_PANDA.Job_Output_Report",
        key="PandaID",
        limit=order.limit,
        where=where,
        binds={"grace": order.grace, "lease": order.lease},
        order="timeStamp, PandaID",
    )
    if not ids:
        return []
    tx.change(LOCK_REPORTS, ids=ids, owner=order.owner)
    reports = [OutputReport(*row) for row in tx.rows(READ_REPORTS, ids=ids)]
    jobs = {job.PandaID: job for job in load_jobs(tx, ids, tables=(ACTIVE, ARCHIVED), parameters=False, metadata=True)}
    return [TakenReport(report, jobs.get(report.PandaID)) for report in reports]


@operation(timeout=60)
def release_output_reports(tx: Transaction, ids: list[int], owner: str, retry_in: float, lease: float) -> int:
    """Give reports back so that they are taken again in ``retry_in`` seconds."""
    return tx.change(RELEASE, ids=ids, owner=owner, age=max(0.0, lease - retry_in))


@operation(timeout=60)
def settle_output_reports(tx: Transaction, owner: str, verdicts: list[Verdict]) -> Settled:
    """Carry out verdicts: job, files, datasets and report of each in one transaction.

    A verdict whose report is not ours any more is ignored: whoever took it over decides.
    """
    ours = {row[0] for row in tx.rows(OURS, ids=[v.PandaID for v in verdicts], owner=owner)}
    held = [verdict for verdict in verdicts if verdict.PandaID in ours]
    tx.change_many(MEASURE, [{"PandaID": v.PandaID, **asdict(v.measures)} for v in held if v.measures])
    moved = _move(tx, held)
    tx.change_many(SET_FILE, [asdict(r) for v in held if v.target is None or v.PandaID in moved for r in v.files])
    _add_files(tx, [v for v in held if v.PandaID in moved])
    tx.change_many(DELETE_REPORTS, [{"PandaID": v.PandaID, "attemptNr": v.attemptNr, "owner": owner} for v in held])
    blocks: dict[str, BlockOfJob] = {block.name: block for verdict in held for block in verdict.blocks}
    return Settled(tuple(sorted(moved)), close_blocks(tx, [blocks[name] for name in sorted(blocks)]))


def _move(tx: Transaction, verdicts: Sequence[Verdict]) -> set[int]:
    """Move jobs, many at once where they go the same way; values of their own are written before."""
    groups: dict[tuple[JobStatus, str, frozenset[tuple[str, Any]]], list[int]] = defaultdict(list)
    for verdict in sorted(verdicts, key=lambda v: v.PandaID):
        if verdict.target is not None:
            groups[verdict.target, verdict.by, frozenset(verdict.changes.items())].append(verdict.PandaID)
    moved: set[int] = set()
    for (target, by, changes), ids in groups.items():
        moved.update(move_jobs(tx, ids, target, by=by, **dict(changes)))
    return moved


def _add_files(tx: Transaction, verdicts: Sequence[Verdict]) -> None:
    """Store the outputs that a payload made in a number of its own choice."""
    new = [(verdict.PandaID, spec) for verdict in verdicts for spec in verdict.new_files]
    if not new:
        return
    rows = [{name: getattr(spec, name) for name in FILE_ATTRIBUTES} for _, spec in new]
    for row, (pid, _), row_id in zip(
        rows, new, tx.next_ids("ATLAS_PANDA.FILESTABLE4_ROW_ID_SEQ", len(new)), strict=True
    ):
        row |= {"row_ID": row_id, "PandaID": pid, "fsize": row["fsize"] or 0, "modificationTime": tx.now()}
    tx.insert("ATLAS_PANDA.filesTable4", rows)
