"""A log directory of its own for a test, and the way back to how the loggers were."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pandacommon.pandalogger import PandaLogger as module
from pandacommon.pandalogger.PandaLogger import PandaLogger
from pandaserver.config.settings import LoggerSettings

Configure = Callable[..., Path]


@pytest.fixture
def fresh_loggers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As in a process that has not configured its loggers yet."""
    panda = logging.getLogger("panda")
    level, state = panda.level, module._State()
    monkeypatch.setattr(module, "_state", state)
    panda.setLevel(logging.NOTSET)
    yield
    panda.setLevel(level)
    names = [module.LOG_PREFIX + name for name in state.levels] + ["panda.mon", *module.LIBRARIES]
    for logger in map(logging.getLogger, names):
        module._replace_handlers(logger, [])
        logger.setLevel(logging.NOTSET)


@pytest.fixture
def configure(fresh_loggers: None, tmp_path: Path) -> Configure:
    """A function that configures the loggers with settings of the test, and returns their directory."""

    def configured(**settings: object) -> Path:
        PandaLogger.configure(LoggerSettings(**({"logdir": tmp_path} | settings)))  # type: ignore[arg-type]
        return tmp_path

    return configured
