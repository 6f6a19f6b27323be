"""Heartbeats: what pilots say about their jobs, and what they are told in return."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, Final

from pandaserver.srvcore.errors import DuplicateKey
from pandaserver.taskbuffer.db_proxy_mods.event_clone import begins
from pandaserver.taskbuffer.db_proxy_mods.job_move import NOW, Sql, move_jobs, touch_locked
from pandaserver.taskbuffer.db_proxy_mods.pilot_retry import repeat
from pandaserver.taskbuffer.db_proxy_mods.secret import secrets_of
from pandaserver.taskbuffer.db_proxy_mods.worker import element_of, touch_link
from pandaserver.taskbuffer.ErrorCode import EC_INVALID_BATCH_ID
from pandaserver.taskbuffer.heartbeats import (
    BY_PILOT,
    JobRow,
    Verdict,
    declared_diag,
    incoming_status,
    judge,
    may_repeat,
    stored_command,
)
from pandaserver.taskbuffer.job_flags import EVENT_SERVICE_MERGE, JOB_CLONING
from pandaserver.taskbuffer.kill import TO_BE_KILLED
from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.requests import Reception, StatusReport, UpdateOutcome
from pandaserver.taskbuffer.states import ACTIVE, LIVE_TABLES, JobStatus
from pandaserver.taskbuffer.transaction import Transaction

S = JobStatus

#: Longest text that the debug table takes.
STDOUT_LIMIT: Final = 2048

#: Seconds for which the last start at a queue need not be written again: thousands of starts share two rows.
LASTSTART_STEP: Final = 60

_END_IF_UNSET: Final = Sql("COALESCE(endTime, CURRENT_TIMESTAMP)")

LOCK: Final = f"""
    SELECT {", ".join(f.name for f in fields(JobRow))} FROM ATLAS_PANDA.jobsActive4
    WHERE PandaID IN (:ids[])
    ORDER BY PandaID
    FOR UPDATE
"""

KNOWN: Final = " UNION ALL ".join(
    f"SELECT PandaID FROM ATLAS_PANDA.{table} WHERE PandaID = :PandaID" for table in LIVE_TABLES
)

HAS_METADATA: Final = "SELECT 1 FROM ATLAS_PANDA.metaTable WHERE PandaID = :PandaID"

STARTED: Final = """
    UPDATE ATLAS_PANDAMETA.SiteData SET laststart = CURRENT_TIMESTAMP
    WHERE site = :site AND hours = 3 AND flag IN ('production', 'analysis')
      AND (laststart IS NULL OR laststart < CURRENT_TIMESTAMP - :seconds * INTERVAL '1' SECOND)
