"""When a job counts as lost: which jobs each rule of the Watcher looks at, after how long, and what the job is told.

Rules and codes are those of the field (heartbeat, sent, holding and transferring time-outs); a job that is ``holding``
is never lost while its output report waits for the Adder.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pandaserver.taskbuffer.ErrorCode import (
    EC_Holding,
    EC_Recovery,
    EC_SendError,
    EC_Timeout,
    EC_Transferring,
    EC_Watcher,
)
from pandaserver.taskbuffer.JobSpec import JobSpec
from pandaserver.taskbuffer.states import JobStatus
from pandaserver.taskbuffer.time_limits import DEFAULTS

#: Names that one list of a statement holds.
LONGEST_LIST: Final = 1000

RUNNING_LIKE: Final = (JobStatus.starting, JobStatus.stagein, JobStatus.running, JobStatus.stageout)

ANALYSIS: Final = "prodSourceLabel IN ('user', 'panda')"
NOT_ANALYSIS: Final = "(prodSourceLabel IS NULL OR prodSourceLabel NOT IN ('user', 'panda'))"
#: Whoever has reported waits for the Adder, however slow that is: of the active table. (PostgreSQL reads all of a long
#: queue of reports again for each job if it is asked for with NOT IN.)
NO_REPORT: Final = "NOT EXISTS (SELECT 1 FROM ATLAS_PANDA.Job_Output_Report r WHERE r.PandaID = jobsActive4.PandaID)"


@dataclass(frozen=True, slots=True)
class LostRule:
    """Which jobs of the active table are lost. ``conditions`` are canonical SQL; ``minutes`` is the patience.

    Silence begins with the last change of the job, or with its end if ``since_end`` is given.
    """

    name: str
    statuses: tuple[JobStatus, ...]
    minutes: float
    conditions: tuple[str, ...] = ()
    since_end: bool = False
    sites: tuple[str, ...] | None = None  # only jobs of these queues
    except_sites: tuple[str, ...] = ()  # never jobs of these queues


def heartbeat_rules(
    analysis_hours: float, holding_hours: float, limits: Mapping[str, float] = DEFAULTS
) -> tuple[LostRule, ...]:
    """Return the rules that hold at every queue, in the order in which they are applied."""
    holding = (JobStatus.holding,)
    minutes = analysis_hours * 60
    return (
        LostRule("analysis heartbeat", RUNNING_LIKE, minutes, (ANALYSIS,)),
        LostRule("analysis transferring", (JobStatus.transferring,), minutes, (ANALYSIS, NO_REPORT)),
        LostRule("sent", (JobStatus.sent,), limits["sent"]),
        LostRule(
            "holding analysis",
            holding,
            limits["holding_analysis"],
            ("prodSourceLabel IN ('user', 'panda', 'ddm')", "stateChangeTime <> modificationTime", NO_REPORT),
            since_end=True,
        ),
        LostRule(
            "holding high priority",
            holding,
            limits["holding_priority"],
            ("currentPriority > 800", NO_REPORT),
            since_end=True,
        ),
        LostRule("holding", holding, holding_hours * 60, (NO_REPORT,), since_end=True),
    )


def too_old_rule(minutes: float) -> LostRule:
    """Return the rule for jobs that are too old to live and were not ended by being told to."""
    statuses = (JobStatus.sent, *RUNNING_LIKE, JobStatus.holding, JobStatus.transferring)
    old = "creationTime < CURRENT_TIMESTAMP - :minutes * INTERVAL '1' MINUTE"
    moves = "(jobStatus <> 'transferring' OR jobSubStatus IS NOT NULL OR prodSourceLabel IN ('user', 'panda'))"
    return LostRule("too old", statuses, minutes, (old, moves, NO_REPORT))


def production_rule(hours: float, except_sites: tuple[str, ...]) -> LostRule:
    """Return the heartbeat rule of production queues without a rule of their own."""
    return LostRule("production heartbeat", RUNNING_LIKE, hours * 60, (NOT_ANALYSIS,), except_sites=except_sites)


def workflow_rules(workflow: str, hours: float, sites: Sequence[str]) -> tuple[LostRule, ...]:
    """Return the heartbeat rules of the queues with that workflow, each for as many as one statement takes."""
    return tuple(
        LostRule(f"{workflow} heartbeat", RUNNING_LIKE, hours * 60, sites=tuple(some))
        for some in batched(sites, LONGEST_LIST)
    )


def reason_of_loss(job: JobSpec, rule: LostRule) -> tuple[int, str]:
    """Return the dispatcher error code of a lost job and the sentence that explains it."""
    last = f"{job.modificationTime:%Y-%m-%d %H:%M:%S}" if job.modificationTime else "never"
    if job.jobStatus == JobStatus.sent:
        return EC_SendError, f"no reply from the pilot within {rule.minutes:g} min"
    if job.exeErrorDiag or job.pilotErrorDiag:
        return EC_Recovery, f"recovery failed for {rule.minutes / 60:g} hours"
    if job.jobStatus == JobStatus.holding:
        return EC_Holding, f"timeout in holding; last heartbeat at {last}"
    if job.endTime is None:
        return EC_Watcher, f"heartbeat lost; last one at {last}"
    if job.jobStatus == JobStatus.transferring:
        return EC_Transferring, f"timeout in transferring; last heartbeat at {last}"
    return EC_Timeout, f"timeout in {job.jobStatus}; last heartbeat at {last}"


def batched(names: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """Return the names in pieces of at most ``size``."""
    return (names[start : start + size] for start in range(0, len(names), size))
