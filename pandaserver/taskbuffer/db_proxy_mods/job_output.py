"""Output reports: the queue between a pilot's last word and the Adder's verdict."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, Final

from pandaserver.taskbuffer.db_proxy_mods.dataset import close_blocks
from pandaserver.taskbuffer.db_proxy_mods.event_end import settle_files
from pandaserver.taskbuffer.db_proxy_mods.event_verdict import settle_event_jobs
from pandaserver.taskbuffer.db_proxy_mods.job_library import set_library_file
from pandaserver.taskbuffer.db_proxy_mods.job_load import load_jobs
from pandaserver.taskbuffer.db_proxy_mods.job_move import move_jobs
from pandaserver.taskbuffer.db_proxy_mods.job_setup import dispatch_arrived
from pandaserver.taskbuffer.FileSpec import FILE_ATTRIBUTES
from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.reports import (
    FileResult,
    JobMeasures,
    OutputReport,
    ReportOrder,
    Settled,
    TakenReport,
    Verdict,
)
from pandaserver.taskbuffer.states import ACTIVE, ARCHIVED, JobStatus
from pandaserver.taskbuffer.transaction import Transaction

_RIPE: Final = "timeStamp <= CURRENT_TIMESTAMP - :grace * INTERVAL '1' SECOND"
_FREE: Final = "(lockedTime IS NULL OR lockedTime < CURRENT_TIMESTAMP - :lease * INTERVAL '1' SECOND)"
_OF_USERS: Final = "prodSourceLabel = 'user'"
_OF_OTHERS: Final = "(prodSourceLabel IS NULL OR prodSourceLabel <> 'user')"

#: Of two attempts of one job, another Adder may hold the other one.
LOCK_REPORTS = f"""
    UPDATE ATLAS_PANDA.Job_Output_Report SET lockedBy = :owner, lockedTime = CURRENT_TIMESTAMP
    WHERE PandaID IN (:ids[]) AND {_FREE}
"""

READ_REPORTS = """
    SELECT PandaID, attemptNr, jobStatus, data, timeStamp, prodSourceLabel
    FROM ATLAS_PANDA.Job_Output_Report
    WHERE PandaID IN (:ids[]) AND lockedBy = :owner
    ORDER BY timeStamp, PandaID, attemptNr
"""

OURS = """
    SELECT PandaID, attemptNr FROM ATLAS_PANDA.Job_Output_Report
    WHERE PandaID IN (:ids[]) AND lockedBy = :owner
    ORDER BY PandaID, attemptNr
    FOR UPDATE
"""

#: In the order in which everybody locks jobs, or a batch would meet others in a deadlock.
LOCK_JOBS = """
    SELECT PandaID FROM ATLAS_PANDA.jobsActive4 WHERE PandaID IN (:ids[]) ORDER BY PandaID FOR UPDATE
"""

RELEASE = """
    UPDATE ATLAS_PANDA.Job_Output_Report
    SET lockedBy = NULL, lockedTime = CURRENT_TIMESTAMP - :age * INTERVAL '1' SECOND
    WHERE PandaID IN (:ids[]) AND lockedBy = :owner
"""

HOLDERS = """
    SELECT DISTINCT lockedBy FROM ATLAS_PANDA.Job_Output_Report WHERE lockedBy LIKE :pattern
"""

RELEASE_ALL = """
    UPDATE ATLAS_PANDA.Job_Output_Report SET lockedBy = NULL, lockedTime = NULL WHERE lockedBy = :owner
"""

DELETE_REPORTS = """
    DELETE FROM ATLAS_PANDA.Job_Output_Report
    WHERE PandaID IN (:ids[]) AND attemptNr = :attemptNr AND lockedBy = :owner
"""

MEASURE = """
    UPDATE ATLAS_PANDA.jobsActive4
    SET nOutputDataFiles = :nOutputDataFiles, outputFileBytes = :outputFileBytes, nEvents = :nEvents,
        hs06 = :hs06, hs06sec = :hs06sec, endTime = COALESCE(endTime, CURRENT_TIMESTAMP)
    WHERE PandaID = :PandaID AND COALESCE(attemptNr, 0) = :attemptNr
"""

SET_FILE = """
    UPDATE ATLAS_PANDA.filesTable4
    SET status = :status, lfn = :lfn, GUID = :GUID, fsize = :fsize, md5sum = :md5sum, checksum = :checksum
    WHERE row_ID = :row_ID
"""

#: A pilot may have begun another attempt since the report was read.
_SAME_ATTEMPT: Final = "COALESCE(attemptNr, 0) = :attemptNr"

STILL_LIVE = """
    SELECT PandaID, COALESCE(attemptNr, 0) FROM ATLAS_PANDA.jobsActive4 WHERE PandaID IN (:ids[])
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
    tx.change_later(LOCK_REPORTS, ids=ids, owner=order.owner, lease=order.lease)
    reports = [OutputReport(*row) for row in tx.rows(READ_REPORTS, ids=ids, owner=order.owner)]
    jobs = {job.PandaID: job for job in load_jobs(tx, ids, tables=(ACTIVE, ARCHIVED), parameters=False, metadata=True)}
    return [TakenReport(report, jobs.get(report.PandaID)) for report in reports]


