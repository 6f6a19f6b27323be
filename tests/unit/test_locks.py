"""Locks between processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from datetime import UTC
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from pandacommon.pandautils.PandaUtils import naive_utcnow, process_identity
from pandacommon.pandautils.thread_utils import LockPool, ProcessLock

FORK = multiprocessing.get_context("fork")


def _hold(directory: Path, key: str, ready: Connection) -> None:
    lock = LockPool(directory).get(key)
    assert lock is not None
    lock.acquire()
    ready.send("held")
    signal.pause()


class Holder:
    """A process that holds the lock of a key until it is killed."""

    def __init__(self, directory: Path, key: str) -> None:
        ours, theirs = FORK.Pipe()
        self.process = FORK.Process(target=_hold, args=(directory, key, theirs))
        self.process.start()
        assert ours.poll(30)
        assert ours.recv() == "held"

    def kill(self) -> None:
        self.process.kill()
        self.process.join(30)


@pytest.fixture
def pool(tmp_path: Path) -> LockPool:
    return LockPool(tmp_path / "locks", size=3)


def lock_of(pool: LockPool, key: str) -> ProcessLock:
    lock = pool.get(key)
    assert lock is not None
    return lock


def test_another_process_cannot_take_a_held_lock(tmp_path: Path) -> None:
    holder = Holder(tmp_path, "task 1")
    try:
        assert not lock_of(LockPool(tmp_path), "task 1").acquire(timeout=0)
    finally:
        holder.kill()


def test_a_lock_dies_with_its_holder(tmp_path: Path) -> None:
    Holder(tmp_path, "task 1").kill()
    assert lock_of(LockPool(tmp_path), "task 1").acquire(timeout=0)


def test_threads_exclude_each_other(pool: LockPool) -> None:
    taken: list[bool] = []
    with lock_of(pool, "a"):
        thread = threading.Thread(target=lambda: taken.append(lock_of(pool, "a").acquire(timeout=0.05)))
        thread.start()
        thread.join(30)
    assert taken == [False]


def test_a_released_lock_can_be_taken_again(pool: LockPool) -> None:
    with lock_of(pool, "a"):
        pass
    assert lock_of(pool, "a").acquire(timeout=0)


def test_releasing_what_is_not_held_is_a_mistake(pool: LockPool) -> None:
    with pytest.raises(RuntimeError):
        lock_of(pool, "a").release()


def test_different_keys_do_not_wait_for_each_other(pool: LockPool) -> None:
    with lock_of(pool, "a"):
        assert lock_of(pool, "b").acquire(timeout=0)


def test_a_full_pool_gives_no_lock(pool: LockPool) -> None:
    assert all(pool.get(key) for key in "abc")
    assert pool.get("d") is None


def test_a_key_in_use_is_found_in_a_full_pool_by_another_process(tmp_path: Path) -> None:
    first, second = LockPool(tmp_path, size=2), LockPool(tmp_path, size=2)
    for key in "ab":
        assert first.get(key)
    with lock_of(first, "b"):
        assert not lock_of(second, "b").acquire(timeout=0)


def test_a_slot_is_free_when_each_get_was_released(pool: LockPool) -> None:
    for key in "abcc":
        assert pool.get(key)
    pool.release("c")
    assert pool.get("d") is None
    pool.release("c")
    assert pool.get("d") is not None


def test_slots_of_a_dead_process_are_free(tmp_path: Path) -> None:
    Holder(tmp_path, "theirs").kill()
    pool = LockPool(tmp_path, size=1)
    assert pool.get("ours") is not None


def test_releasing_an_unknown_key_changes_nothing(pool: LockPool) -> None:
    pool.release("never gotten")
    assert pool.get("a") is not None


def test_a_hundred_keys_leave_no_descriptor_open(tmp_path: Path) -> None:
    pool = LockPool(tmp_path)
    before = len(os.listdir("/proc/self/fd"))
    for n in range(100):
        with lock_of(pool, str(n)):
            pass
    assert pool.get("one more") is None
    for n in range(100):
        pool.release(str(n))
    assert len(os.listdir("/proc/self/fd")) <= before


def test_the_identity_of_a_process_names_host_group_and_pid() -> None:
    host, group, pid = process_identity().rsplit("-", 2)
    assert "." not in host
    assert (int(group), int(pid)) == (os.getpgrp(), os.getpid())


def test_the_clock_is_utc_without_a_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        now = naive_utcnow()
    finally:
        monkeypatch.undo()
        time.tzset()
    assert now.tzinfo is None
    assert abs(now.replace(tzinfo=UTC).timestamp() - time.time()) < 60
