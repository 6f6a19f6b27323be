"""Killing jobs: what each code means, who may use it, and what a request and its rules look like."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pandaserver.srvcore.principal import first_cn
from pandaserver.taskbuffer import ErrorCode
from pandaserver.taskbuffer.labels import ANALYSIS_LABELS
from pandaserver.taskbuffer.states import JobStatus


@dataclass(frozen=True, slots=True)
class KillCode:
    """One row of the table of kill codes."""

    meaning: str
    target: JobStatus = JobStatus.cancelled
    error: int = ErrorCode.EC_Kill
    sub_status: str | None = None
    repeats: bool = False  # also for a job that is marked already
    forces: bool = False  # ends a running job without waiting for its pilot, see ``ends_running``


_REASSIGNED: Final = "toreassign"

CODES: Final[Mapping[int, KillCode]] = {
    2: KillCode("expired", JobStatus.closed, ErrorCode.EC_Expire, _REASSIGNED, repeats=True),
    3: KillCode("aborted by an external interface", error=ErrorCode.EC_Aborted),
    4: KillCode("expired while waiting", JobStatus.closed, ErrorCode.EC_Expire, _REASSIGNED),
    7: KillCode("retried by the server", error=ErrorCode.EC_Retried),
    8: KillCode("rebrokerage", error=ErrorCode.EC_Reassigned),
    9: KillCode("killed by force", repeats=True, forces=True),
    10: KillCode("fast rebrokerage", JobStatus.closed, ErrorCode.EC_FastRebrokerage, repeats=True),
    50: KillCode("killed by the task layer"),
    51: KillCode("reassigned by the task layer", JobStatus.closed, sub_status=_REASSIGNED, repeats=True),
    52: KillCode("killed by the task layer by force", repeats=True, forces=True),
    55: KillCode("the task is almost done", JobStatus.closed, sub_status="taskdone"),
    60: KillCode("the pilot ended it without work", JobStatus.closed, repeats=True),
    91: KillCode("killed by a production role"),
    99: KillCode("killed by a production role by force", repeats=True, forces=True),
}

#: A kill without a code, or with one that nobody knows.
PLAIN: Final = KillCode("killed")

#: Code that leaves no command in the job.
REBROKERAGE: Final = 8

#: Code that marks failed jobs as retried instead of killing.
RETRIED: Final = 7

#: Codes by which a production role may kill the jobs of users.
FOR_USERS_JOBS: Final = frozenset({2, 4, 7, 8, 9, 10, 50, 51, 52, 91, 99})

#: Kill flag in commandToPilot.
TO_BE_KILLED: Final = "tobekilled"

#: Labels of jobs that the forced codes of production end while they run.
_FORCIBLE: Final = frozenset({"managed", "test", None})
_FORCED_BY_PRODUCTION: Final = 99


@dataclass(frozen=True, slots=True)
class Killer:
    """Who asks: a DN, or the system itself."""

    dn: str = ""
    name: str = ""
    is_production: bool = False
    groups: tuple[str, ...] = ()  # working groups in which the caller has the production role
    is_system: bool = False


@dataclass(frozen=True, slots=True)
class KillRequest:
    """Which jobs, by whom, why. ``diag`` replaces the text that the code implies, ``sub_status`` what it sets."""

    ids: tuple[int, ...]
    killer: Killer
    code: int | None = None
    diag: str | None = None
    sub_status: str | None = None
    keep_unmerged: bool = False  # event service: what has been processed is kept
    statuses: frozenset[JobStatus] | None = None  # only jobs that are still in one of these

    @property
    def rule(self) -> KillCode:
        """What the code says."""
        return CODES.get(self.code, PLAIN) if self.code is not None else PLAIN

    @property
    def reason(self) -> str:
        """What the job is told."""
        if self.diag:
            return self.diag
        by = f" by {self.killer.name}" if self.killer.name else ""
        return f"{self.rule.meaning}{by}"


@dataclass(frozen=True, slots=True)
class KillTarget:
    """What the rules need to know of a job."""

    PandaID: int
    status: JobStatus
    owner: str | None
    label: str | None
    working_group: str | None
    command: str | None
    event_service: int | None = None

    @property
    def is_special(self) -> bool:
        """Tell whether it is a job that no pilot would end: event service, or waiting for a merge."""
        return bool(self.event_service) or self.status is JobStatus.merging


def may_kill(request: KillRequest, job: KillTarget) -> bool:
    """Tell whether the caller may do that to the job."""
    killer = request.killer
    if killer.is_system:
        return True
    if killer.is_production and (job.label not in ANALYSIS_LABELS or request.code in FOR_USERS_JOBS):
        return True
    if job.label in ("managed", "test") and ends_with_group(job.working_group, killer.groups):
        return True
    return bool(killer.dn) and bool(job.owner) and first_cn(killer.dn) == first_cn(job.owner or "")


def ends_with_group(working_group: str | None, groups: tuple[str, ...]) -> bool:
    """Tell whether a job's working group is one of those groups."""
    found = working_group or ""
    return any(re.search(rf"(?:^|_){re.escape(group)}$", found, re.IGNORECASE) for group in groups)


def is_wanted(request: KillRequest, job: KillTarget) -> bool:
    """Tell whether the request is about a job in that state; marking jobs as retried is about failed ones only."""
    if request.code == RETRIED:
        return job.status is JobStatus.failed
    return request.statuses is None or job.status in request.statuses


def is_repeated(request: KillRequest, job: KillTarget) -> bool:
    """Tell whether the job has been told already, so that telling it again does nothing."""
    return job.command == TO_BE_KILLED and not request.rule.repeats and not job.is_special


def ends_at_once(request: KillRequest, job: KillTarget) -> bool:
    """Tell whether the job ends now. A running one ends when its pilot hears of it, unless it is forced."""
    if job.status is not JobStatus.running or job.is_special:
        return True
    if not request.rule.forces:
        return False
    if request.code == _FORCED_BY_PRODUCTION:
        return request.killer.is_production or request.killer.is_system
    return job.label in _FORCIBLE
