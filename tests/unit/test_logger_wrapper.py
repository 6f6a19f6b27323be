"""Wrappers that put a subject before every line, and the helpers of scripts."""

from __future__ import annotations

import logging
import re

import pytest

from pandacommon.pandalogger import LogWrapper as wrapping
from pandacommon.pandalogger import logger_utils
from pandacommon.pandalogger.LogWrapper import LogWrapper
from pandacommon.pandalogger.PandaLogger import PandaLogger
from tests.unit.logging_fixture import Configure, configure, fresh_loggers

__all__ = ["configure", "fresh_loggers"]


class Recorder:
    def __init__(self) -> None:
        self.seen: list[tuple[str, str, str, str]] = []

    def add_dialog_message(self, message: str, level: str, logger_name: str, prefix: str) -> None:
        self.seen.append((message, level, logger_name, prefix))


def test_the_subject_stands_before_every_message(configure: Configure) -> None:
    logs = configure()
    LogWrapper(PandaLogger.getLogger("Adder"), "<PandaID=1>").info("moved to=finished")
    assert " INFO     <PandaID=1> moved to=finished\n" in (logs / "panda-Adder.log").read_text()


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error", "critical"])
def test_each_level_has_its_method(configure: Configure, level: str) -> None:
    logs = configure()
    getattr(LogWrapper(PandaLogger.getLogger("Levels")), level)("x")
    assert f": {level.upper():8} x\n" in (logs / "panda-Levels.log").read_text()


def test_a_percent_sign_is_just_text(configure: Configure) -> None:
    logs = configure()
    LogWrapper(PandaLogger.getLogger("Percent")).info("100% done %s")
    assert "100% done %s\n" in (logs / "panda-Percent.log").read_text()


def test_no_prefix_given_means_the_time_of_creation() -> None:
    assert re.fullmatch(r"\d{4}-\d\d-\d\d/\d\d:\d\d:\d\d(\.\d{6})?", LogWrapper(logging.getLogger("x"), None).prefix)


def test_the_last_messages_are_remembered_with_their_times() -> None:
    log = LogWrapper(logging.getLogger("panda.log.Buffer"), "prefix", lineLimit=2)
    for n in range(9):
        log.debug(f"message {n}")
    lines = log.dumpToString().splitlines()
    assert [line[24:] for line in lines] == ["message 6", "message 7", "message 8"]
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} ", lines[0])


def test_memory_is_reported_when_asked_for(configure: Configure) -> None:
    logs = configure()
    LogWrapper(PandaLogger.getLogger("Memory"), seeMem=True).info("x")
    assert re.search(r"x \(mem usage [1-9]\d* MB\)\n", (logs / "panda-Memory.log").read_text())


def test_memory_profiling_concerns_later_wrappers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wrapping, "memory_profiling", False)
    before = LogWrapper(logging.getLogger("x"))
    logger_utils.enable_memory_profiling()
    assert (before.seeMem, LogWrapper(logging.getLogger("x")).seeMem) == (False, True)


def test_a_hook_sees_the_message_apart_from_its_prefix() -> None:
    hook = Recorder()
    LogWrapper(logging.getLogger("panda.log.Hooked"), "<a>", hook=hook).warning("x")
    assert hook.seen == [("x", "WARNING", "Hooked", "<a>")]


def test_a_message_for_remote_monitoring_is_also_kept_as_text(configure: Configure) -> None:
    logs = configure()
    LogWrapper(PandaLogger.getLogger("Sender"), monToken="<token>").sendMsg("hello", "prod", "brokerage", "warning")
    assert ": WARNING  <token> hello\n" in (logs / "panda.log").read_text()


def test_an_exception_is_logged_with_its_traceback(configure: Configure) -> None:
    logs = configure()
    try:
        raise KeyError("missing")
    except KeyError:
        LogWrapper(PandaLogger.getLogger("Caught"), "<a>").exception("failed")
    assert "KeyError: 'missing'" in (logs / "panda-Caught.log").read_text()


def test_a_script_gets_a_logger_of_its_own_name(fresh_loggers: None) -> None:
    assert logger_utils.setup_logger().name == "panda.log.test_logger_wrapper"


def test_a_wrapper_made_by_a_function_names_it() -> None:
    logger = logging.getLogger("x")
    assert logger_utils.make_logger(logger).prefix == "test_a_wrapper_made_by_a_function_names_it :"
    assert logger_utils.make_logger(logger, "<t=1>", "work").prefix == "work <t=1>"


def test_the_text_of_an_error_is_logged_and_returned(configure: Configure) -> None:
    logs = configure()
    try:
        raise ValueError("broken")
    except ValueError:
        text = logger_utils.dump_error_message(PandaLogger.getLogger("Dump"))
    assert text.startswith("ValueError broken Traceback")
    assert "ValueError broken" in (logs / "panda-Dump.log").read_text()
