"""Scripts of the daemon that need no database: files, names of lock holders, sections."""

from __future__ import annotations

import logging
import multiprocessing
import os
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from pandacommon.pandalogger.LogWrapper import LogWrapper
from pandaserver.daemons.environment import owner
from pandaserver.daemons.scripts import add_main, tmpwatch
from pandaserver.daemons.scripts.copyArchive import CORE_DUMPS, remove_files
from pandaserver.daemons.sections import run_sections


def make_old(path: Path, hours: float = 24 * 30) -> Path:
    path.write_text("x")
    then = time.time() - hours * 3600
    os.utime(path, (then, then))
    return path


# -- names of lock holders


def test_an_owner_fits_its_column_on_a_host_with_a_long_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "x" * 63)
    monkeypatch.setattr(os, "getpid", lambda: 4_194_304)
    monkeypatch.setattr(os, "getpgrp", lambda: 4_194_303)
    assert len(owner()) <= 56


def _tell(queue: Any) -> None:
    queue.put(owner())


def test_a_forked_process_is_another_owner() -> None:
    mine = owner()
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_tell, args=(queue,))
    child.start()
    theirs = queue.get(timeout=20)
    child.join(20)
    assert (mine == owner(), mine == theirs) == (True, False)


# -- sections


def test_a_failing_section_does_not_stop_the_others(caplog: pytest.LogCaptureFixture) -> None:
    log = LogWrapper(logging.getLogger("sections"), None)
    with caplog.at_level(logging.INFO, "sections"):
        counts = run_sections(log, {"one": lambda: 1, "two": lambda: 1 // 0, "three": lambda: 3})
    assert counts == {"one": 1, "three": 3}
    assert "failed=two" in caplog.text
    assert "ZeroDivisionError" in caplog.text


# -- turns of the Adder


class Queues:
    """Stands for an Adder: reports of users and of others that wait."""

    def __init__(self, users: int, others: int) -> None:
        self.waiting = {True: users, False: others}
        self.asked: list[bool] = []

    def run(self, limit: int, user_jobs: bool, grace: float) -> int:
        assert grace == 1.0
        self.asked.append(user_jobs)
        taken = min(limit, self.waiting[user_jobs])
        self.waiting[user_jobs] -= taken
        return taken


def test_users_get_seven_turns_of_ten(monkeypatch: pytest.MonkeyPatch) -> None:
    queues = Queues(10**9, 10**9)
    monkeypatch.setattr(add_main, "monotonic", iter(range(10**6)).__next__)
    add_main.work(queues, 1.0, stretch=100)  # type: ignore[arg-type]
    assert 0.68 < sum(queues.asked) / len(queues.asked) < 0.72


def test_a_group_of_which_nothing_waits_costs_little() -> None:
    queues = Queues(0, 2000)
    assert add_main.work(queues, 1.0, stretch=0.2) == 2000  # type: ignore[arg-type]
    assert (queues.asked.count(True), queues.asked.count(False)) == (1, 101)


# -- old files


def test_old_files_are_removed_and_young_ones_stay(tmp_path: Path) -> None:
    old, young = make_old(tmp_path / "old"), make_old(tmp_path / "young", hours=24)
    (tmp_path / "directory").mkdir()
    (tmp_path / "link").symlink_to(old)
    assert remove_files(tmp_path.glob("*"), 7) == 1
    assert (old.exists(), young.exists(), (tmp_path / "link").is_symlink()) == (False, True, True)


def test_core_dumps_are_told_from_what_only_begins_like_them(tmp_path: Path) -> None:
    (tmp_path / "core.py").write_text("x")
    (tmp_path / "core.1234").write_text("x")
    assert [path.name for path in tmp_path.glob(CORE_DUMPS)] == ["core.1234"]


def test_tmpwatch_removes_old_plain_files_of_ours(tmp_path: Path) -> None:
    old, young = make_old(tmp_path / "tmp1"), make_old(tmp_path / "tmp2", hours=1)
    other, kept = make_old(tmp_path / "other"), make_old(tmp_path / "tmp3")
    kept.chmod(0o444)
    (tmp_path / "tmp4").symlink_to(old)
    tmpwatch.main(("tmpwatch",), patterns=[f"{tmp_path}/tmp*"])
    assert [path.exists() for path in (old, young, other, kept)] == [False, True, True, True]
    assert (tmp_path / "tmp4").is_symlink()


@pytest.mark.parametrize(("options", "left"), [(("-t",), True), (("-h", "1000"), True), (("-h", "100"), False)])
def test_tmpwatch_takes_hours_and_a_test_mode(tmp_path: Path, options: tuple[str, ...], left: bool) -> None:
    path = make_old(tmp_path / "tmp1", hours=200)
    tmpwatch.main(("tmpwatch", *options), patterns=[f"{tmp_path}/tmp*"])
    assert path.exists() == left
