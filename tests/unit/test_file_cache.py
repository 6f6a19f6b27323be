"""Files of clients: names, files that are whole or not there, and disks that are full at any moment."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import string
import struct
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pandaserver.srvcore import file_cache
from pandaserver.srvcore.errors import BadRequest, Conflict, NotFound, StorageError
from pandaserver.srvcore.file_cache import FileCache, is_rewritable, safe_name, spool, storing, upload_name


@pytest.fixture
def cache(tmp_path: Path) -> FileCache:
    return FileCache(tmp_path)


def content(data: bytes = b"content") -> io.BytesIO:
    return io.BytesIO(data)


# ---- names

#: What stands in URLs, shell scripts and replies as it is.
PLAIN = set(string.ascii_letters + string.digits + "._~+=@,-")
HOSTILE = st.lists(
    st.sampled_from(
        ["..", "/", "\\", "\0", "\n", "\r", ".", "a", "é", "\u202e", "\uff0f", "\ufeff", "%2f", "evp.", ":", " "]
    )
).map("".join)


@given(st.one_of(st.text(), HOSTILE))
@example("..")
@example("../../etc/passwd")
@example("a/..")
@example("sources.1\n")
@example("sources.1\0.tar.gz")
@example("\uff45\uff56\uff50.1")
@example("\u202egz.rat")
@example("a\uff0fb")
@example("C:\\x\\sources.1")
@example("-rf")
@example("a" * 256)
def test_a_name_is_refused_or_names_a_file_of_the_directory_alone(name: str) -> None:
    try:
        base = upload_name(name)
    except BadRequest:
        return
    assert base == name.rpartition("/")[2], "never another file than the client meant"
    assert set(base) <= PLAIN
    assert base[0] not in ".-~+=@,"
    assert len(base) <= 255
    assert not base.lower().startswith(("evp.", "recov.", "workflow.", "hpo_cp_", "lost_file_recovery."))
    assert base.lower() not in ("jedilog", "schedconfig")


@pytest.mark.parametrize(
    "name",
    [
        "sources.3f2b7d1c-9d55-4a3e-8f60-0a3b7b2d3a11.tar.gz",
        "jobO.3f2b7d1c-9d55-4a3e-8f60-0a3b7b2d3a11.tar.gz",
        "sources.3f2b7d1c-9d55-4a3e-8f60-0a3b7b2d3a11.__ow__",
        "pre_3f2b7d1c-9d55-4a3e-8f60-0a3b7b2d3a11.dat.gz",
        "hv1__grid.1234.0.out",
        "null",
        "CON",
        "a" * 255,
    ],
)
def test_names_of_clients_are_taken_as_they_are(name: str) -> None:
    assert upload_name(f"/some/../where/{name}") == name


@pytest.mark.parametrize(
    "name",
    ["evp.1", "recov.1", "workflow.1", "hpo_cp_1_2", "lost_file_recovery.1.log", "EVP.1", "jedilog", "schedconfig"],
)
def test_names_of_the_servers_own_files_are_refused(name: str) -> None:
    with pytest.raises(BadRequest, match="the server's own files"):
        upload_name(f"x/{name}")
    assert safe_name(name) == name


@pytest.mark.parametrize(
    ("name", "is_so"), [("a.__ow__", True), ("a.__ow__.gz", False), ("__ow__", True), ("a__ow__", False)]
)
def test_the_last_part_of_a_name_makes_it_rewritable(name: str, is_so: bool) -> None:
    assert is_rewritable(name) is is_so


# ---- whole files


def test_a_file_is_kept_with_size_and_checksum(cache: FileCache, tmp_path: Path) -> None:
    data = b"x" * 3_000_000 + struct.pack("<II", 4000000000, 7)
    stored = cache.store("a", content(data))
    assert (stored.name, stored.size, stored.checksum) == ("a", len(data), 4000000000)
    assert (tmp_path / "a").read_bytes() == data
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o644
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_file_too_short_for_a_trailer_has_no_checksum(cache: FileCache) -> None:
    assert cache.store("a", content(b"1234567")).checksum is None


def test_content_and_name_are_on_the_disk_before_the_answer(cache: FileCache, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    real = os.fsync

    def fsync(handle: int) -> None:
        synced.append("directory" if os.path.isdir(f"/proc/self/fd/{handle}") else "file")
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    cache.store("a", content())
    assert synced == ["file", "directory"]


def test_a_stream_that_ends_in_an_error_leaves_nothing(cache: FileCache, tmp_path: Path) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell():
                raise BadRequest("cut off")
            return super().read(3)

    with pytest.raises(BadRequest):
        cache.store("a", Broken(b"content"))
    assert list(tmp_path.iterdir()) == []


def test_of_many_with_one_name_one_is_kept_whole(cache: FileCache, tmp_path: Path) -> None:
    start = threading.Barrier(8)

    def store(byte: int) -> bool:
        start.wait()
        try:
            cache.store("a", content(bytes([byte]) * 100_000))
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(store, range(8)))
    assert done.count(True) == 1
    assert (tmp_path / "a").read_bytes() == bytes([done.index(True)]) * 100_000
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_of_many_that_rewrite_a_file_the_last_is_there_whole(cache: FileCache, tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda byte: cache.store("a.__ow__", content(bytes([byte]) * 100_000)), range(8)))
    kept = (tmp_path / "a.__ow__").read_bytes()
    assert kept == kept[:1] * 100_000
    assert [path.name for path in tmp_path.iterdir()] == ["a.__ow__"]


def test_a_refused_file_makes_the_old_one_young(cache: FileCache, tmp_path: Path) -> None:
    cache.store("a", content())
    os.utime(tmp_path / "a", (0, 0))
    with pytest.raises(Conflict, match="cannot overwrite file a"):
        cache.store("a", content(b"other"))
    assert (tmp_path / "a").stat().st_mtime > time.time() - 60
    assert (tmp_path / "a").read_bytes() == b"content"


@pytest.mark.parametrize("replace", [False, True])
def test_a_directory_is_no_file(cache: FileCache, tmp_path: Path, replace: bool) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(StorageError if replace else Conflict):
        cache.store("a", content(), replace=replace)
    with pytest.raises(NotFound):
        cache.touch("a")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_link_is_neither_followed_nor_touched(cache: FileCache, tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory() as elsewhere:
        victim = Path(elsewhere, "victim")
        victim.write_bytes(b"old")
        os.utime(victim, (0, 0))
        (tmp_path / "a").symlink_to(victim)
        with pytest.raises(Conflict):
            cache.store("a", content())
        with pytest.raises(NotFound):
            cache.touch("a")
        cache.store("a", content(), replace=True)
        assert (victim.read_bytes(), victim.stat().st_mtime) == (b"old", 0)
    assert (tmp_path / "a").read_bytes() == b"content"


def test_removing_says_whether_there_was_a_file(cache: FileCache) -> None:
    cache.store("a", content())
    assert [cache.remove("a"), cache.remove("a")] == [True, False]


def test_a_file_without_a_name_gets_one_and_is_not_copied(
    cache: FileCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with spool(str(tmp_path)) as upload:
        upload.write(b"x" * 100_000 + struct.pack("<II", 4000000000, 7))
        upload.seek(0)
        monkeypatch.setattr(file_cache, "_copied", full)
        number = os.fstat(upload.fileno()).st_ino
        assert [path.name for path in tmp_path.iterdir()] == []
        stored = cache.store("a", upload)
    assert (stored.size, stored.checksum) == (100_008, 4000000000)
    assert (tmp_path / "a").stat().st_ino == number
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o644
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("size", [0, 7, 8])
def test_a_short_file_without_a_name_has_its_checksum(cache: FileCache, tmp_path: Path, size: int) -> None:
    with spool(str(tmp_path)) as upload:
        upload.write(b"12345678"[:size])
        upload.seek(0)
        stored = cache.store("a", upload)
    assert (stored.size, stored.checksum) == (size, 0x34333231 if size == 8 else None)


@pytest.mark.parametrize("name", ["a", "a.__ow__"])
def test_a_nameless_file_that_is_refused_stays_nameless(cache: FileCache, tmp_path: Path, name: str) -> None:
    cache.store(name, content(b"before"))
    with spool(str(tmp_path)) as upload:
        upload.write(b"after")
        upload.seek(0)
        with contextlib.suppress(Conflict):
            cache.store(name, upload)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_bytes() == (b"before" if name == "a" else b"after")


def test_a_nameless_file_on_another_disk_is_copied(cache: FileCache, tmp_path: Path) -> None:
    with spool("/dev/shm") as upload:
        upload.write(b"content")
        upload.seek(0)
        assert cache.store("a", upload).size == 7
    assert (tmp_path / "a").read_bytes() == b"content"


@pytest.mark.parametrize(
    "what", ["the file cannot be synced", "the file gets no name", "the directory cannot be synced"]
)
def test_a_full_disk_leaves_nothing_of_a_nameless_file(
    cache: FileCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    with spool(str(tmp_path)) as upload:
        upload.write(b"content")
        upload.seek(0)
        monkeypatch.setattr(*BREAKS[what])
        with pytest.raises(StorageError, match="No space left"):
            cache.store("a", upload)
    assert list(tmp_path.iterdir()) == []


# ---- disks that are full


def full(*_: Any, **__: Any) -> Any:
    raise OSError(errno.ENOSPC, "no space")


def full_in_the_middle(_content: Any, write: Callable[[bytes], object], **_: Any) -> Any:
    write(b"half of the con")
    raise OSError(errno.ENOSPC, "no space")


def full_at_the_end(handle: int) -> None:
    if os.path.isdir(f"/proc/self/fd/{handle}"):
        raise OSError(errno.ENOSPC, "no space")


BREAKS = {
    "the file cannot be made": (Path, "open", full),
    "a write fails": (file_cache, "_copy", full_in_the_middle),
    "the file cannot be synced": (os, "fsync", full),
    "the file gets no name": (os, "link", full),
    "the directory cannot be synced": (os, "fsync", full_at_the_end),
}


@pytest.mark.parametrize("what", BREAKS)
def test_a_full_disk_leaves_nothing_of_a_new_file(
    cache: FileCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr(*BREAKS[what])
    with pytest.raises(StorageError, match="cannot write file a: No space left on device"):
        cache.store("a", content())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("what", ["the file cannot be made", "a write fails", "the file cannot be synced"])
def test_a_full_disk_leaves_a_rewritable_file_as_it_was(
    cache: FileCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    cache.store("a.__ow__", content(b"before"))
    monkeypatch.setattr(*BREAKS[what])
    with pytest.raises(StorageError):
        cache.store("a.__ow__", content())
    monkeypatch.undo()
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a.__ow__", b"before")]


def test_a_rewritable_file_that_gets_no_name_stays_as_it_was(
    cache: FileCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.store("a.__ow__", content(b"before"))
    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(StorageError):
        cache.store("a.__ow__", content())
    monkeypatch.undo()
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a.__ow__", b"before")]


def test_errors_that_are_no_errors_of_the_disk_pass() -> None:
    with pytest.raises(Conflict), storing("x"):
        raise Conflict("something else")
