"""When a job that nobody moves is given up: which jobs, after how long, and with which kill code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pandaserver.taskbuffer.states import ACTIVE, DEFINED

HOUR: Final = 60.0  # minutes
DAY: Final = 24 * HOUR

_AGED_BY_CREATION: Final = "creationTime < CURRENT_TIMESTAMP - :minutes * INTERVAL '1' MINUTE"
_AGED_BY_CHANGE: Final = "modificationTime < CURRENT_TIMESTAMP - :minutes * INTERVAL '1' MINUTE"
_AGED_BY_STATE: Final = "stateChangeTime < CURRENT_TIMESTAMP - :minutes * INTERVAL '1' MINUTE"
_NOT_CO_JUMBO: Final = "(computingSite IS NULL OR computingSite <> 'WAITING_CO_JUMBO')"
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
    """Return the rules for ordinary jobs, in the order in which they are applied."""
    return (
        ExpiryRule("old defined", DEFINED, 7 * DAY, 2, (_AGED_BY_CREATION,)),
        ExpiryRule("old activated", ACTIVE, 7 * DAY, 2, (_AGED_BY_CREATION, "jobStatus = 'activated'")),
        ExpiryRule(
            "defined stuck", DEFINED, defined_hours * HOUR, 2, (_AGED_BY_CREATION, "jobStatus = 'defined'", _NO_TASK)
        ),
        ExpiryRule("long in defined", DEFINED, 12 * HOUR, 2, (_AGED_BY_CHANGE, "prodSourceLabel = 'managed'")),
        ExpiryRule(
            "long activated",
            ACTIVE,
            2 * DAY,
            2,
            (_AGED_BY_CHANGE, "jobStatus = 'activated'", "prodSourceLabel = 'managed'", _NOT_FIXED),
        ),
        ExpiryRule(
            "long starting",
            ACTIVE,
            48 * HOUR,
            2,
            (_AGED_BY_STATE, "jobStatus = 'starting'", "prodSourceLabel = 'managed'"),
        ),
        ExpiryRule(
            "old analysis",
            ACTIVE,
            7 * DAY,
            2,
            (_AGED_BY_CHANGE, "prodSourceLabel IN ('test', 'panda', 'user')", _NOT_TOLD),
        ),
        ExpiryRule("pending", DEFINED, HOUR, 4, (_AGED_BY_CREATION, "jobStatus = 'pending'")),
        ExpiryRule(
            "waiting", DEFINED, waiting_hours * HOUR, 4, (_AGED_BY_CREATION, "jobStatus = 'waiting'", _NOT_CO_JUMBO)
        ),
        ExpiryRule("too old", ACTIVE, 21 * DAY, 2, (_AGED_BY_CREATION, _NOT_TOLD)),
        ExpiryRule("ddm", ACTIVE, 5 * DAY, 2, (_AGED_BY_CREATION, "prodSourceLabel = 'ddm'", _NOT_TOLD)),
        ExpiryRule("throttled", ACTIVE, 7 * DAY, 2, (_AGED_BY_CREATION, "jobStatus = 'throttled'")),
    )
