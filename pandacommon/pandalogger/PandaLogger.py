"""Named loggers, one file each: ``panda.log.Entry`` writes to ``<logdir>/panda-Entry.log``.

Nothing happens at import. Until an entry point calls ``PandaLogger.configure``, warnings and above go to stderr.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping
from logging.handlers import RotatingFileHandler, TimedRotatingFileHandler
from pathlib import Path
from typing import Final, Protocol

from pandacommon.pandalogger.file_handler import SharedFileHandler, StderrHandler, StdoutHandler
from pandacommon.pandalogger.http_handler import Collector, CollectorHandler
from pandacommon.pandalogger.line_format import JsonFormatter, LineFormatter

LOG_PREFIX: Final = "panda.log."
MONITOR_PREFIX: Final = "panda.mon."

#: Loggers that are too talkative for the general level, unless the section ``[log_level]`` names them.
QUIET: Final[Mapping[str, int]] = {"DBProxy": logging.INFO}

#: Loggers whose lines from INFO on stand in a second file, which stays short when the first is asked for details.
FILTERED: Final[Mapping[str, str]] = {"DBProxy": "DBProxyFiltered"}

#: Loggers of libraries that get a file like ours, from that level on.
LIBRARIES: Final[Mapping[str, int]] = {"stomp.py": logging.INFO}

_LEVELS: Final = logging.getLevelNamesMapping()


class LoggerValues(Protocol):
    """The settings that the loggers need; ``pandaserver.config.settings.LoggerSettings`` is one."""

    @property
    def logdir(self) -> Path:
        """Directory of the files."""

    @property
    def log_level(self) -> str:
        """General level."""

    @property
    def levels(self) -> Mapping[str, str]:
        """Level of single loggers."""

    @property
    def line_format(self) -> str:
        """Form of a line: text or json."""

    @property
    def log_to_stdout(self) -> bool:
        """Whether every line is copied to stdout."""

    @property
    def rotating_policy(self) -> str:
        """Who rotates: none (another program), or we by time or size."""

    @property
    def rotating_backup_count(self) -> int:
        """Rotated files to keep."""

    @property
    def rotating_max_size(self) -> int:
        """MB at which policy size rotates."""

    @property
    def rotating_interval(self) -> int:
        """Hours after which policy time rotates."""

    @property
    def collectors(self) -> tuple[Collector, ...]:
        """Where the records of remote monitoring go."""


class _State:
    """What this process knows: the settings, and which names have been asked for with which level."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.values: LoggerValues | None = None
        self.levels: dict[str, int | None] = {}
        self.monitors: set[str] = set()
        self.rollover = False


_state = _State()
# A thread of the parent may hold the lock at the moment of a fork, and would never release it in the child.
os.register_at_fork(after_in_child=lambda: setattr(_state, "lock", threading.RLock()))


class PandaLogger:
    """The way to a logger, under its historical name."""

    @staticmethod
    def configure(values: LoggerValues) -> None:
        """Take the settings into use; all loggers, also those handed out before, follow them from now on."""
        # Nothing of this is in a line, and a record costs a third less without it.
        logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
        with _state.lock:
            _state.values = values
            logging.getLogger("panda").setLevel(level_of(values.log_level))
            for name, least in LIBRARIES.items():
                _prepare_library(name, least)
            for name, level in _state.levels.items():
                _prepare(name, level)
            for name in _state.monitors:
                _prepare_monitor(name)

    @staticmethod
    def getLogger(name: str, level: int | None = None) -> logging.Logger:
        """Return the logger of that name; its file is opened by its first record.

        The first call that gives a level decides it, unless the section ``[log_level]`` names the logger.
        """
        with _state.lock:
            if name not in _state.levels or (level is not None and _state.levels[name] is None):
                _state.levels[name] = level
                _prepare(name, level)
            return logging.getLogger(LOG_PREFIX + name)

    @staticmethod
    def rollover_at_start() -> None:
        """Let files that we rotate ourselves (policies time and size) begin anew when they are opened next."""
        with _state.lock:
            _state.rollover = True

    @staticmethod
    def getHttpLogger(name: str) -> logging.Logger:
        """Return the logger whose records go to ``panda.log`` and to the collectors, if any are configured."""
        with _state.lock:
            if name not in _state.monitors:
                _state.monitors.add(name)
                _prepare_monitor(name)
            return logging.getLogger(MONITOR_PREFIX + name)


def level_of(word: str) -> int:
    """Return the level of that name; anything that is no level means DEBUG."""
    return _LEVELS.get(word.strip().upper(), logging.DEBUG)


def _prepare(name: str, level: int | None) -> None:
    logger = logging.getLogger(LOG_PREFIX + name)
    logger.propagate = False
    logger.setLevel(_effective(name, level))
    handlers = _handlers(f"panda-{name}.log")
    if name in FILTERED and _state.values is not None:
        filtered = _handlers(f"panda-{FILTERED[name]}.log")[0]
        filtered.setLevel(logging.INFO)
        handlers.append(filtered)
    _replace_handlers(logger, handlers)


def _prepare_library(name: str, level: int) -> None:
    logger = logging.getLogger(name)
    logger.propagate = False
    logger.setLevel(_effective(name, level))
    _replace_handlers(logger, _handlers(f"panda-{name}.log"))


def _prepare_monitor(name: str) -> None:
    root = logging.getLogger("panda.mon")
    if not root.handlers or _state.values is not None:
        root.propagate = False
        collectors = _state.values.collectors if _state.values else ()
        _replace_handlers(root, [*_handlers("panda.log"), *map(_collector_handler, collectors)])
    logging.getLogger(MONITOR_PREFIX + name).propagate = True


def _collector_handler(collector: Collector) -> CollectorHandler:
    return CollectorHandler(collector, PandaLogger.getLogger("collector"))


def _effective(name: str, level: int | None) -> int:
    values = _state.values
    if values is not None and name in values.levels:
        return level_of(values.levels[name])
    if level is not None:
        return level
    if name in QUIET and values is not None:
        return max(QUIET[name], level_of(values.log_level))
    return logging.NOTSET


def _handlers(file_name: str) -> list[logging.Handler]:
    values = _state.values
    if values is None:
        return [StderrHandler(LineFormatter())]
    formatter = JsonFormatter() if values.line_format == "json" else LineFormatter()
    to_file = _file_handler(values, values.logdir / file_name.replace(os.sep, "_"), formatter)
    return [to_file, StdoutHandler(formatter)] if values.log_to_stdout else [to_file]


def _file_handler(values: LoggerValues, path: Path, formatter: logging.Formatter) -> logging.Handler:
    rotating: RotatingFileHandler | TimedRotatingFileHandler
    if values.rotating_policy == "time":
        rotating = TimedRotatingFileHandler(
            path, "H", values.rotating_interval, values.rotating_backup_count, encoding="utf-8", delay=True, utc=True
        )
    elif values.rotating_policy == "size":
        size = values.rotating_max_size * 2**20
        rotating = RotatingFileHandler(path, "a", size, values.rotating_backup_count, encoding="utf-8", delay=True)
    else:
        return SharedFileHandler(path, formatter)
    rotating.setFormatter(formatter)
    if _state.rollover and path.exists():
        rotating.doRollover()
    return rotating


def _replace_handlers(logger: logging.Logger, handlers: list[logging.Handler]) -> None:
    former = logger.handlers[:]
    logger.handlers[:] = handlers  # at once, so that a record of another thread finds the old ones or the new ones
    for handler in former:
        handler.close()
