"""When a job that nobody moves is given up: which jobs, after how long, and with which kill code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pandaserver.taskbuffer.states import ACTIVE, DEFINED

HOUR: Final = 60.0  # minutes
DAY: Final = 24 * HOUR

#: Kill codes: expired, expired while waiting, handed back to the task layer.
EXPIRED: Final = 2
WAITED: Final = 4
REASSIGNED: Final = 51

_AGED_BY_CREATION: Final = "creationTime < CURRENT_TIMESTAMP - :minutes * INTERVAL '1' MINUTE"
_AGED_BY_CHANGE: Final = "modificationTime < CURRENT_TIMESTAMP - :minutes * INTERVAL '1' MINUTE"
_AGED_BY_STATE: Final = "stateChangeTime < CURRENT_TIMESTAMP - :minutes * INTERVAL '1' MINUTE"
_NOT_CO_JUMBO: Final = "(computingSite IS NULL OR computingSite <> 'WAITING_CO_JUMBO')"
_OF_TASK: Final = "jediTaskID IS NOT NULL"
_NO_TASK: Final = "jediTaskID IS NULL"
_NOT_FIXED: Final = "(relocationFlag IS NULL OR relocationFlag <> 2)"
#: A running job that has been told to end is not told again every time.
_NOT_TOLD: Final = "(jobStatus <> 'running' OR commandToPilot IS NULL OR commandToPilot <> 'tobekilled')"


@dataclass(frozen=True, slots=True)
class ExpiryRule:
    """Jobs of one table that are killed with ``code`` when they match all conditions. ``minutes`` is the patience."""

    name: str
    table: str
    minutes: float
    code: int
    conditions: tuple[str, ...]


def expiry_rules(defined_hours: float, waiting_hours: float) -> tuple[ExpiryRule, ...]:
    """Return the rules for ordinary jobs, in the order in which they are applied.

    Jobs of tasks are handed back to the task layer, which makes new ones; others are closed.
    """
    managed = "prodSourceLabel = 'managed'"
    return (
        ExpiryRule("old defined", DEFINED, 7 * DAY, EXPIRED, (_AGED_BY_CREATION,)),
        ExpiryRule("old activated", ACTIVE, 7 * DAY, EXPIRED, (_AGED_BY_CREATION, "jobStatus = 'activated'")),
        ExpiryRule(
            "defined stuck",
            DEFINED,
            defined_hours * HOUR,
            REASSIGNED,
            (_AGED_BY_CHANGE, "jobStatus = 'defined'", "prodSourceLabel IN ('managed', 'test')", _OF_TASK),
        ),
        ExpiryRule(
            "defined stuck",
            DEFINED,
            defined_hours * HOUR,
            EXPIRED,
            (_AGED_BY_CREATION, "jobStatus = 'defined'", _NO_TASK),
        ),
        *_reassigned("long in defined", DEFINED, 12 * HOUR, (_AGED_BY_CHANGE, managed)),
        *_reassigned(
            "long activated", ACTIVE, 2 * DAY, (_AGED_BY_CHANGE, "jobStatus = 'activated'", managed, _NOT_FIXED)
        ),
        *_reassigned("long starting", ACTIVE, 48 * HOUR, (_AGED_BY_STATE, "jobStatus = 'starting'", managed)),
        ExpiryRule(
            "old analysis",
            ACTIVE,
            7 * DAY,
            EXPIRED,
            (_AGED_BY_CHANGE, "prodSourceLabel IN ('test', 'panda', 'user')", _NOT_TOLD),
        ),
        ExpiryRule("pending", DEFINED, HOUR, WAITED, (_AGED_BY_CREATION, "jobStatus = 'pending'")),
        ExpiryRule(
            "waiting merge", DEFINED, 10, EXPIRED, (_AGED_BY_CREATION, "jobStatus = 'waiting'", "eventService = 2")
        ),
        ExpiryRule(
            "waiting",
            DEFINED,
            waiting_hours * HOUR,
            WAITED,
            (_AGED_BY_CREATION, "jobStatus = 'waiting'", _NOT_CO_JUMBO),
        ),
        ExpiryRule("too old", ACTIVE, 21 * DAY, EXPIRED, (_AGED_BY_CREATION, _NOT_TOLD)),
        ExpiryRule("ddm", ACTIVE, 5 * DAY, EXPIRED, (_AGED_BY_CREATION, "prodSourceLabel = 'ddm'", _NOT_TOLD)),
        ExpiryRule("throttled", ACTIVE, 7 * DAY, EXPIRED, (_AGED_BY_CREATION, "jobStatus = 'throttled'")),
    )


def _reassigned(name: str, table: str, minutes: float, conditions: tuple[str, ...]) -> tuple[ExpiryRule, ...]:
    """Return one rule for jobs of tasks and one for others."""
    return (
        ExpiryRule(name, table, minutes, REASSIGNED, (*conditions, _OF_TASK)),
        ExpiryRule(name, table, minutes, EXPIRED, (*conditions, _NO_TASK)),
    )
