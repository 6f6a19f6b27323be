"""Short ways to a logger for scripts, and a traceback as text."""

from __future__ import annotations

import inspect
import logging
import sys
import traceback

from pandacommon.pandalogger import LogWrapper as wrapping
from pandacommon.pandalogger.LogWrapper import Hook, LogWrapper
from pandacommon.pandalogger.PandaLogger import PandaLogger


def setup_logger(name: str | None = None, log_level: int | None = None) -> logging.Logger:
    """Return the logger of that name, by default the last component of the name of the calling module."""
    return PandaLogger.getLogger(name or _caller_module().rpartition(".")[2], log_level)


def make_logger(
    logger: logging.Logger, token: str | None = None, method_name: str | None = None, hook: Hook | None = None
) -> LogWrapper:
    """Return a wrapper whose prefix is the calling function (or the given name) and the token."""
    method = method_name or sys._getframe(1).f_code.co_name
    return LogWrapper(logger, f"{method} {token}" if token else f"{method} :", hook=hook)


def dump_error_message(
    logger: logging.Logger | LogWrapper, err_str: str | None = None, no_message: bool = False
) -> str:
    """Log type, value and traceback of the exception being handled as an error, and return that text."""
    kind, value, _ = sys.exc_info()
    headline = f"{kind.__name__} {value}" if kind else "no exception"
    text = f"{err_str or ''} {headline}".strip() + f" {traceback.format_exc()}"
    if not no_message:
        logger.error(text)
    return text


def enable_memory_profiling() -> None:
    """Let all wrappers made from now on report the peak memory of the process."""
    wrapping.memory_profiling = True


def do_log_rollover() -> None:
    """Let the loggers that are configured from now on begin new files, where we rotate files ourselves."""
    PandaLogger.rollover_at_start()


def _caller_module() -> str:
    module = inspect.getmodule(sys._getframe(2))
    return module.__name__ if module else "__main__"
