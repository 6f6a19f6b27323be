"""When a job that nobody moves is given up: which jobs, after how long, and with which kill code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pandaserver.taskbuffer.kill import CODES
from pandaserver.taskbuffer.lost_jobs import NO_REPORT
from pandaserver.taskbuffer.states import ACTIVE, DEFINED

#: Kill codes: expired, expired while waiting, handed back to the task layer, forced by the task layer.
EXPIRED: Final = 2
WAITED: Final = 4
REASSIGNED: Final = 51
FORCED: Final = 52

#: Instead of a kill code: the job is set up again from the start.
SET_UP_AGAIN: Final = None

_AGED: Final = "{} < CURRENT_TIMESTAMP - :minutes * INTERVAL '1' MINUTE"
#: What keeps a job from being set up again, and from being ended by a code that tells nobody twice.
_NO_COMMAND: Final = "commandToPilot IS NULL"
_NOT_MARKED: Final = "(commandToPilot IS NULL OR commandToPilot <> 'tobekilled')"
_AGED_BY_CREATION: Final = _AGED.format("creationTime")
_AGED_BY_CHANGE: Final = _AGED.format("modificationTime")
_AGED_BY_STATE: Final = _AGED.format("stateChangeTime")
_SET_UP: Final = "jobStatus IN ('defined', 'assigned')"
_WAITS: Final = "jobStatus IN ('pending', 'waiting')"
_NOT_CO_JUMBO: Final = "(computingSite IS NULL OR computingSite <> 'WAITING_CO_JUMBO')"
_OF_TASK: Final = "jediTaskID IS NOT NULL"
_NO_TASK: Final = "jediTaskID IS NULL"
_MANAGED: Final = "prodSourceLabel = 'managed'"
_NOT_FIXED: Final = "(relocationFlag IS NULL OR relocationFlag <> 2)"
#: A running job that has been told to end is not told again every time.
_NOT_TOLD: Final = "(jobStatus <> 'running' OR commandToPilot IS NULL OR commandToPilot <> 'tobekilled')"

#: Queues at which no production job has begun for a while, though some did in the hours that are counted.
_AT_INACTIVE_QUEUE: Final = """computingSite IN (
        SELECT s.site FROM ATLAS_PANDAMETA.SiteData s
        WHERE s.flag = 'production' AND s.hours = 3
          AND s.laststart < CURRENT_TIMESTAMP - :queue_minutes * INTERVAL '1' MINUTE
    )"""

#: Merge jobs of a table that have something to merge, and those of them for which something still waits.
_MERGES: Final = """PandaID IN (
        SELECT f.PandaID FROM ATLAS_PANDA.{table} p, ATLAS_PANDA.filesTable4 f
        WHERE p.processingType = 'pmerge' AND f.PandaID = p.PandaID
          AND f.type = 'input' AND f.dispatchDBlockToken = 'TOMERGE'
    )"""
_NOTHING_TO_MERGE: Final = """PandaID NOT IN (
        SELECT f.PandaID
        FROM ATLAS_PANDA.{table} p, ATLAS_PANDA.filesTable4 f, ATLAS_PANDA.jobsActive4 u, ATLAS_PANDA.filesTable4 m
        WHERE p.processingType = 'pmerge' AND f.PandaID = p.PandaID
          AND f.type = 'input' AND f.dispatchDBlockToken = 'TOMERGE'
          AND u.jobStatus = 'merging' AND m.PandaID = u.PandaID AND m.type IN ('output', 'log')
          AND m.destinationDBlockToken = 'TOMERGE' AND m.lfn = f.lfn
    )"""


@dataclass(frozen=True, slots=True)
class ExpiryRule:
    """Jobs of one table that end with the kill ``code`` when they match all conditions. ``minutes`` is the patience."""

    name: str
    table: str
    minutes: float
    code: int | None  # SET_UP_AGAIN: not killed
    conditions: tuple[str, ...]
    except_sites: tuple[str, ...] = ()  # never jobs of these queues
    sub_status: str | None = None
    keep_unmerged: bool = False  # event service: what has been processed is kept
    binds: tuple[tuple[str, Any], ...] = ()

    @property
    def where(self) -> tuple[str, ...]:
        """All conditions on a job, those included without which the code would do nothing."""
        if self.code is SET_UP_AGAIN:
            return (*self.conditions, _NO_COMMAND)
        return self.conditions if CODES[self.code].repeats else (*self.conditions, _NOT_MARKED)


def expiry_rules(limits: Mapping[str, float], fixed: tuple[str, ...] = ()) -> tuple[ExpiryRule, ...]:
    """Return the rules in the order in which they are applied. Jobs of the queues ``fixed`` are not moved elsewhere.

    Jobs of tasks are handed back to the task layer, which makes new ones; others are set up again. A job that was set
    up again may be old: it has its time from then on, so rules of ``defined`` and ``waiting`` look at its last change
    of state. (Its last change of any kind is when the search for forgotten jobs looked at it in vain.)
    """
    return (*_of_defined(limits, fixed), *_of_waiting(limits), *_of_active(limits), *_merge_rules(limits))


def old_rules(limits: Mapping[str, float]) -> tuple[ExpiryRule, ...]:
    """Return the rules for jobs that are too old whatever they do, which come last."""
    old = (_AGED_BY_CREATION, _NOT_TOLD, NO_REPORT)
    return (
        ExpiryRule("too old", ACTIVE, limits["too_old"], EXPIRED, old),
        ExpiryRule("ddm", ACTIVE, limits["ddm"], EXPIRED, (*old, "prodSourceLabel = 'ddm'")),
        ExpiryRule("throttled", ACTIVE, limits["throttled"], EXPIRED, (_AGED_BY_CREATION, "jobStatus = 'throttled'")),
    )


def _of_defined(limits: Mapping[str, float], fixed: tuple[str, ...]) -> tuple[ExpiryRule, ...]:
    stuck, created = limits["defined"], "jobStatus = 'defined'"
    activated = (_AGED_BY_CHANGE, "jobStatus = 'activated'", _MANAGED, _NOT_FIXED)
    starting = (_AGED_BY_STATE, "jobStatus = 'starting'", _MANAGED)
    return (
        ExpiryRule("old defined", DEFINED, limits["old_defined"], EXPIRED, (_AGED_BY_CREATION, _SET_UP)),
        ExpiryRule(
            "old activated", ACTIVE, limits["old_activated"], EXPIRED, (_AGED_BY_CREATION, "jobStatus = 'activated'")
        ),
        *_inactive_rules(limits, fixed),
        *_reassigned(
            "defined stuck", DEFINED, stuck, (_AGED_BY_STATE, created, "prodSourceLabel IN ('managed', 'test')")
        ),
        # Nobody would make others of these, and nothing moves them: the Setupper has looked at them again and again.
        ExpiryRule(
            "defined stuck",
            DEFINED,
            stuck,
            EXPIRED,
            (
                _AGED_BY_STATE,
                created,
                "(prodSourceLabel IS NULL OR prodSourceLabel NOT IN ('managed', 'test'))",
                f"({_NO_TASK} OR prodSourceLabel = 'panda')",
            ),
        ),
        *_reassigned("long in defined", DEFINED, limits["long_defined"], (_AGED_BY_CHANGE, _SET_UP, _MANAGED)),
        *_reassigned("long activated", ACTIVE, limits["long_activated"], activated, fixed),
        *_reassigned("long starting", ACTIVE, limits["long_starting"], starting),
    )


def _inactive_rules(limits: Mapping[str, float], fixed: tuple[str, ...]) -> tuple[ExpiryRule, ...]:
    """Return the rules that take urgent jobs of tasks away from queues where nothing begins any more."""
    urgent = (
        _MANAGED,
        _OF_TASK,
        "currentPriority >= 800",
        _NOT_FIXED,
        "(processingType IS NULL OR processingType <> 'pmerge')",
        _AT_INACTIVE_QUEUE,
    )
    return tuple(
        ExpiryRule(
            "inactive queue",
            ACTIVE,
            limits["inactive_job"],
            REASSIGNED,
            (aged, f"jobStatus = '{status}'", *urgent),
            except_sites=fixed,
            keep_unmerged=True,
            binds=(("queue_minutes", limits["inactive_queue"]),),
        )
        for status, aged in (("activated", _AGED_BY_CHANGE), ("starting", _AGED_BY_STATE))
    )


def _of_waiting(limits: Mapping[str, float]) -> tuple[ExpiryRule, ...]:
    waiting = "jobStatus = 'waiting'"
    since = f"(({_AGED_BY_CREATION} AND {_NOT_CO_JUMBO}) OR {_AGED_BY_CHANGE})"
    return (
        ExpiryRule("pending", DEFINED, limits["pending"], WAITED, (_AGED_BY_CREATION, "jobStatus = 'pending'")),
        ExpiryRule(
            "waiting merge", DEFINED, limits["waiting_merge"], EXPIRED, (_AGED_BY_STATE, waiting, "eventService = 2")
        ),
        ExpiryRule("waiting", DEFINED, limits["waiting"], WAITED, (_AGED_BY_STATE, waiting, _NOT_CO_JUMBO)),
        ExpiryRule("old waiting", DEFINED, limits["old_waiting"], WAITED, (_WAITS, since)),
    )


def _of_active(limits: Mapping[str, float]) -> tuple[ExpiryRule, ...]:
    begun = (_AGED_BY_STATE, "jobStatus IN ('running', 'starting')", _NOT_TOLD)
    return (
        ExpiryRule(
            "old analysis",
            ACTIVE,
            limits["old_analysis"],
            EXPIRED,
            (_AGED_BY_CHANGE, "prodSourceLabel IN ('test', 'panda', 'user')", _NOT_TOLD, NO_REPORT),
        ),
        ExpiryRule(
            "long event service",
            ACTIVE,
            limits["long_event_service"],
            EXPIRED,
            (*begun, "eventService IN (1, 5)", "currentPriority >= 900"),
            sub_status="es_toolong",
            keep_unmerged=True,
        ),
        ExpiryRule(
            "long event service merge",
            ACTIVE,
            limits["long_event_service_merge"],
            EXPIRED,
            (*begun, "eventService = 2"),
        ),
    )


def _merge_rules(limits: Mapping[str, float]) -> tuple[ExpiryRule, ...]:
    return tuple(
        ExpiryRule(
            "invalid merge",
            table,
            limits["invalid_merge"],
            FORCED,
            (
                _AGED_BY_CREATION,
                "processingType = 'pmerge'",
                _MERGES.format(table=table),
                _NOTHING_TO_MERGE.format(table=table),
                *more,
            ),
        )
        for table, more in ((DEFINED, ()), (ACTIVE, (_NOT_TOLD, NO_REPORT)))
    )


def _reassigned(
    name: str, table: str, minutes: float, conditions: tuple[str, ...], fixed: tuple[str, ...] = ()
) -> tuple[ExpiryRule, ...]:
    """Return one rule for jobs of tasks and one for others."""
    return (
        ExpiryRule(name, table, minutes, REASSIGNED, (*conditions, _OF_TASK), except_sites=fixed, keep_unmerged=True),
        ExpiryRule(name, table, minutes, SET_UP_AGAIN, (*conditions, _NO_TASK), except_sites=fixed),
    )
