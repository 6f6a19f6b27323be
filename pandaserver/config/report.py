"""How the reader of one value tells what is wrong with it."""

from __future__ import annotations

from typing import Protocol

from pandaserver.config.finding import Severity


class Unreadable(Exception):
    """The value cannot be read at all; the default is used so that the search for mistakes can go on."""

    def __init__(self, message: str, suggestion: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.suggestion = suggestion


class Report(Protocol):
    """Tell about a part of a value; the other parts are still used."""

    def __call__(
        self, message: str, suggestion: str = "", *, severity: Severity = Severity.error, part: str = "", line: int = 0
    ) -> None:
        """Report; ``part`` names the part, ``line`` counts from the first line of the value."""
