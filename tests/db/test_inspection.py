"""What the database tells operators."""

from __future__ import annotations

from datetime import timedelta

import pytest

from pandacommon.pandautils.PandaUtils import naive_utcnow
from pandaserver.taskbuffer.connection_settings import ConnectionSettings
from pandaserver.taskbuffer.db_proxy_mods.lease import Lease
from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from pandaserver.taskbuffer.transaction import Transaction
from tests.db.crowd import put_jobs


def test_a_database_that_keeps_its_promises(tbuf: TaskBuffer, database: ConnectionSettings) -> None:
    found = {one.name: one for one in tbuf.look_at_durability()}
    if database.backend == "sqlite":
        assert found["synchronous"].is_safe
    else:  # the servers of the tests run without, to be quick
        name = {"postgres": "fsync", "mysql": "innodb_flush_log_at_trx_commit"}[database.backend]
        assert not found[name].is_safe


def test_the_clock_of_the_database(tbuf: TaskBuffer, database: ConnectionSettings) -> None:
    found = tbuf.look_at_database()
    assert abs(found.now - naive_utcnow()) < timedelta(seconds=10)
    assert found.clock_is_ours is (database.backend == "sqlite")


def test_nothing_counted_has_no_age(tbuf: TaskBuffer) -> None:
    assert tbuf.count_jobs_by_state().age is None


def test_jobs_are_counted_by_state(tbuf: TaskBuffer) -> None:
    put_jobs(tbuf, 3)
    put_jobs(tbuf, 2, "defined")
    tbuf.refreshShareStatistics()
    found = tbuf.count_jobs_by_state()
    assert found.by_state == {"activated": 3, "defined": 2}
    assert found.age == pytest.approx(0, abs=10)


def test_a_holder_is_named_while_it_runs_and_afterwards(tbuf: TaskBuffer) -> None:
    lease = tbuf.start_exclusive_run("pandaD.copyArchive", "node1-5-7", 100, 10)
    assert isinstance(lease, Lease)
    (running,) = tbuf.exclusive_runs("pandaD.")
    assert (running.component, running.owner, running.holds) == ("pandaD.copyArchive", "node1-5-7", True)
    tbuf.end_exclusive_run(lease)
    (ended,) = tbuf.exclusive_runs("pandaD.")
    assert (ended.owner, ended.holds) == ("node1-5-7", False)
    assert ended.age == pytest.approx(0, abs=10)


@operation()
def start_as_an_older_server(tx: Transaction, component: str, owner: str) -> bool:
    return tx.lock_process(component, owner, period=10)


def test_a_machine_that_knows_no_leases_is_seen_by_its_start(tbuf: TaskBuffer) -> None:
    tbuf.caller.call(start_as_an_older_server, ("pandaD.datasetManager", "old1-3-3"), {})
    (found,) = tbuf.exclusive_runs("pandaD.")
    assert (found.owner, found.holds) == ("old1-3-3", False)
