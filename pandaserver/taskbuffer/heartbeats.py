"""What a heartbeat does to a job: the table of states and reports, as a function of plain values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Final

from pandaserver.taskbuffer.job_flags import has_flag
from pandaserver.taskbuffer.kill import TO_BE_KILLED
from pandaserver.taskbuffer.labels import USER_LABELS
from pandaserver.taskbuffer.requests import StatusReport
from pandaserver.taskbuffer.states import JobStatus, sources_of

S = JobStatus

#: Actor of all transitions that pilots cause.
BY_PILOT: Final = "JobDispatcher"

#: pilotErrorCode values after which a user's first attempt is repeated although the pilot does not ask for it.
REPEATED_ONCE: Final = frozenset({1200, 1201, 1213})

#: taskBufferErrorCode values of jobs that another attempt has replaced already.
REPLACED: Final = frozenset({105, 106, 107})

#: processingType of test jobs that watch a queue: their failures count, so they are not repeated; with one exception.
HEALTH_CHECKS: Final = ("gangarobot", "hammercloud")
REPEATED_CHECK: Final = "gangarobot-rctest"


@dataclass(frozen=True, slots=True)
class JobRow:
    """What judging a heartbeat needs of the job; fields are columns of the active table."""

    PandaID: int
    jobStatus: str
    attemptNr: int = 0
    maxAttempt: int = 0
    commandToPilot: str | None = None
    specialHandling: str | None = None
    jobDispatcherErrorDiag: str | None = None
    batchID: str | None = None
    prodSourceLabel: str | None = None
    processingType: str | None = None
    computingSite: str | None = None
    lockedby: str | None = None
    eventService: int | None = None
    taskBufferErrorCode: int = 0
    currentPriority: int = 0


class Verdict(Enum):
    """What to do with a heartbeat."""

    reject = "reject"  # not the job that this pilot runs
    already_done = "already_done"
    ignore = "ignore"
    second_pilot = "second_pilot"
    touch = "touch"  # the status stays
    move = "move"


def incoming_status(report: StatusReport) -> JobStatus:
    """Return the status that a report asks for: the Adder alone says finished or failed."""
    return S.holding if report.is_final else S(report.status)


def judge(row: JobRow, report: StatusReport) -> Verdict:
    """Tell what a heartbeat does to a job, in the order of the protocol's table."""
    status, incoming = S(row.jobStatus), incoming_status(report)
    declared = row.jobDispatcherErrorDiag is not None  # by the pilot: outputs are being recovered, nothing is final
    if report.attempt_nr is not None and report.attempt_nr != row.attemptNr:
        return Verdict.reject
    if status is S.transferring and incoming is S.holding and not declared:
        return Verdict.already_done
    if status is S.holding and incoming is S.holding:
        if not report.is_final:
            return Verdict.ignore
        if not declared:
            return Verdict.already_done
    if status is S.merging or (status in (S.holding, S.transferring) and incoming in (S.running, S.starting)):
        return Verdict.ignore
    if _other_batch(row.batchID, report.columns.get("batchID")):
        return Verdict.second_pilot
    return _step(status, incoming)


def _step(status: JobStatus, incoming: JobStatus) -> Verdict:
    if status is incoming or (incoming is S.starting and status in (S.running, S.stageout)):
        return Verdict.touch
    if status in sources_of(incoming, BY_PILOT):
        return Verdict.move
    # A push system cannot take a job back from holding. Whatever is left is not with a pilot, as after a retry.
    return Verdict.ignore if status is S.holding else Verdict.reject


def _other_batch(stored: str | None, reported: str | None) -> bool:
    """Tell whether two batch ids betray two pilots; numbers alone are reused by batch systems, so they do not."""
    if not stored or not reported or stored == reported:
        return False
    return not stored.isdigit() and not reported.isdigit()


def may_repeat(row: JobRow, report: StatusReport) -> bool:
    """Tell whether the final report of a failed payload leads to another attempt of the same job."""
    if (
        report.status != "failed"
        or report.attempt_nr is None
        or S(row.jobStatus) not in sources_of(S.activated, BY_PILOT)
    ):
        return False
    asked = report.asks_retry or (
        row.prodSourceLabel == "user" and row.attemptNr < 2 and report.columns.get("pilotErrorCode") in REPEATED_ONCE
    )
    kind = row.processingType or ""
    return (
        asked
        and row.prodSourceLabel in USER_LABELS
        and not row.eventService  # another consumer takes what is left
        and row.lockedby != "jedi"  # the task layer counts the attempts of its inputs and repeats jobs itself
        and row.maxAttempt > row.attemptNr
        and (kind == REPEATED_CHECK or not kind.startswith(HEALTH_CHECKS))
        and row.commandToPilot != TO_BE_KILLED
        and row.taskBufferErrorCode not in REPLACED
    )


def stored_command(row: JobRow) -> str | None:
    """Return what waits for the pilot of this job."""
    words = ["debug"] if has_flag(row.specialHandling, "debug") else []
    if row.commandToPilot:
        words.append(row.commandToPilot)
    return ",".join(words) or None


def declared_diag(status: JobStatus, now: datetime) -> str:
    """Return the mark of a status that the pilot declared itself, which is not the end."""
    return f"set to {status} by the pilot at {now:%Y-%m-%d %H:%M:%S}"
