"""A process starts once a period, on however many machines."""

from __future__ import annotations

import threading
from datetime import timedelta

from pandaserver.srvcore.errors import Busy
from pandaserver.taskbuffer.connection_settings import ConnectionSettings, OperationSettings
from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.OraDBProxy import OraDBProxy
from pandaserver.taskbuffer.transaction import Transaction

AGE = "UPDATE ATLAS_PANDA.JEDI_Process_Lock SET lockedTime = CURRENT_TIMESTAMP - :seconds * INTERVAL '1' SECOND"
ROWS = """
    SELECT vo, prodSourceLabel, cloud, workqueue_id, resource_type, component, lockedBy, lockedTime
    FROM ATLAS_PANDA.JEDI_Process_Lock ORDER BY component
"""


@operation(timeout=20)
def start_for_test(tx: Transaction, component: str, owner: str, period: float) -> bool:
    return tx.lock_process(component, owner, period=period)


@operation(timeout=20)
def age_for_test(tx: Transaction, seconds: float) -> None:
    tx.change(AGE, seconds=seconds)


@operation(timeout=20, repeatable=True)
def starts_for_test(tx: Transaction) -> list[tuple[object, ...]]:
    return [(*row[:-1], tx.now() - row[-1] < timedelta(seconds=5)) for row in tx.rows(ROWS)]


def test_the_first_start_makes_the_row_that_other_users_of_the_table_expect(proxy: OraDBProxy) -> None:
    assert proxy.call("start_for_test", ["pandaD.x", "host-1-2", 60.0])
    assert proxy.call("starts_for_test") == [
        ("default", "default", "default", 0, "default", "pandaD.x", "host-1-2", True)
    ]


def test_nobody_starts_again_within_the_period_not_even_the_same_owner(proxy: OraDBProxy) -> None:
    proxy.call("start_for_test", ["x", "me", 60.0])
    assert not proxy.call("start_for_test", ["x", "you", 60.0])
    assert not proxy.call("start_for_test", ["x", "me", 60.0])
    assert proxy.call("start_for_test", ["y", "you", 60.0])


def test_anybody_starts_after_the_period(proxy: OraDBProxy) -> None:
    proxy.call("start_for_test", ["x", "me", 60.0])
    proxy.call("age_for_test", [61.0])
    assert proxy.call("start_for_test", ["x", "you", 60.0])
    assert [row[6] for row in proxy.call("starts_for_test")] == ["you"]


def test_of_many_that_start_at_once_one_wins(database: ConnectionSettings) -> None:
    barrier = threading.Barrier(6)
    won: list[bool] = []

    def start(owner: str) -> None:
        proxy = OraDBProxy(database, OperationSettings())
        proxy.call("starts_for_test")
        barrier.wait(20)
        try:
            won.append(proxy.call("start_for_test", ["x", owner, 60.0]))
        except Busy:
            won.append(False)
        finally:
            proxy.close()

    threads = [threading.Thread(target=start, args=(f"owner{n}",)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == [False] * 5 + [True]