@operation(timeout=60)
def release_output_reports(tx: Transaction, ids: list[int], owner: str, retry_in: float, lease: float) -> int:
    """Give reports back so that they are taken again in ``retry_in`` seconds."""
    return tx.change(RELEASE, ids=ids, owner=owner, age=max(0.0, lease - retry_in))


@operation(timeout=60, repeatable=True)
def holders_of_output_reports(tx: Transaction, machine: str) -> list[str]:
    """Return the Adders of a machine that hold reports, or held them when they died."""
    return [owner for (owner,) in tx.rows(HOLDERS, pattern=f"{machine}-%")]


@operation(timeout=60)
def release_output_reports_of(tx: Transaction, owner: str) -> int:
    """Give back everything that an Adder holds. Should it live after all, its verdicts are ignored."""
    return tx.change(RELEASE_ALL, owner=owner)


@operation(timeout=60)
def settle_output_reports(tx: Transaction, owner: str, verdicts: list[Verdict]) -> Settled:
    """Carry out verdicts: job, files, datasets and report of each in one transaction.

    A verdict whose report is not ours any more is ignored: whoever took it over decides. One that does not fit the job
    any more changes nothing; its report goes, unless the job still lives in that attempt.
    """
    ours = set(tx.rows(OURS, ids=sorted({v.PandaID for v in verdicts}), owner=owner))
    held = [verdict for verdict in verdicts if (verdict.PandaID, verdict.attemptNr) in ours]
    if len(held) > 1:
        tx.rows(LOCK_JOBS, ids=[verdict.PandaID for verdict in held])
    tx.change_many(
        MEASURE, [{"PandaID": v.PandaID, "attemptNr": v.attemptNr, **_values(v.measures)} for v in held if v.measures]
    )
    became = settle_event_jobs(tx, [v for v in held if v.event_service and v.target is not None])
    moved = _move(tx, [v for v in held if not v.event_service]) | became.keys()
    done = [v for v in held if v.target is None or v.PandaID in moved]
    tx.change_many(SET_FILE, [_values(result) for v in done for result in v.files])
    _add_files(tx, [v for v in done if v.target is not None])
    if became:
        settle_files(tx, became)
    kept = _still_live(tx, [v for v in held if v.target is not None and v.PandaID not in moved])
    for attempt in {v.attemptNr for v in held}:
        ids = [v.PandaID for v in held if v.attemptNr == attempt and v.PandaID not in kept]
        if ids:
            tx.change_later(DELETE_REPORTS, ids=ids, attemptNr=attempt, owner=owner)
    blocks = {block.name: block for verdict in done for block in verdict.blocks}
    completed = close_blocks(tx, [blocks[name] for name in sorted(blocks)])
    finished = [v for v in done if v.target is JobStatus.finished]
    return Settled(
        tuple(sorted(moved)), completed, tuple(_release_waiting(tx, finished, completed)), tuple(sorted(kept))
    )


def _values(record: Any) -> dict[str, Any]:
    return {name: getattr(record, name) for name in _FIELDS[type(record)]}


_FIELDS: Final = {kind: tuple(f.name for f in fields(kind)) for kind in (FileResult, JobMeasures)}


def _move(tx: Transaction, verdicts: Sequence[Verdict]) -> set[int]:
    """Move jobs, many at once where they go the same way; values of their own are written before."""
    groups: dict[tuple[JobStatus, str, int, frozenset[tuple[str, Any]]], list[int]] = defaultdict(list)
    for v in sorted(verdicts, key=lambda v: v.PandaID):
        if v.target is not None:
            groups[v.target, v.by, v.attemptNr, frozenset(v.changes.items())].append(v.PandaID)
    moved: set[int] = set()
    for (target, by, attempt, changes), ids in groups.items():
        binds = {"attemptNr": attempt}
        moved.update(move_jobs(tx, ids, target, by=by, where=(_SAME_ATTEMPT,), binds=binds, **dict(changes)))
    return moved


def _still_live(tx: Transaction, unmoved: Sequence[Verdict]) -> set[int]:
    """Return the jobs of verdicts that did not apply although the job is where the report left it."""
    if not unmoved:
        return set()
    live: dict[int, int] = dict(tx.rows(STILL_LIVE, ids=[v.PandaID for v in unmoved]))
    return {v.PandaID for v in unmoved if live.get(v.PandaID) == v.attemptNr}


def _release_waiting(tx: Transaction, finished: Sequence[Verdict], completed: Sequence[str]) -> list[int]:
    """Activate the jobs that waited for what has just been completed.

    A library that no Setupper plug-in registered as a dataset is complete when its build job is.
    """
    names = {name for verdict in finished for name in verdict.awaited if name in completed}
    for library in (library for verdict in finished for library in verdict.libraries):
        if library.destinationDBlock:
            set_library_file(tx, library)
            names.add(library.destinationDBlock)
    return [pid for name in sorted(names) for pid in dispatch_arrived(tx, name)]


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
