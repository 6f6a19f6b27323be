"""What is wrong with a configuration, in words that lead to the line to change."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum

from pandaserver.srvcore.errors import PandaError


class Severity(StrEnum):
    """An error prevents the start of the program that needs the section; a warning does not; a note tells a fact."""

    error = "error"
    warning = "warning"
    note = "note"

    @property
    def log_level(self) -> int:
        """The level at which programs that start log it."""
        return logging.INFO if self is Severity.note else logging.WARNING


@dataclass(frozen=True, slots=True)
class Finding:
    """One mistake. ``line`` 0 means that it is not about a line."""

    severity: Severity
    file: str
    line: int
    section: str
    key: str
    message: str
    suggestion: str = ""

    def __str__(self) -> str:
        place = ":".join(filter(None, (self.file, str(self.line or ""))))
        subject = " ".join(filter(None, (f"[{self.section}]" if self.section else "", self.key)))
        text = ": ".join(filter(None, (place, str(self.severity), subject, self.message)))
        return f"{text} ({self.suggestion})" if self.suggestion else text


class ConfigurationError(PandaError):
    """The configuration does not allow this program to start. The message lists every error."""

    code = "configuration"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a question that names the closest known word, or nothing if none is close."""
    by_lower = {name.lower(): name for name in known}
    close = get_close_matches(word.lower(), by_lower, n=1, cutoff=0.7)
    return f"did you mean {by_lower[close[0]]}?" if close else ""
