"""Which server keeps which file of a user."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from pandaserver.taskbuffer.db_proxy_mods.sandbox import UNREACHABLE, Sandbox
from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from pandaserver.taskbuffer.transaction import Transaction

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
