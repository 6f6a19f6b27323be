"""Many pilots at once, on connections of their own: no range goes to two, and no set ends twice or never."""

from __future__ import annotations

from collections import Counter

from pandaserver.taskbuffer.connection_settings import ConnectionSettings
from pandaserver.taskbuffer.kill import Killer, KillRequest
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from tests.db.completion import job_of
from tests.db.event_jobs import FILE, acquire, begin, consumer, counts, family, say, settle, submit, update
from tests.db.many import at_once

N = 6


def test_no_range_goes_to_two_pilots(database: ConnectionSettings, tbuf: TaskBuffer) -> None:
    ids = submit(tbuf, consumer(f"es:a:{FILE}/1/300/1"), *(consumer("es:a:") for _ in range(N - 1)))
    begin(tbuf, N)

    def act(buffer: TaskBuffer, n: int) -> list[str]:
        return acquire(buffer, ids[n % N], 7)

    given = [key for keys in at_once(database, act, 60) for key in keys]
    assert len(given) == 300
    assert max(Counter(key.split("-")[3] for key in given).values()) == 1
    assert counts(tbuf) == {1: 300}


def test_reports_of_one_range_are_counted_once(database: ConnectionSettings, tbuf: TaskBuffer) -> None:
    (pid,) = submit(tbuf, consumer(f"es:a:{FILE}/1/40/1"))
    begin(tbuf)
    got = acquire(tbuf, pid, 40)

    def act(buffer: TaskBuffer, n: int) -> int:
        return update(buffer, got, "finished" if n % 2 else "failed").returns.count(True)

    at_once(database, act, 12)
    assert job_of(tbuf, pid).nEvents == counts(tbuf)[3]
    assert sum(counts(tbuf).values()) == 40


def test_consumers_that_end_at_once_leave_one_merge_job(database: ConnectionSettings, tbuf: TaskBuffer) -> None:
    ids = submit(tbuf, consumer(f"es:a:{FILE}/1/{N}/1"), *(consumer("es:a:") for _ in range(N - 1)))
    begin(tbuf, N)
    for pid in ids:
        update(tbuf, acquire(tbuf, pid, 1))
        say(tbuf, pid, "finished", output_report="{}")

    at_once(database, lambda buffer, _: settle(buffer), N)
    settle(tbuf)
    kinds = Counter((kind, status) for kind, status, _, _ in family(tbuf).values())
    assert kinds == {(1, "merging"): N, (2, "activated"): 1}


def test_a_set_is_not_lost_between_its_last_two_consumers(database: ConnectionSettings, tbuf: TaskBuffer) -> None:
    """Half of the consumers is killed while the others end: whatever wins, nothing waits for nobody."""
    ids = submit(tbuf, consumer(f"es:a:{FILE}/1/{N}/1"), *(consumer("es:a:") for _ in range(N - 1)))
    begin(tbuf, N)
    for pid in ids:
        update(tbuf, acquire(tbuf, pid, 1))
    for pid in ids[::2]:
        say(tbuf, pid, "finished", output_report="{}")

    def act(buffer: TaskBuffer, n: int) -> None:
        if n % 2:
            buffer.killJobs(KillRequest((ids[n],), Killer(is_system=True), 9, keep_unmerged=True))
        else:
            settle(buffer)

    at_once(database, act, N)
    settle(tbuf)
    kinds = Counter(kind for kind, status, _, _ in family(tbuf).values() if status == "activated")
    assert kinds == {2: 1}
