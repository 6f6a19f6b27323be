"""When jobs of tasks are taken back from a queue so that their task can place them elsewhere: the rules without SQL."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pandaserver.taskbuffer.states import JobStatus
from pandaserver.taskbuffer.time_limits import is_limit

#: Component of the table CONFIG.
COMPONENT: Final = "rebroker"

#: Jobs that wait at a queue, as fast rebrokerage counts and takes them.
QUEUED: Final = (JobStatus.defined, JobStatus.assigned, JobStatus.activated, JobStatus.starting)

#: Queues in these states start nothing: their users' jobs are not kept waiting.
NOT_STARTING: Final = frozenset({"offline", "test"})

_RATIO: Final = "FAST_REBRO_THRESHOLD_NQNR_RATIO"
_FRACTION: Final = "FAST_REBRO_THRESHOLD_NQUEUE_FRAC"
_PER_SHARE: Final = "FAST_REBRO_THRESHOLD_NQUEUE_"
_DRY_LIMIT: Final = 10.0

#: Hours.
_USERS_WAIT: Final = "ANALY_TIMEOUT"
_USERS_DEFAULT: Final = 12.0


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many jobs of a share wait and run at a queue."""

    site: str
    share: str
    queued: int
    running: int


@dataclass(frozen=True, slots=True)
class Excess:
    """Jobs of a share that are too many at a queue. In a ``dry_run`` they are told, not taken."""

    site: str
    share: str
    jobs: int
    dry_run: bool


@dataclass(frozen=True, slots=True)
class JobGroup:
    """Jobs that one user sent to a queue for one task by one submission."""

    user: str
    job_definition_id: int | None
    site: str
    task: int
    working_group: str | None
    waited: float  # hours since the first of them could begin


def excesses(counts: Iterable[Waiting], parameters: Mapping[str, Any]) -> list[Excess]:
    """Return where a queue has far more jobs of a share than it starts: more than ``ratio`` times those that run,
    more than the limit of the share, and more than a fraction of all that wait in this share.

    Only so many jobs are in excess that one of the three does not hold any more.
    """
    ratio, fraction = _limit(parameters, _RATIO, 3.0), _limit(parameters, _FRACTION, 0.3)
    counts = list(counts)
    queued: dict[str, int] = defaultdict(int)
    for count in counts:
        queued[count.share] += count.queued
    found = []
    for count in counts:
        name = f"{_PER_SHARE}{count.share}"
        limit = _limit(parameters, name, _DRY_LIMIT)
        least = max(count.running * ratio, limit, queued[count.share] * fraction)
        excess = count.queued - int(least)
        if count.queued > least and excess > 0:
            found.append(Excess(count.site, count.share, excess, dry_run=not is_limit(parameters.get(name))))
    return found


def users_patience(working_group: str | None, parameters: Mapping[str, Any]) -> float:
    """Return the hours that users' jobs wait at a queue before they are taken back."""
    general = _limit(parameters, _USERS_WAIT, _USERS_DEFAULT)
    return _limit(parameters, f"{_USERS_WAIT}_{working_group}", general) if working_group else general


def unusable(parameters: Mapping[str, Any]) -> list[str]:
    """Return the parameters that are no limit: they do not count, since one of nothing would take all jobs back."""
    names = (_RATIO, _FRACTION, _PER_SHARE, _USERS_WAIT)
    return sorted(name for name, value in parameters.items() if name.startswith(names) and not is_limit(value))


def _limit(parameters: Mapping[str, Any], name: str, default: float) -> float:
    value = parameters.get(name)
    return float(value) if is_limit(value) else default


def waits_too_long(group: JobGroup, queue_status: str, parameters: Mapping[str, Any]) -> bool:
    """Tell whether a group that stands still is to go elsewhere."""
    return queue_status in NOT_STARTING or group.waited > users_patience(group.working_group, parameters)
