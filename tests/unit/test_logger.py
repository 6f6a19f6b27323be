"""Named loggers and their files."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pandacommon.pandalogger.context import request_id
from pandacommon.pandalogger.logger_utils import do_log_rollover
from pandacommon.pandalogger.PandaLogger import PandaLogger
from pandaserver.taskbuffer.connection_settings import Secret
from tests.unit.logging_fixture import Configure, configure, fresh_loggers

__all__ = ["configure", "fresh_loggers"]

LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [\w.-]+ *: (DEBUG|INFO|WARNING|ERROR|CRITICAL) {1,4} ?.+")


def test_a_record_becomes_one_line_in_the_file_of_its_logger(configure: Configure) -> None:
    logs = configure()
    PandaLogger.getLogger("Entry").info("PID=4711 isAlive exec_time=0.002 sec")
    text = (logs / "panda-Entry.log").read_text()
    assert re.fullmatch(
        r"[\d-]{10} [\d:]{8},\d{3} panda\.log\.Entry: INFO     PID=4711 isAlive exec_time=0.002 sec\n", text
    )


def test_a_short_logger_name_is_padded(configure: Configure) -> None:
    logs = configure()
    PandaLogger.getLogger("a").error("x")
    assert " panda.log.a : ERROR    x\n" in (logs / "panda-a.log").read_text()


def test_asking_twice_writes_once(configure: Configure) -> None:
    logs = configure()
    PandaLogger.getLogger("Twice")
    PandaLogger.getLogger("Twice").info("once")
    assert (logs / "panda-Twice.log").read_text().count("once") == 1


def test_times_are_utc_whatever_the_time_zone(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    logs = configure()
    record = logging.makeLogRecord(
        {"name": "panda.log.Utc", "msg": "x", "levelno": 20, "levelname": "INFO", "created": 0.0, "msecs": 5.0}
    )
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    PandaLogger.getLogger("Utc").handle(record)
    assert (logs / "panda-Utc.log").read_text().startswith("1970-01-01 00:00:00,005 ")


def test_no_file_is_made_before_the_first_record(configure: Configure) -> None:
    logs = configure()
    PandaLogger.getLogger("Silent")
    assert not list(logs.iterdir())


def test_a_new_file_is_group_writable_whatever_the_umask(configure: Configure) -> None:
    logs = configure()
    before = os.umask(0o077)
    try:
        PandaLogger.getLogger("Mode").info("x")
    finally:
        os.umask(before)
    assert (logs / "panda-Mode.log").stat().st_mode & 0o777 == 0o664


def test_a_renamed_file_is_left_for_a_new_one(configure: Configure) -> None:
    logs = configure()
    logger = PandaLogger.getLogger("Rotated")
    logger.info("before")
    (logs / "panda-Rotated.log").rename(logs / "panda-Rotated.log.1")
    logger.info("after")
    assert "after" in (logs / "panda-Rotated.log").read_text()
    assert "after" not in (logs / "panda-Rotated.log.1").read_text()


def test_a_directory_that_cannot_be_written_sends_records_to_stderr(
    configure: Configure, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    configure(logdir=tmp_path / "missing")
    PandaLogger.getLogger("Lost").info("still seen")
    assert "still seen" in capsys.readouterr().err


def test_a_file_is_used_as_soon_as_it_can_be(configure: Configure, tmp_path: Path) -> None:
    configure(logdir=tmp_path / "later")
    logger = PandaLogger.getLogger("Later")
    logger.info("too early")
    (tmp_path / "later").mkdir()
    logger.info("in time")
    assert "in time" in (tmp_path / "later/panda-Later.log").read_text()


def test_before_configuration_only_warnings_reach_stderr(
    fresh_loggers: None, capsys: pytest.CaptureFixture[str]
) -> None:
    logger = PandaLogger.getLogger("Early")
    logger.info("a detail")
    logger.warning("a problem")
    written = capsys.readouterr().err
    assert "a problem" in written
    assert "a detail" not in written


def test_loggers_handed_out_before_configuration_follow_it(configure: Configure) -> None:
    logger = PandaLogger.getLogger("Before")
    logs = configure()
    logger.debug("now in the file")
    assert "now in the file" in (logs / "panda-Before.log").read_text()


def test_importing_the_loggers_reads_and_writes_nothing(tmp_path: Path) -> None:
    code = "import pandacommon.pandalogger.LogWrapper as w; w.PandaLogger.getLogger('X').warning('hello')"
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, env={"HOME": "/nowhere"}, capture_output=True, timeout=60
    )
    assert done.returncode == 0
    assert LINE.fullmatch(done.stderr.decode().rstrip("\n"))


@pytest.mark.parametrize(("word", "expected"), [("ERROR", ["e"]), ("info", ["i", "e"]), ("nonsense", ["d", "i", "e"])])
def test_the_general_level_decides_and_nonsense_means_debug(
    configure: Configure, word: str, expected: list[str]
) -> None:
    logs = configure(log_level=word)
    logger = PandaLogger.getLogger("Level")
    logger.debug("d")
    logger.info("i")
    logger.error("e")
    assert [line[-1] for line in (logs / "panda-Level.log").read_text().splitlines()] == expected


def test_a_single_logger_can_have_its_own_level(configure: Configure) -> None:
    logs = configure(log_level="ERROR", levels={"Chatty": "DEBUG"})
    PandaLogger.getLogger("Chatty").debug("x")
    PandaLogger.getLogger("Other").info("x")
    assert [file.name for file in logs.iterdir()] == ["panda-Chatty.log"]


def test_the_section_of_levels_wins_over_the_level_in_the_code(configure: Configure) -> None:
    logs = configure(levels={"Coded": "ERROR"})
    PandaLogger.getLogger("Coded", logging.DEBUG).info("x")
    assert not list(logs.iterdir())


def test_dbproxy_keeps_its_details_to_itself_unless_asked(configure: Configure) -> None:
    logs = configure(log_level="DEBUG")
    PandaLogger.getLogger("DBProxy").debug("hidden")
    configure(log_level="DEBUG", levels={"DBProxy": "DEBUG"})
    PandaLogger.getLogger("DBProxy").debug("shown")
    text = (logs / "panda-DBProxy.log").read_text()
    assert "shown" in text
    assert "hidden" not in text


def test_a_second_file_of_dbproxy_stays_short(configure: Configure) -> None:
    logs = configure(levels={"DBProxy": "DEBUG"})
    PandaLogger.getLogger("DBProxy").debug("a detail")
    PandaLogger.getLogger("DBProxy").info("a call")
    assert [line[-6:] for line in (logs / "panda-DBProxyFiltered.log").read_text().splitlines()] == ["a call"]
    assert len((logs / "panda-DBProxy.log").read_text().splitlines()) == 2


def test_the_broker_library_gets_a_file_of_its_own(configure: Configure) -> None:
    logs = configure()
    logging.getLogger("stomp.py").debug("a frame")
    logging.getLogger("stomp.py").info("connected")
    text = (logs / "panda-stomp.py.log").read_text()
    assert LINE.fullmatch(text.rstrip("\n"))
    assert text.endswith(" stomp.py    : INFO     connected\n")


def test_the_level_of_the_broker_library_can_be_set(configure: Configure) -> None:
    logs = configure(levels={"stomp.py": "DEBUG"})
    logging.getLogger("stomp.py").debug("a frame")
    assert "a frame" in (logs / "panda-stomp.py.log").read_text()


def test_a_rollover_that_was_asked_for_begins_new_files(configure: Configure) -> None:
    logs = configure(rotating_policy="size", rotating_backup_count=2)
    PandaLogger.getLogger("Rolled").info("before")
    do_log_rollover()
    configure(rotating_policy="size", rotating_backup_count=2)
    PandaLogger.getLogger("Rolled").info("after")
    assert "before" in (logs / "panda-Rolled.log.1").read_text()
    assert "before" not in (logs / "panda-Rolled.log").read_text()


def test_lines_of_a_request_carry_its_identifier(configure: Configure) -> None:
    logs = configure()
    token = request_id.set("r-17")
    try:
        PandaLogger.getLogger("Entry").info("getJob")
    finally:
        request_id.reset(token)
    assert (logs / "panda-Entry.log").read_text().endswith(" getJob request_id=r-17\n")


def test_lines_that_are_parsed_to_their_end_stay_as_they_are(configure: Configure) -> None:
    logs = configure()
    token = request_id.set("r-17")
    try:
        PandaLogger.getLogger("PilotRequests").info("method=getJob,site=A,node=b,type=user")
    finally:
        request_id.reset(token)
    assert (logs / "panda-PilotRequests.log").read_text().endswith(",type=user\n")


def test_a_traceback_follows_its_line(configure: Configure) -> None:
    logs = configure()
    try:
        raise ValueError("broken")
    except ValueError:
        PandaLogger.getLogger("Trace").exception("failed")
    lines = (logs / "panda-Trace.log").read_text().splitlines()
    assert LINE.fullmatch(lines[0])
    assert lines[-1] == "ValueError: broken"


def test_nobody_writes_a_second_line_with_what_they_send(configure: Configure) -> None:
    logs = configure()
    PandaLogger.getLogger("Forged").info("node=a\nb\r\x1b[2J\u2028\udcff é")
    [line] = (logs / "panda-Forged.log").read_text().splitlines()
    assert line.endswith("node=a\\nb\\r\\x1b[2J\\u2028\\udcff é")


@pytest.mark.parametrize(
    "message",
    [
        "Authorization: Bearer abcdefgh.ijklmnop",
        "token eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJqYW5lIn0.abcdefgh rejected",
        f"password {Secret('abcdefgh')}",
    ],
)
def test_credentials_do_not_reach_a_file(configure: Configure, message: str) -> None:
    logs = configure()
    PandaLogger.getLogger("Secrets").error(message)
    text = (logs / "panda-Secrets.log").read_text()
    assert "abcdefgh" not in text
    assert "<hidden>" in text


def test_an_unformattable_record_is_reported_and_not_raised(configure: Configure) -> None:
    logs = configure()
    PandaLogger.getLogger("Bad").info("%d", "not a number")
    assert "unreadable log record of" in (logs / "panda-Bad.log").read_text()


def test_json_lines_carry_the_same_facts(configure: Configure) -> None:
    logs = configure(line_format="json")
    token = request_id.set("r-18")
    try:
        PandaLogger.getLogger("Json").warning("hello")
    finally:
        request_id.reset(token)
    fields = json.loads((logs / "panda-Json.log").read_text())
    assert fields.pop("time")
    assert fields == {"logger": "panda.log.Json", "level": "WARNING", "message": "hello", "request_id": "r-18"}


def test_containers_see_every_line_on_stdout(configure: Configure, capfd: pytest.CaptureFixture[str]) -> None:
    logs = configure(log_to_stdout=True)
    PandaLogger.getLogger("Copied").info("hello")
    assert capfd.readouterr().out == (logs / "panda-Copied.log").read_text()


def test_policy_size_keeps_the_configured_number_of_files(configure: Configure) -> None:
    logs = configure(rotating_policy="size", rotating_max_size=1, rotating_backup_count=2)
    logger = PandaLogger.getLogger("Sized")
    for _ in range(40):
        logger.info("x" * 100_000)
    names = sorted(file.name for file in logs.iterdir())
    assert names == ["panda-Sized.log", "panda-Sized.log.1", "panda-Sized.log.2"]


def test_policy_time_writes_the_same_lines(configure: Configure) -> None:
    logs = configure(rotating_policy="time")
    PandaLogger.getLogger("Timed").info("hello")
    assert LINE.fullmatch((logs / "panda-Timed.log").read_text().rstrip("\n"))


def _write_many(name: str, number: int) -> None:
    logger = PandaLogger.getLogger(name)
    for n in range(1000):
        logger.info(f"from={number} n={n} {'x' * 300} end")


def test_lines_of_twenty_processes_stay_intact(configure: Configure) -> None:
    logs = configure()
    fork = multiprocessing.get_context("fork")
    writers = [fork.Process(target=_write_many, args=("Shared", number)) for number in range(20)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(120)
    lines = (logs / "panda-Shared.log").read_text().splitlines()
    found = [re.fullmatch(r".* INFO +from=(\d+) n=(\d+) x{300} end", line) for line in lines]
    assert {(int(m[1]), int(m[2])) for m in found if m} == {(p, n) for p in range(20) for n in range(1000)}
    assert len(lines) == 20_000