"""


@operation(timeout=60)
def report_status(tx: Transaction, report: StatusReport) -> UpdateOutcome:
    """Take one heartbeat: job, metadata, log tail and final report are one commit."""
    return _take(tx, report, _lock(tx, [report.PandaID]).get(report.PandaID))


@operation(timeout=120)
def report_statuses(tx: Transaction, reports: Sequence[StatusReport]) -> list[UpdateOutcome]:
    """Take many heartbeats, in order, and answer each; all are one commit.

    Rows are locked in the order of their identifiers, so that two calls on the same jobs wait for each other instead of
    meeting in a deadlock.
    """
    rows = _lock(tx, sorted({report.PandaID for report in reports}))
    more = Counter(report.PandaID for report in reports)
    outcomes = []
    for report in reports:
        outcomes.append(_take(tx, report, rows.get(report.PandaID)))
        more[report.PandaID] -= 1
        if more[report.PandaID]:  # the next report must see what this one did
            rows |= _lock(tx, [report.PandaID])
    return outcomes


def _lock(tx: Transaction, ids: Sequence[int]) -> dict[int, JobRow]:
    return {row[0]: JobRow(*row) for row in tx.rows(LOCK, ids=list(ids))}


def _take(tx: Transaction, report: StatusReport, row: JobRow | None) -> UpdateOutcome:
    """Do what the verdict on a heartbeat says. For a sender who is limited to a queue there are no jobs elsewhere."""
    if row is None or report.queue not in (None, row.computingSite):
        # Metadata of a job that nobody knows is an error of the sender; without metadata it is told to stop.
        unknown = report.meta_data and tx.one(KNOWN, PandaID=report.PandaID) is None
        return _rejected(report, Reception.unknown_job if unknown else Reception.rejected)
    verdict = judge(row, report)
    match verdict:
        case Verdict.reject:
            return _rejected(report, Reception.rejected)
        case Verdict.second_pilot:
            _mark_second_pilot(tx, row, report)
            return _rejected(report, Reception.rejected)
        case Verdict.already_done:
            return UpdateOutcome(report.PandaID, Reception.already_done, Reception.already_done.value)
    if report.stdout:
        tx.upsert("ATLAS_PANDA.jobsDebug", {"PandaID": row.PandaID}, {"stdOut": report.stdout[:STDOUT_LIMIT]})
    if report.meta_data and report.status != "failed":
        _keep_metadata(tx, row.PandaID, report.meta_data)
    if _loses_race(tx, row, report, verdict):
        return _rejected(report, Reception.rejected)
    if verdict is not Verdict.ignore:
        _apply(tx, row, report, verdict)
    command = stored_command(row)
    return UpdateOutcome(
        report.PandaID,
        Reception.ignored if verdict is Verdict.ignore else Reception.applied,
        command,
        _pilot_secrets(tx) if command and "debug" in command else None,
    )


def _loses_race(tx: Transaction, row: JobRow, report: StatusReport, verdict: Verdict) -> bool:
    """Tell whether a job that begins is a clone whose work another one does already; it has been closed then."""
    begins_now = verdict is Verdict.move and incoming_status(report) is S.running
    return begins_now and row.eventService == JOB_CLONING and not begins(tx, row.PandaID, row.specialHandling)


def _rejected(report: StatusReport, reception: Reception) -> UpdateOutcome:
    return UpdateOutcome(report.PandaID, reception, TO_BE_KILLED if reception is Reception.rejected else None)


def _apply(tx: Transaction, row: JobRow, report: StatusReport, verdict: Verdict) -> None:
    """Write a heartbeat to the job and to what depends on it."""
    if may_repeat(row, report):
        repeat(tx, row)
        return
    target = incoming_status(report)
    changes = {**report.columns, **_times_and_marks(tx, row, report, target)}
    if verdict is Verdict.move:
        _tell_others(tx, row, target, changes)
        move_jobs(tx, [row.PandaID], target, by=BY_PILOT, locked=True, **changes)
    else:
        touch_locked(tx, ACTIVE, row.PandaID, modificationTime=NOW, **changes)
    if report.corrupted_files and row.eventService == EVENT_SERVICE_MERGE:
        _add_corrupted_files(tx, row.PandaID, report.corrupted_files)
    if report.is_final:
        _store_report(tx, row, report)


def _times_and_marks(tx: Transaction, row: JobRow, report: StatusReport, target: JobStatus) -> dict[str, Any]:
    """Return the columns that follow from the status itself; times that the pilot gave win."""
    found: dict[str, Any] = {}
    ends = target is S.holding or (target is S.transferring and row.jobStatus == S.running)
    if ends and "endTime" not in report.columns:
        found["endTime"] = _END_IF_UNSET
    if target is S.running and row.jobStatus in (S.sent, S.starting) and "startTime" not in report.columns:
        found["startTime"] = NOW
    if report.is_final:
        found |= {"jobDispatcherErrorDiag": None, "stateChangeTime": NOW}
    elif target in (S.holding, S.transferring):
        found["jobDispatcherErrorDiag"] = declared_diag(target, tx.now())
    return found


def _tell_others(tx: Transaction, row: JobRow, target: JobStatus, changes: dict[str, Any]) -> None:
    """Keep worker and queue informed when a job begins; its real computing element is known from now on."""
    if row.jobStatus not in (S.sent, S.starting) or target not in (S.starting, S.running):
        return
    element = element_of(tx, row.PandaID)
    if element:
        changes["computingElement"] = element
    if target is S.running:
        touch_link(tx, row.PandaID)
        tx.change_later(STARTED, site=row.computingSite, seconds=LASTSTART_STEP)


def _mark_second_pilot(tx: Transaction, row: JobRow, report: StatusReport) -> None:
    diag = f"got an update from batch id {report.columns['batchID']} while {row.batchID} runs the job"
    touch_locked(tx, ACTIVE, row.PandaID, supErrorCode=EC_INVALID_BATCH_ID, supErrorDiag=diag)


def _keep_metadata(tx: Transaction, panda_id: int, text: str) -> None:
    """Store metadata unless there is some: the first report wins."""
    if tx.one(HAS_METADATA, PandaID=panda_id) is None:
        tx.insert("ATLAS_PANDA.metaTable", [{"PandaID": panda_id, "metaData": text}])


def _store_report(tx: Transaction, row: JobRow, report: StatusReport) -> None:
    """Leave the final report for the Adder; an empty one, too, because its existence is what starts the Adder.

    It carries the attempt of the job, which a report without a number has been taken to mean.
    """
    values: Mapping[str, Any] = {
        "PandaID": row.PandaID,
        "prodSourceLabel": row.prodSourceLabel,
        "jobStatus": report.status,
        "attemptNr": row.attemptNr,
        "data": report.output_report,
        "timeStamp": tx.now(),
    }
    try:
        with tx.savepoint():
            tx.insert("ATLAS_PANDA.Job_Output_Report", [values])
    except DuplicateKey:
        return  # whoever ended this attempt first has the last word


def _add_corrupted_files(tx: Transaction, panda_id: int, lfns: Sequence[str]) -> None:
    row_ids = tx.next_ids("ATLAS_PANDA.FILESTABLE4_ROW_ID_SEQ", len(lfns))
    now = tx.now()
    tx.insert(
        "ATLAS_PANDA.filesTable4",
        [
            {
                "row_ID": row_id,
                "PandaID": panda_id,
                "lfn": lfn,
                "type": "zipinput",
                "status": "corrupted",
                "modificationTime": now,
            }
            for row_id, lfn in zip(row_ids, lfns, strict=True)
        ],
    )


def _pilot_secrets(tx: Transaction) -> str | None:
    owner = tx.settings.pilot_secrets_owner
    return secrets_of(tx, [owner]).get(owner)
