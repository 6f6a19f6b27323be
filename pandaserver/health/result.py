"""What a check finds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Severity(IntEnum):
    """How bad it is; the worst one decides the exit code."""

    ok = 0
    skipped = 1  # it could not be looked at, or does not apply here
    warning = 2
    failure = 3


@dataclass(frozen=True, slots=True)
class Result:
    """One finding; ``remedy`` says what a person can do."""

    severity: Severity
    message: str
    remedy: str = ""


def ok(message: str) -> Result:
    """Everything is as it should be."""
    return Result(Severity.ok, message)


def skipped(message: str) -> Result:
    """Nothing to look at, or no way to."""
    return Result(Severity.skipped, message)


def warning(message: str, remedy: str = "") -> Result:
    """It works, and somebody should look at it in time."""
    return Result(Severity.warning, message, remedy)


def failure(message: str, remedy: str = "") -> Result:
    """It does not work."""
    return Result(Severity.failure, message, remedy)
