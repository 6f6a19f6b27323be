"""Counts of jobs as statistics show them: nested by whatever the reader asks for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

#: States that every queue has in statistics, at least with 0.
ALWAYS: Final = ("assigned", "activated", "running")
ALWAYS_WITH_ENDED: Final = (*ALWAYS, "finished", "failed")

#: Jobs in this state are none of a queue's any more.
LEFT_OUT: Final = "merging"


class JobCount(NamedTuple):
    """How many jobs are alike; what a job does not have is an empty text."""

    site: str
    cloud: str
    label: str
    processing_type: str
    resource_type: str
    status: str
    jobs: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Jobs as they were counted, unless it is the caller's turn to count them."""

    counts: list[JobCount] = field(default_factory=list)
    is_due: bool = False


@dataclass(frozen=True, slots=True)
class CountedJobs:
    """Which jobs an old client wants to have counted. A filter that is None is not applied."""

    labels: tuple[str, ...] | None = None
    working_groups: tuple[str, ...] | None = None
    country_groups: tuple[str, ...] | None = None
    min_priority: int | None = None
    only_predefined: bool = False  # their queue was named at submission
    with_ended: bool = False


def nested(counts: Iterable[JobCount], keys: Sequence[str], always: Sequence[str] = ()) -> dict[str, Any]:
    """Return jobs by the named attributes in turn and then by status; ``always`` are states that none lacks."""
    found: dict[str, Any] = {}
    for count in counts:
        if count.status == LEFT_OUT:
            continue
        level = found
        for key in keys:
            level = level.setdefault(getattr(count, key), {})
        if not level:
            level.update(dict.fromkeys(always, 0))
        level[count.status] = level.get(count.status, 0) + count.jobs
    return found
