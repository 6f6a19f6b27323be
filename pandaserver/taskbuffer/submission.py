"""What a submission says and what comes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from pandaserver.taskbuffer.JobSpec import JobSpec
from pandaserver.taskbuffer.SiteSpec import SiteSpec

#: Most jobs that one submission may hold unless the configuration says otherwise; more refuse the request.
MAX_JOBS: Final = 5000


@dataclass(frozen=True, slots=True)
class Submitter:
    """Who submits: the bare DN, the clean name derived from it, and the attributes that came with it."""

    dn: str
    name: str
    fqans: tuple[str, ...] = ()
    vo: str = ""  # as the credential names it
    host: str | None = None
    is_production: bool = False
    email: str = ""  # as the credential names it; the user's, if none is known yet


@dataclass(frozen=True, slots=True)
class Submission:
    """Jobs that come together and are stored together, or not at all."""

    jobs: Sequence[JobSpec]
    submitter: Submitter
    pending: bool = False  # stored as pending: the task layer releases them
    queues: Mapping[str, SiteSpec] = field(default_factory=dict)  # those that the jobs name
    max_jobs: int = MAX_JOBS
    unknown_queues: frozenset[str] = frozenset()  # names among those that no queue has; the Setupper judges them
    nothing_to_prepare: Mapping[str, bool] = field(default_factory=dict)  # of the Setupper plug-in, by VO; "any"


@dataclass(frozen=True, slots=True)
class StoredJob:
    """One line of the reply. ``jobsetID`` is given for user-type labels, else ``jobName``."""

    PandaID: int
    jobDefinitionID: int
    jobsetID: int | None
    jobName: str | None
    has_jobset: bool

    def reply(self) -> tuple[int, int, dict[str, int | None] | str | None]:
        """Return the historical tuple."""
        return self.PandaID, self.jobDefinitionID, {"jobsetID": self.jobsetID} if self.has_jobset else self.jobName


@dataclass(frozen=True, slots=True)
class Submitted:
    """What was stored, in the order of the submission, and which of it a Setupper has to prepare."""

    jobs: tuple[StoredJob, ...] = ()
    to_set_up: tuple[int, ...] = ()
    is_banned: bool = False
