"""A queue as plain data: what brokerage, dispatch and submission ask about a site."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from pandaserver.taskbuffer.labels import ANALYSIS_LABELS, PRODUCTION_LABELS

#: Kinds of queues, by the jobs that they run.
QUEUE_TYPES: Final = ("production", "analysis", "unified", "special")

#: Whether a queue takes work.
QUEUE_STATUSES: Final = ("online", "offline", "test", "brokeroff", "paused")


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Storage endpoints of one queue for one activity, the preferred one first."""

    names: tuple[str, ...] = ()
    by_token: dict[str, str] = field(default_factory=dict)  # space token -> endpoint with the lowest order
    tapes: frozenset[str] = frozenset()

    @property
    def default(self) -> str | None:
        """The endpoint to use when nothing more is said, if there is one."""
        return self.names[0] if self.names else None


NO_ENDPOINTS: Final = Endpoints()


@dataclass(frozen=True, slots=True)
class SiteSpec:
    """One queue. Sizes are in MB and times in seconds unless the comment says otherwise; 0 is no limit."""

    sitename: str
    nickname: str = ""
    site: str = ""  # the experiment site that owns the queue
    type: str = "production"
    status: str = "online"
    cloud: str = "WORLD"  # the first one, if there are several
    region: str | None = None
    nucleus: str | None = None  # name of the site if it has that role
    corecount: int = 1  # cores a slot; 0 is told apart from None nowhere, so it is 1
    corepower: float = 0.0  # HS06 per core
    coreenergy: float = 0.0  # W per core
    memory: int = 0
    minrss: int = 0
    maxrss: int = 0
    meanrss: int = 0  # per core, wanted on average; read at queues to which jobs are pushed
    mintime: int = 0
    maxtime: int = 0
    maxwdir: int = 0  # scratch space
    maxinputsize: int = 0
    maxdiskio: int = 0  # kB/s
    space: int = 0  # GB
    pledgedcpu: int = 0  # -1: opportunistic
    transferringlimit: int = 0  # jobs
    resource_type: str | None = None
    workflow: str | None = None
    capability: str | None = None
    harvester: str | None = None
    jobseed: str | None = None
    fairsharepolicy: str | None = None
    priorityoffset: str | None = None  # group:value,...
    wnconnectivity: str | None = None
    direct_access_lan: bool = False
    direct_access_wan: bool = False
    pilot_owners: tuple[str, ...] = ()  # DNs that may run pilots here besides those of the roles
    catchall: tuple[str, ...] = ()  # flags
    resource_type_limits: dict[str, int] = field(default_factory=dict)  # workers by resource type
    input_endpoints: dict[str, Endpoints] = field(default_factory=dict)  # by scope
    output_endpoints: dict[str, Endpoints] = field(default_factory=dict)

    @property
    def is_online(self) -> bool:
        """Tell whether new jobs may be sent here by brokerage."""
        return self.status == "online"

    @property
    def is_unified(self) -> bool:
        """Tell whether this queue runs analysis and production."""
        return self.type == "unified" or self.has_flag("unifiedPandaQueue") or self.has_flag("grandly_unified")

    def has_flag(self, flag: str) -> bool:
        """Tell whether the catchall field names that flag, alone or with a value."""
        return any(word == flag or word.startswith(f"{flag}=") for word in self.catchall)

    def flag_value(self, flag: str) -> str | None:
        """Return the text after ``flag=`` in the catchall field."""
        return next((word.partition("=")[2] for word in self.catchall if word.startswith(f"{flag}=")), None)

    def runs_label(self, label: str | None) -> bool:
        """Tell whether jobs of that prodSourceLabel belong to this type of queue; other labels belong to all."""
        if self.is_unified or self.type == "special":
            return True
        if label in ANALYSIS_LABELS:
            return self.type == "analysis"
        return label not in PRODUCTION_LABELS or self.type == "production"

    def job_label(self, label: str | None) -> str:
        """Return ``user`` or ``managed``: which of the two a job of that prodSourceLabel counts as here."""
        if self.is_unified:
            return "user" if label in ANALYSIS_LABELS else "managed"
        return "user" if self.type == "analysis" else "managed"

    def endpoints(self, direction: str, analysis: bool = False) -> Endpoints:
        """Return the ``input`` or ``output`` endpoints: those for analysis if there are any, else the default ones."""
        by_scope = self.input_endpoints if direction == "input" else self.output_endpoints
        if analysis and "analysis" in by_scope:
            return by_scope["analysis"]
        return by_scope.get("default", NO_ENDPOINTS)


@dataclass(frozen=True, slots=True)
class RelationRow:
    """A queue's relation to one endpoint, with what matters of the endpoint."""

    queue: str
    endpoint: str
    scope: str
    roles: str
    token: str | None = None
    order_read: int = 0
    order_write: int = 0
    default_read: bool = False
    default_write: bool = False
    is_tape: bool = False
    blacklisted_read: bool = False
    blacklisted_write: bool = False


@dataclass(frozen=True, slots=True)
class SiteRows:
    """The site configuration as the database keeps it."""

    queues: tuple[tuple[str, str], ...] = ()  # queue name, its JSON
    owners: dict[str, str] = field(default_factory=dict)  # queue -> experiment site
    nuclei: frozenset[str] = frozenset()  # experiment sites with that role
    relations: tuple[RelationRow, ...] = ()


@dataclass(frozen=True, slots=True)
class QueueLoad:
    """How many jobs a queue has: those waiting for a slot, and those that have one."""

    queued: int = 0
    running: int = 0
