"""Logs that grow by compressed increments."""

from __future__ import annotations

import errno
import io
import os
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pandaserver.srvcore import log_files
from pandaserver.srvcore.errors import BadRequest, Conflict, StorageError
from pandaserver.srvcore.file_cache import FileCache
from pandaserver.srvcore.log_files import LogFiles, expanded, is_increment

LIMIT = 1000


def packed(text: bytes) -> io.BytesIO:
    return io.BytesIO(zlib.compress(text))


@pytest.fixture
def logs(tmp_path: Path) -> LogFiles:
    return LogFiles(tmp_path, LIMIT)


def test_increments_follow_each_other(logs: LogFiles, tmp_path: Path) -> None:
    assert [logs.append("hv1__a.log", packed(text)) for text in (b"one\n", b"", b"two\n")] == [4, 0, 4]
    assert (tmp_path / "hv1__a.log").read_bytes() == b"one\ntwo\n"
    assert logs.read("hv1__a.log", 4, 100) == b"two\n"
    assert logs.read("hv1__a.log", 0, 2) == b"on"
    assert logs.read("hv1__a.log", 100, 2) == b""


def test_a_name_stays_in_the_directory(logs: LogFiles, tmp_path: Path) -> None:
    logs.append("../../etc/a.log", packed(b"x"))
    assert [path.name for path in tmp_path.iterdir()] == ["a.log"]
    assert logs.read("/some/where/a.log", 0, 10) == b"x"
    for name in ("", "..", "dir/", ".hidden", "a\nb"):
        with pytest.raises(BadRequest):
            logs.append(name, packed(b"x"))


@pytest.mark.parametrize("damage", [b"no zlib at all", zlib.compress(b"x" * 500)[:-3], b"", b"\x78\x9c\xff\xff"])
def test_a_damaged_increment_leaves_the_log_as_it_was(logs: LogFiles, tmp_path: Path, damage: bytes) -> None:
    logs.append("a.log", packed(b"before"))
    with pytest.raises(BadRequest, match="zlib"):
        logs.append("a.log", io.BytesIO(damage))
    assert (tmp_path / "a.log").read_bytes() == b"before"


def test_a_log_has_a_limit_and_a_bomb_leaves_nothing(logs: LogFiles, tmp_path: Path) -> None:
    logs.append("a.log", packed(b"before"))
    with pytest.raises(BadRequest, match="more than 1000 bytes"):
        logs.append("a.log", packed(b"x" * 1000))
    with pytest.raises(BadRequest, match="more than 1000 bytes"):
        logs.append("a.log", packed(b"\0" * 20_000_000))
    assert (tmp_path / "a.log").read_bytes() == b"before"
    assert logs.append("a.log", packed(b"x" * 994)) == 994


def test_a_bomb_expands_piece_by_piece() -> None:
    sizes = [len(part) for part in expanded(packed(b"\0" * 5_000_000))]
    assert sum(sizes) == 5_000_000
    assert max(sizes) <= 2**16


def test_nothing_is_appended_to_what_is_no_log(logs: LogFiles, tmp_path: Path) -> None:
    FileCache(tmp_path).store("sources.x.tar.gz", io.BytesIO(b"sandbox"))
    (tmp_path / "secret").write_text("s")
    os.symlink(tmp_path / "secret", tmp_path / "link.log")
    (tmp_path / "dir.log").mkdir()
    for name in ("sources.x.tar.gz", "link.log", "dir.log"):
        with pytest.raises(Conflict, match="is no log"):
            logs.append(name, packed(b"x"))
    assert (tmp_path / "sources.x.tar.gz").read_bytes() == b"sandbox"
    assert (tmp_path / "secret").read_text() == "s"
    assert logs.read("dir.log", 0, 10) == b""


def test_everybody_may_read_a_log_under_any_mask(logs: LogFiles, tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        logs.append("a.log", packed(b"x"))
        logs.append("a.log", packed(b"y"))
    finally:
        os.umask(before)
    assert (tmp_path / "a.log").stat().st_mode & 0o777 == 0o664


def test_increments_at_the_same_time_are_not_mixed(tmp_path: Path) -> None:
    def append(n: int) -> None:
        LogFiles(tmp_path, 10**7).append("a.log", packed(bytes([65 + n]) * 100_000 + b"\n"))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(append, range(8)))
    lines = (tmp_path / "a.log").read_bytes().splitlines()
    assert sorted(lines) == [bytes([65 + n]) * 100_000 for n in range(8)]


def test_a_zlib_stream_is_told_from_a_file() -> None:
    for level in range(10):
        assert is_increment(io.BytesIO(zlib.compress(b"x", level)))
    for other in (b"", b"x", b"plain text", b"\x1f\x8b\x08\x00 gzip", b"PK\x03\x04"):
        assert not is_increment(io.BytesIO(other))


def test_a_full_disk_leaves_a_log_as_it_was(logs: LogFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logs.append("a.log", packed(b"before"))
    parts = iter([None, OSError(errno.ENOSPC, "no space")])
    real = log_files._write

    def write(log: io.FileIO, data: bytes) -> None:
        if problem := next(parts):
            log.write(data[:10])
            raise problem
        real(log, data)

    monkeypatch.setattr(log_files, "_write", write)
    monkeypatch.setattr(log_files, "_CHUNK", 100)
    with pytest.raises(StorageError, match=r"cannot write log a\.log: No space left on device"):
        logs.append("a.log", packed(b"x" * 300))
    assert (tmp_path / "a.log").read_bytes() == b"before"
