"""Searching logs: what a pattern means, what may be read, and that neither takes for ever."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from pandaserver.daemons.scripts.async_request_daemon import carry_out
from pandaserver.dataservice.log_search import Pattern, check_file_name, search
from pandaserver.srvcore.errors import BadRequest, NotFound


@pytest.mark.parametrize(
    ("pattern", "line", "matches"),
    [
        ("PandaID=1", "<PandaID=12> moved", True),
        ("PandaID=1", "<pandaid=1>", False),
        ("a.*c", "abc", True),
        ("a.*c", "ca", False),
        ("a.*a", "a", False),
        ("^moved", "moved x", True),
        ("^moved", "x moved", False),
        ("end$", "the end", True),
        ("end$", "the end.", False),
        ("^a$", "a", True),
        ("^a$", "ab", False),
        ("^a.*a$", "a", False),
        ("^a.*a$", "aa", True),
        ("(a+)+[b]?", "(a+)+[b]?", True),
        ("(a+)+[b]?", "aaab", False),
        (r"a\.*b", "a.*b", True),
        (r"a\.*b", "axb", False),
        (r"\$x\$", "a $x$ b", True),
        ("ü", "für", True),
        (".*", "", True),
    ],
)
def test_a_pattern_is_text_with_gaps(pattern: str, line: str, matches: bool) -> None:
    assert Pattern(pattern).matches(line.encode()) is matches


@pytest.mark.parametrize("pattern", ["", "x" * 501, "a\nb"])
def test_a_pattern_has_a_length(pattern: str) -> None:
    with pytest.raises(BadRequest):
        Pattern(pattern)


@pytest.mark.parametrize(
    "name",
    ["", "panda-x", "x.log", "panda-../x.log", "panda-a/b.log", "/panda-a.log", "panda-a..log", "panda-a.log\n"],
)
def test_only_logs_may_be_searched(name: str) -> None:
    with pytest.raises(BadRequest, match="log_filename"):
        check_file_name(name)


def found(directory: Path, name: str, pattern: str, most_bytes: int = 1000) -> tuple[tuple[str, ...], bool]:
    result = search(directory, name, Pattern(pattern), seconds=60, most_bytes=most_bytes)
    return result.lines, result.truncated


def test_plain_and_compressed_logs_are_searched(tmp_path: Path) -> None:
    (tmp_path / "panda-Entry.log").write_bytes(b"one\ntwo \xff\r\nthree")
    (tmp_path / "panda-Entry.log-20260101.gz").write_bytes(gzip.compress(b"one\ntwo\n"))
    assert found(tmp_path, "panda-Entry.log", "t") == (("two \ufffd", "three"), False)
    assert found(tmp_path, "panda-Entry.log-20260101.gz", "t") == (("two",), False)


def test_an_answer_has_an_end(tmp_path: Path) -> None:
    (tmp_path / "panda-Entry.log").write_text("aaaa\n" * 10)
    assert found(tmp_path, "panda-Entry.log", "a", most_bytes=12) == (("aaaa", "aaaa"), True)
    (tmp_path / "panda-Entry.log").write_text("x" * 1_000_000)
    assert found(tmp_path, "panda-Entry.log", "x", most_bytes=100_000)[1] is True
    assert search(tmp_path, "panda-Entry.log", Pattern("x"), seconds=-1, most_bytes=9).truncated


def test_a_log_that_is_none_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("a")
    (tmp_path / "panda-link.log").symlink_to(tmp_path / "secret")
    (tmp_path / "panda-dir.log").mkdir()
    os.mkfifo(tmp_path / "panda-fifo.log")
    (tmp_path / "panda-damaged.gz").write_bytes(gzip.compress(b"a" * 99)[:-9])
    for name in ("panda-link.log", "panda-dir.log", "panda-fifo.log", "panda-none.log", "panda-damaged.gz"):
        with pytest.raises(NotFound):
            found(tmp_path, name, "a")


def test_the_daemon_answers_whatever_it_is_asked(tmp_path: Path) -> None:
    (tmp_path / "panda-Entry.log").write_text("one\ntwo\n")
    grep = carry_out("grep", {"pattern": "t.*o", "log_filename": "panda-Entry.log"}, tmp_path)
    assert (grep.status, grep.text, grep.return_code) == ("done", "two", 0)
    assert carry_out("grep", {"pattern": "x", "log_filename": "panda-Entry.log"}, tmp_path).return_code == 1
    assert carry_out("grep", {"pattern": "x", "log_filename": "panda-No.log"}, tmp_path).status == "failed"
    assert carry_out("sleep_echo", {"message": "hi", "seconds": 0}, tmp_path).text == "hi"
    assert "does not know" in carry_out("rm", {}, tmp_path).error
