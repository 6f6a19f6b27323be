"""What a process prints, while others rename, remove or forbid the file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pandacommon.pandalogger import file_handler
from pandaserver.daemons import output_files
from pandaserver.daemons.output_files import OutputFiles


@pytest.fixture
def descriptor(tmp_path: Path) -> Iterator[int]:
    opened = os.open(tmp_path / "out", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    yield opened
    os.close(opened)


def test_output_goes_on_in_a_new_file_once_somebody_looks(descriptor: int, tmp_path: Path) -> None:
    output = OutputFiles([descriptor])
    os.write(descriptor, b"before\n")
    (tmp_path / "out").rename(tmp_path / "out-1")
    os.write(descriptor, b"between\n")
    output.follow()
    os.write(descriptor, b"after\n")
    assert (tmp_path / "out-1").read_text() == "before\nbetween\n"
    assert (tmp_path / "out").read_text() == "after\n"


def test_a_file_that_somebody_else_made_anew_is_appended_to(descriptor: int, tmp_path: Path) -> None:
    output = OutputFiles([descriptor])
    (tmp_path / "out").rename(tmp_path / "out-1")
    (tmp_path / "out").write_text("theirs\n")
    output.follow()
    os.write(descriptor, b"ours\n")
    assert (tmp_path / "out").read_text() == "theirs\nours\n"


def test_a_file_that_keeps_its_name_stays_open(descriptor: int, tmp_path: Path) -> None:
    output = OutputFiles([descriptor])
    os.lseek(descriptor, 0, os.SEEK_SET)
    before = os.fstat(descriptor).st_ino
    output.follow()
    assert os.fstat(descriptor).st_ino == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def test_pipes_and_closed_descriptors_are_left_alone() -> None:
    reading, writing = os.pipe()
    before = os.fstat(writing).st_ino
    os.close(reading)
    OutputFiles([reading, writing]).follow()
    assert os.fstat(writing).st_ino == before
    os.close(writing)


def test_a_file_that_was_removed_before_is_not_made_again(descriptor: int, tmp_path: Path) -> None:
    (tmp_path / "out").unlink()
    OutputFiles([descriptor]).follow()
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_opened_is_told_once_and_the_former_file_goes_on(
    descriptor: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(path: Path) -> int:
        raise PermissionError(13, "Permission denied", str(path))

    output = OutputFiles([descriptor])
    (tmp_path / "out").rename(tmp_path / "out-1")
    monkeypatch.setattr(output_files, "open_shared", refuse)
    output.follow()
    output.follow()
    os.write(descriptor, b"on\n")
    assert (tmp_path / "out-1").read_text() == "on\n"
    assert capsys.readouterr().err.count("goes on to the former file") == 1
    monkeypatch.setattr(output_files, "open_shared", file_handler.open_shared)
    output.follow()
    os.write(descriptor, b"again\n")
    assert (tmp_path / "out").read_text() == "again\n"
