"""Counting the requests of pilots from their log."""

from __future__ import annotations

import gzip
import logging
import os
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from pandacommon.pandalogger.line_format import JsonFormatter, LineFormatter
from pandacommon.pandautils.PandaUtils import naive_utcnow
from pandaserver.config.settings import ServerSettings
from pandaserver.daemons.scripts.add_sub import is_our_turn, is_rotation
from pandaserver.dataservice import pilot_counts
from pandaserver.dataservice.pilot_counts import LOG_NAME, PilotCounts, count_requests

NOW = datetime(2026, 3, 4, 12, 0, 0)


def line(minutes: float, method: str = "getJob", site: str = "Q", node: str = "n1") -> str:
    when = NOW - timedelta(minutes=minutes)
    facts = f"method={method},site={site},node={node},type=user"
    return f"{when:%Y-%m-%d %H:%M:%S},123 panda.log.PilotRequests: INFO     {facts}\n"


def write(path: Path, text: str, minutes: float = 0) -> Path:
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    moment = (NOW - timedelta(minutes=minutes) - datetime(1970, 1, 1)).total_seconds()
    os.utime(path, (moment, moment))
    return path


def test_requests_count_in_the_windows_they_are_in(tmp_path: Path) -> None:
    lines = [line(200), line(170), line(61), line(59), line(30, "updateJob", node="slot1_2@n2"), line(5, site="R")]
    write(tmp_path / LOG_NAME, "".join(lines))
    assert count_requests(tmp_path, NOW, (3, 1)) == {
        3: {"Q": PilotCounts(3, 1, {"n1", "n2"}), "R": PilotCounts(1, 0, {"n1"})},
        1: {"Q": PilotCounts(1, 1, {"n1", "n2"}), "R": PilotCounts(1, 0, {"n1"})},
    }


@pytest.mark.parametrize("formatter", [LineFormatter(), JsonFormatter()], ids=["text", "json"])
def test_lines_count_as_the_server_writes_them(tmp_path: Path, formatter: logging.Formatter) -> None:
    message = "method=updateJob,site=Q,node=n1,type=user"
    record = logging.LogRecord("panda.log.PilotRequests", logging.INFO, "x", 1, "%s", (message,), None)
    (tmp_path / LOG_NAME).write_text(f"{formatter.format(record)}\n" * 3)
    now = naive_utcnow() + timedelta(seconds=2)
    assert count_requests(tmp_path, now, (1,))[1] == {"Q": PilotCounts(0, 3, {"n1"})}


def test_rotated_files_of_the_window_count_once(tmp_path: Path) -> None:
    write(tmp_path / LOG_NAME, line(5))
    write(tmp_path / f"{LOG_NAME}-20260304", line(20), 20)
    write(tmp_path / f"{LOG_NAME}-20260304.gz", line(20), 20)
    write(tmp_path / f"{LOG_NAME}.1.gz", line(40), 40)
    write(tmp_path / f"{LOG_NAME}.2.gz", line(10), 400)
    assert count_requests(tmp_path, NOW, (3,))[3]["Q"].get_job == 3


def test_what_is_no_request_of_a_pilot_does_not_count(tmp_path: Path) -> None:
    odd = ["\n", "Traceback\n", line(5, "getStatus"), line(5, site="None"), line(-30), line(5).replace("2026", "20x6")]
    write(tmp_path / LOG_NAME, "".join(odd) + line(5, node="None") + line(5)[:40])
    assert count_requests(tmp_path, NOW, (3,))[3] == {"Q": PilotCounts(1, 0, set())}


def test_without_a_log_nothing_is_counted(tmp_path: Path) -> None:
    assert count_requests(tmp_path, NOW, (3, 1)) == {3: {}, 1: {}}


@pytest.mark.parametrize("close", [1, 100, 1000, 10**6])
def test_the_window_begins_at_its_first_line_wherever_the_search_lands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, close: int
) -> None:
    monkeypatch.setattr(pilot_counts, "_CLOSE", close)
    for old in (0, 1, 7, 300):
        write(tmp_path / LOG_NAME, "".join(line(600 - n / 10) for n in range(old)) + line(179) + line(178))
        assert count_requests(tmp_path, NOW, (3,))[3]["Q"].get_job == 2


def test_a_large_log_is_not_read_from_its_begin(tmp_path: Path) -> None:
    path = write(tmp_path / LOG_NAME, line(600) * 20_000 + line(5))
    with path.open("rb") as stream:
        begin = pilot_counts._begin(stream, path.stat().st_size, NOW - timedelta(hours=3))
    assert path.stat().st_size - begin < 2 * pilot_counts._CLOSE


@pytest.mark.parametrize(
    ("clock", "expected"),
    [((2, 56), False), ((2, 57), True), ((3, 2), True), ((3, 7), True), ((3, 8), False), ((15, 2), False)],
)
def test_logs_are_left_alone_while_they_are_rotated(clock: tuple[int, int], expected: bool) -> None:
    assert is_rotation(datetime(2026, 3, 4, *clock)) is expected


@pytest.mark.parametrize(("minute", "turns"), [(0, [0]), (4, [0]), (5, [1]), (9, [1]), (10, [2]), (15, [0]), (59, [2])])
def test_machines_take_turns(minute: int, turns: list[int]) -> None:
    now = datetime(2026, 3, 4, 12, minute)
    numbers = (0, 1, 2, 999)
    assert [n for n in numbers if is_our_turn(ServerSettings(nrun_interval=5, nrun_hosts=3, nrun_snum=n), now)] == turns
