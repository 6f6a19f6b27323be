"""Which server keeps which file of a user."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest

from pandaserver.srvcore.errors import Conflict
from pandaserver.taskbuffer.connection_settings import ConnectionSettings, OperationSettings
from pandaserver.taskbuffer.db_proxy_mods.sandbox import UNREACHABLE, Sandbox
from pandaserver.taskbuffer.local_bridge import LocalBridge
from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from pandaserver.taskbuffer.transaction import Transaction
from tests.db.crowd import insert

SANDBOX = Sandbox("Jane Doe", "panda.example", "sources.1.tar.gz", 1234, "4000000000")


@operation()
def age_sandboxes_for_test(tx: Transaction, age: timedelta) -> None:
    """Make every file look as if it had arrived that long ago."""
    tx.change("UPDATE ATLAS_PANDAMETA.userCacheUsage SET creationTime = :then", then=tx.now() - age)


def find(tbuf: TaskBuffer, sandbox: Sandbox = SANDBOX) -> tuple[str, str] | None:
    assert sandbox.checksum is not None
    return tbuf.checkSandboxFile(sandbox.user, sandbox.size, sandbox.checksum)


def test_a_registered_file_is_found_by_its_content(tbuf: TaskBuffer) -> None:
    assert tbuf.insertSandboxFileInfo(SANDBOX) is True
    assert find(tbuf) == ("panda.example", "sources.1.tar.gz")


@pytest.mark.parametrize("other", [{"user": "John Roe"}, {"size": 1235}, {"checksum": "4000000001"}])
def test_owner_size_and_checksum_all_count(tbuf: TaskBuffer, other: dict[str, object]) -> None:
    tbuf.insertSandboxFileInfo(SANDBOX)
    assert find(tbuf, replace(SANDBOX, **other)) is None  # type: ignore[arg-type]


def test_a_second_registration_of_a_name_is_refused(tbuf: TaskBuffer) -> None:
    tbuf.insertSandboxFileInfo(SANDBOX)
    assert tbuf.insertSandboxFileInfo(replace(SANDBOX, size=5)) is False
    assert find(tbuf) is not None


def test_a_replaced_file_is_found_by_its_new_content(tbuf: TaskBuffer) -> None:
    tbuf.insertSandboxFileInfo(SANDBOX)
    new = replace(SANDBOX, size=5, checksum="7")
    assert tbuf.insertSandboxFileInfo(new, replace=True) is True
    assert (find(tbuf), find(tbuf, new)) == (None, ("panda.example", "sources.1.tar.gz"))


def test_a_host_that_nobody_can_reach_is_not_offered(tbuf: TaskBuffer) -> None:
    tbuf.insertSandboxFileInfo(replace(SANDBOX, host=UNREACHABLE))
    assert find(tbuf) is None


def test_a_file_without_a_checksum_is_kept(tbuf: TaskBuffer) -> None:
    assert tbuf.insertSandboxFileInfo(replace(SANDBOX, checksum=None)) is True


@pytest.mark.parametrize(("age", "found"), [(timedelta(days=2, hours=23), True), (timedelta(days=3, hours=1), False)])
def test_an_old_file_is_not_used_again(tbuf: TaskBuffer, age: timedelta, found: bool) -> None:
    tbuf.insertSandboxFileInfo(SANDBOX)
    tbuf.caller.call(age_sandboxes_for_test, (age,), {})
    assert (find(tbuf) is not None) is found


# ---- quota

MB = 2**20
QUOTA = 10 * MB


def used(tbuf: TaskBuffer, *sizes: int) -> None:
    for number, size in enumerate(sizes):
        tbuf.insertSandboxFileInfo(replace(SANDBOX, name=f"sources.{number}", size=size))


def test_a_file_that_just_fits_is_recorded(tbuf: TaskBuffer) -> None:
    used(tbuf, 4 * MB, 5 * MB)
    new = replace(SANDBOX, name="sources.new", size=MB)
    tbuf.checkCacheQuota(new, QUOTA)
    assert tbuf.insertSandboxFileInfo(new, replace=True, quota=QUOTA) is True


def test_a_file_above_the_quota_is_refused_with_what_is_used(tbuf: TaskBuffer) -> None:
    used(tbuf, 4 * MB, 5 * MB)
    new = replace(SANDBOX, name="sources.new", size=MB + 1)
    told = "quota exceeded: Jane Doe may keep 10.0 MB on panda.example and uses 9.0 MB, so sources.new with 1.0 MB"
    with pytest.raises(Conflict, match=told):
        tbuf.checkCacheQuota(new, QUOTA)
    with pytest.raises(Conflict, match=told):
        tbuf.insertSandboxFileInfo(new, replace=True, quota=QUOTA)
    assert find(tbuf, new) is None


@pytest.mark.parametrize("other", [{"user": "John Roe"}, {"host": "other.example"}])
def test_each_user_has_a_quota_on_each_host(tbuf: TaskBuffer, other: dict[str, object]) -> None:
    tbuf.insertSandboxFileInfo(replace(SANDBOX, name="sources.0", size=QUOTA, **other))  # type: ignore[arg-type]
    tbuf.checkCacheQuota(SANDBOX, QUOTA)


def test_a_file_that_is_written_again_counts_once(tbuf: TaskBuffer) -> None:
    tbuf.insertSandboxFileInfo(replace(SANDBOX, size=QUOTA))
    tbuf.checkCacheQuota(replace(SANDBOX, size=QUOTA), QUOTA)


@pytest.mark.parametrize(("days", "counts"), [(6, True), (8, False)])
def test_a_file_counts_for_as_long_as_it_is_kept(tbuf: TaskBuffer, days: int, counts: bool) -> None:
    used(tbuf, QUOTA)
    tbuf.caller.call(forget_sandboxes_for_test, (timedelta(days=days),), {})
    if counts:
        with pytest.raises(Conflict):
            tbuf.checkCacheQuota(SANDBOX, QUOTA)
    else:
        tbuf.checkCacheQuota(SANDBOX, QUOTA)


@operation()
def forget_sandboxes_for_test(tx: Transaction, age: timedelta) -> None:
    """Make every file look as if nobody had seen it for that long."""
    tx.change("UPDATE ATLAS_PANDAMETA.userCacheUsage SET modificationTime = :then", then=tx.now() - age)


def test_uploads_at_once_do_not_both_take_the_last_space(database: ConnectionSettings, tbuf: TaskBuffer) -> None:
    insert(tbuf, "PANDAMETA.users", {"id": 1, "name": SANDBOX.user})
    bridges = [LocalBridge(database, OperationSettings(hostname=f"host{n}")) for n in range(4)]

    def record(number: int) -> int:
        new = replace(SANDBOX, name=f"sources.new{number}", size=6 * MB)
        try:
            return int(TaskBuffer(bridges[number]).insertSandboxFileInfo(new, replace=True, quota=QUOTA))
        except Conflict:
            return 0

    try:
        with ThreadPoolExecutor(4) as pool:
            taken = list(pool.map(record, range(4)))
    finally:
        for bridge in bridges:
            bridge.close()
    assert sum(taken) == 1
