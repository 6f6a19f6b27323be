"""A logger that puts its subject before every line: ``<PandaID=1> moved from=activated to=sent``."""

from __future__ import annotations

import logging
import resource
from collections import deque
from datetime import datetime
from typing import Final, Protocol

from pandacommon.pandalogger.PandaLogger import PandaLogger
from pandacommon.pandautils.PandaUtils import naive_utcnow


class Hook(Protocol):
    """Something that wants to see the messages, too: harvester stores them in its database."""

    def add_dialog_message(self, message: str, level: str, logger_name: str, prefix: str) -> object:
        """Take one message."""


#: Wrappers made from now on report the memory of the process. See ``logger_utils.enable_memory_profiling``.
memory_profiling: bool = False


class LogWrapper:
    """Log under a prefix and remember the last messages, which users see as the diagnostics of their task."""

    def __init__(
        self,
        log: logging.Logger,
        prefix: str | None = "",
        lineLimit: int = 100,
        monToken: str | None = None,
        seeMem: bool = False,
        hook: Hook | None = None,
    ) -> None:
        """Prefix None means the time of creation, as an identifier of this run."""
        self.logger = log
        self.prefix: str = naive_utcnow().isoformat("/") if prefix is None else prefix
        self.name: Final = log.name.rpartition(".")[2]
        self.monToken = monToken
        self.seeMem = seeMem or memory_profiling
        self.hook = hook
        self._kept: deque[tuple[datetime, str]] = deque(maxlen=lineLimit + 1)

    def debug(self, msg: object) -> None:
        """Log details that only a developer wants."""
        self._log(logging.DEBUG, msg)

    def info(self, msg: object) -> None:
        """Log a step of the story of a job."""
        self._log(logging.INFO, msg)

    def warning(self, msg: object) -> None:
        """Ask someone to look."""
        self._log(logging.WARNING, msg)

    def error(self, msg: object) -> None:
        """Report a broken promise."""
        self._log(logging.ERROR, msg)

    def critical(self, msg: object) -> None:
        """Report that this process cannot go on."""
        self._log(logging.CRITICAL, msg)

    def exception(self, msg: object) -> None:
        """Report an error with the traceback of the exception that is being handled."""
        self._log(logging.ERROR, msg, exc_info=True)

    def dumpToString(self) -> str:
        """Return the remembered messages, one a line, with their times in UTC."""
        return "".join(f"{time.isoformat(' ', 'milliseconds')} {text}\n" for time, text in self._kept)

    def sendMsg(self, message: object, logger_name: str, msg_type: str, level: str = "info") -> None:
        """Send a message, preceded by the monitor token, to the collectors of remote monitoring."""
        text = f"{self.monToken} {message}" if self.monToken else str(message)
        number = logging.getLevelNamesMapping().get(level.upper(), logging.INFO)
        PandaLogger.getHttpLogger(logger_name).log(number, "%s", text, extra={"Type": msg_type})

    def _log(self, level: int, msg: object, exc_info: bool = False) -> None:
        text = str(msg)
        if self.seeMem:
            text = f"{text} (mem usage {_peak_memory()} MB)"
        self._kept.append((naive_utcnow(), text))
        line = f"{self.prefix} {text}" if self.prefix else text
        self.logger.log(level, "%s", line, exc_info=exc_info, stacklevel=3)
        if self.hook is not None:
            self.hook.add_dialog_message(text, logging.getLevelName(level), self.name, self.prefix)


def _peak_memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024  # Linux reports kB
