"""The priority that a new job starts with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from pandaserver.taskbuffer.job_flags import has_flag
from pandaserver.taskbuffer.JobSpec import JobSpec
from pandaserver.taskbuffer.labels import INSTALL

INSTALL_PRIORITY: Final = 4100
TEST_USER_PRIORITY: Final = 7000
EXPRESS_RUN_PRIORITY: Final = 6000
EXPRESS_BUILD_PRIORITY: Final = 6500
BUILD_PRIORITY: Final = 2000
USER_PRIORITY: Final = 1000

#: From this priority on a user's job keeps what it asks for.
KEPT_PRIORITY: Final = 1500

#: What super users get in front of their groups' jobs.
SUPER_OFFSET: Final = 2000

#: Jobs of a user in the queues for which that user's next job loses one unit.
JOBS_PER_UNIT: Final = 5

#: Express jobs that one user may have, less the hours that such jobs have run in the last EXPRESS_WINDOW hours.
EXPRESS_QUOTA: Final = 3
EXPRESS_WINDOW: Final = 6

_MERGE_TYPES: Final = frozenset({"usermerge", "pmerge"})
_HEALTH_CHECKS: Final = ("hammercloud", "gangarobot", "hammercloud-fax")


@dataclass(frozen=True, slots=True)
class Terms:
    """How the priority of a user's jobs is computed. ``serial`` counts the user's jobs before this submission."""

    offset: int = 0
    serial: int = 0
    reduced: bool = True  # by the length of the user's queue


@dataclass(frozen=True, slots=True)
class Boost:
    """A user (or the members of a working group) whose jobs get a priority of their own."""

    name: str
    kind: str  # user or group
    priority: int
    until: date | None = None

    def applies(self, user: str, group: str | None, today: date) -> bool:
        """Tell whether jobs of that user in that group are boosted today."""
        if self.until is not None and today > self.until:
            return False
        return self.name == (group if self.kind == "group" else user)


def boosts_from(text: str) -> tuple[Boost, ...]:
    """Read ``name:type:priority:expiration`` items, the last as YYYYMMDD or empty. Unreadable items boost nobody."""
    found = []
    for item in text.split(","):
        words = [word.strip() for word in item.split(":")]
        if len(words) not in (3, 4) or words[1] not in ("user", "group") or not words[2].lstrip("-").isdigit():
            continue
        expiration = words[3].removeprefix("expire") if len(words) == 4 else ""
        try:
            until = date.fromisoformat(expiration) if expiration else None
        except ValueError:
            continue
        found.append(Boost(words[0], words[1], int(words[2]), until))
    return tuple(found)


def is_health_check(processing_type: str | None) -> bool:
    """Tell whether that type belongs to the robots that probe queues."""
    return processing_type in _HEALTH_CHECKS or (processing_type or "").startswith("gangarobot-")


def offset_at(priorityoffset: str | None, fqans: Iterable[str]) -> int:
    """Return the largest offset that a queue's ``group:value,...`` gives to holders of those attributes."""
    offsets = [0]
    attributes = tuple(fqans)
    for item in (priorityoffset or "").split(","):
        group, _, value = item.strip().rpartition(":")
        if group and value.isdigit() and any(_belongs(attribute, group) for attribute in attributes):
            offsets.append(int(value))
    return max(offsets)


def _belongs(fqan: str, group: str) -> bool:
    return fqan.startswith(group) if group.startswith("/") else group in fqan.split("/")


def current_priority(job: JobSpec, terms: Terms, position: int, is_test_user: bool) -> int:
    """Return the effective priority of a new job, the ``position``-th of its user in this submission."""
    given = job.assignedPriority or 0
    if job.prodSourceLabel == INSTALL:
        return INSTALL_PRIORITY
    if job.prodSourceLabel == "panda":
        return EXPRESS_BUILD_PRIORITY if has_flag(job.specialHandling, "express") else BUILD_PRIORITY + terms.offset
    if job.prodSourceLabel != "user":
        return given
    return _user_priority(job, given, terms, position, is_test_user)


def _user_priority(job: JobSpec, given: int, terms: Terms, position: int, is_test_user: bool) -> int:
    is_scout = has_flag(job.specialHandling, "scout")
    if is_test_user:
        return TEST_USER_PRIORITY
    if job.processingType in _MERGE_TYPES and given:
        return given
    if not terms.reduced:
        return terms.offset + is_scout
    if is_scout or given >= KEPT_PRIORITY:
        return given
    if has_flag(job.specialHandling, "express"):
        return EXPRESS_RUN_PRIORITY
    return int(USER_PRIORITY + terms.offset - (terms.serial + position) / JOBS_PER_UNIT)


def boost_for(boosts: Sequence[Boost], user: str, group: str | None, today: date) -> Boost | None:
    """Return the boost with the highest priority that applies, if any does."""
    applying = [boost for boost in boosts if boost.applies(user, group, today)]
    return max(applying, key=lambda boost: boost.priority, default=None)
