"""Debug mode of jobs: who may switch it, when, and for how many jobs at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pandaserver.srvcore.principal import first_cn
from pandaserver.taskbuffer.job_flags import has_flag
from pandaserver.taskbuffer.kill import Killer, ends_with_group
from pandaserver.taskbuffer.states import JobStatus

S = JobStatus

#: States in which a job can be told.
DEBUGGABLE: Final = (S.defined, S.assigned, S.activated, S.sent, S.starting, S.running)

#: Jobs that may be in debug mode at the same time. Production has no limit.
OF_ONE_USER: Final = 3
OF_ONE_GROUP: Final = 10

#: What clients compare the answer with.
SUCCEEDED: Final = "Succeeded"


@dataclass(frozen=True, slots=True)
class DebugTarget:
    """What the rules need to know of a job; fields are columns."""

    PandaID: int
    jobStatus: str
    prodUserID: str | None = None
    prodUserName: str | None = None
    workingGroup: str | None = None
    specialHandling: str | None = None

    @property
    def is_debugged(self) -> bool:
        """Whether the job is in debug mode already."""
        return has_flag(self.specialHandling, "debug")


@dataclass(frozen=True, slots=True)
class Allowance:
    """Whose jobs in debug mode are counted, and how many there may be."""

    limit: int
    user: str | None = None  # prodUserName
    group: str | None = None  # workingGroup


#: The allowance of production.
UNLIMITED: Final = Allowance(0)


def allowance(caller: Killer, job: DebugTarget) -> Allowance | None:
    """Return how many jobs the caller may debug beside this one; None: this job is not the caller's to debug."""
    if caller.is_production:
        return UNLIMITED
    if caller.dn and job.prodUserID and first_cn(caller.dn) == first_cn(job.prodUserID):
        return Allowance(OF_ONE_USER, user=job.prodUserName)
    if job.workingGroup and ends_with_group(job.workingGroup, caller.groups):
        return Allowance(OF_ONE_GROUP, group=job.workingGroup)
    return None


def refusal_of_status(job: DebugTarget) -> str | None:
    """Return why a job in that state cannot be told, None if it can."""
    if S(job.jobStatus) in DEBUGGABLE:
        return None
    allowed = ", ".join(DEBUGGABLE)
    return f"cannot change the debug mode of PandaID={job.PandaID}: it is {job.jobStatus}, which is none of {allowed}"
