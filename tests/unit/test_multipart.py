"""Multipart bodies cost bounded memory, whatever they are made of."""

from __future__ import annotations

import errno
import io
import os
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pandaserver.api import multipart
from pandaserver.api.multipart import read_multipart
from pandaserver.api.reading import BodyStream
from pandaserver.srvcore.errors import BadRequest, StorageError
from pandaserver.srvcore.file_cache import FileCache

MB = 2**20
BLOCK = b"x" * 65536


def part(name: str, filename: str | None = None) -> bytes:
    named = f'; filename="{filename}"' if filename is not None else ""
    return f'--b\r\nContent-Disposition: form-data; name="{name}"{named}\r\n\r\n'.encode()


def body(megabytes: int, filename: str | None = "sources.1") -> Iterator[bytes]:
    """Yield one part of so many megabytes, never as a whole."""
    yield part("file", filename)
    for _ in range(megabytes * 16):
        yield BLOCK
    yield b"\r\n--b--\r\n"


def read(chunks: Any, directory: Path) -> list[tuple[str, Any]]:
    return read_multipart(chunks, "boundary=b", str(directory))


def test_a_large_file_never_lies_in_memory(tmp_path: Path) -> None:
    tracemalloc.start()
    try:
        [(name, upload)] = read(body(64), tmp_path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (name, upload.filename, upload.size) == ("file", "sources.1", 64 * MB)
    assert peak < 4 * MB
    assert list(tmp_path.iterdir()) == [], "what waits on the disk has no name, so nothing is left of it"
    upload.stream.close()


def test_a_file_is_what_was_sent(tmp_path: Path) -> None:
    data = bytes(range(256)) * 8192 + b"\r\n--b" + b"\0" * 10 + b"\r\n-"
    whole = part("file", "a") + data + b"\r\n--b--\r\n"
    for size in (1000, 65536, len(whole)):
        chunks = (whole[start : start + size] for start in range(0, len(whole), size))
        [(_, upload)] = read(chunks, tmp_path)
        assert upload.stream.read() == data


def test_many_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="more than 10 files"):
        read((part("file", str(number)) + b"x\r\n" for number in range(100)), tmp_path)


def test_many_long_texts_are_refused(tmp_path: Path) -> None:
    chunks = (part(f"f{number}") + b"x" * MB + b"\r\n" for number in range(20))
    with pytest.raises(BadRequest, match="all text may have"):
        read(chunks, tmp_path)


def test_a_text_without_end_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="is too long"):
        read(body(40, filename=None), tmp_path)


@pytest.mark.parametrize("cut", [4, 10, 100, 1000])
def test_a_body_that_is_cut_off_is_refused(tmp_path: Path, cut: int) -> None:
    whole = part("file", "a") + b"x" * 2000 + b"\r\n--b--\r\n"
    with pytest.raises(BadRequest):
        read([whole[:-cut]], tmp_path)
    assert list(tmp_path.iterdir()) == []


class FullDisk(io.BytesIO):
    def write(self, data: Any) -> int:
        if self.tell() > 3 * MB:
            raise OSError(errno.ENOSPC, "no space")
        return super().write(data)


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multipart, "spool", lambda _: FullDisk())
    with pytest.raises(StorageError, match="cannot write the upload 'file': No space left on device"):
        read(body(8), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_without_nameless_files_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "O_TMPFILE", 0)  # what is left opens no directory for writing
    [(_, upload)] = read(body(1), tmp_path)
    assert upload.size == MB
    assert list(tmp_path.iterdir()) == []
    FileCache(tmp_path).store("a", upload.stream)
    assert (tmp_path / "a").stat().st_size == MB


# ---- lengths that lie


def stream(data: bytes, **environ: Any) -> BodyStream:
    return BodyStream({"wsgi.input": io.BytesIO(data), **environ}, limit=100)


def test_a_body_longer_than_announced_is_read_as_far_as_announced() -> None:
    assert stream(b"0123456789", CONTENT_LENGTH="4").all() == b"0123"


def test_a_body_shorter_than_announced_is_refused() -> None:
    with pytest.raises(BadRequest, match="90 bytes before its Content-Length of 100"):
        stream(b"0123456789", CONTENT_LENGTH="100").all()


def test_a_body_in_chunks_has_the_same_limit() -> None:
    assert stream(b"x" * 100, **{"wsgi.input_terminated": True}).all() == b"x" * 100
    with pytest.raises(BadRequest, match="more than the 100 bytes"):
        stream(b"x" * 101, **{"wsgi.input_terminated": True}).all()


def test_a_connection_that_ends_is_no_bug() -> None:
    class Gone(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OSError(
                "Apache/mod_wsgi request data read error: Partial results are valid but processing is incomplete"
            )

    with pytest.raises(BadRequest, match="the body ended after 0 bytes"):
        BodyStream({"wsgi.input": Gone(), "CONTENT_LENGTH": "10"}, limit=100).all()
