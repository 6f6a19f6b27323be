"""Many jobs at once: copies of one that went through the real operations, made by the database itself.

Every row has the columns, lengths and files of a submitted job; only the history of its states is left out, which
nothing that is measured here reads.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bench import shapes
from bench.rig import Rig
from pandaserver.brokerage.site_reader import site_from
from pandaserver.taskbuffer.FileSpec import FILE_ATTRIBUTES
from pandaserver.taskbuffer.JobSpec import JOB_COLUMNS
from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.OraDBProxy import OraDBProxy
from pandaserver.taskbuffer.requests import JobRequest, Selection, StatusReport
from pandaserver.taskbuffer.submission import Submission, Submitter
from pandaserver.taskbuffer.transaction import Transaction
from pandaserver.testing.development_issuer import VO

#: Jobs of one transaction.
CHUNK: Final = 50_000
#: Priorities that waiting jobs have.
_PRIORITIES: Final = 50

_NUMBERS: Final = {
    "postgres": "generate_series(0, {last}) AS g(n)",
    "sqlite": "(WITH RECURSIVE g(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM g WHERE n < {last}) SELECT n FROM g) AS g",
    "mysql": "(SELECT seq AS n FROM seq_0_to_{last}) AS g",
}
_TIDY: Final = {
    "postgres": ("VACUUM ANALYZE", "CHECKPOINT"),
    "sqlite": ("ANALYZE", "PRAGMA wal_checkpoint(TRUNCATE)"),
    "mysql": ("ANALYZE TABLE ATLAS_PANDA.jobsactive4, ATLAS_PANDA.filestable4, ATLAS_PANDA.jobparamstable",),
}
#: Attempts to draw identifiers in a row.
_DRAWS: Final = 3


@dataclass(frozen=True, slots=True)
class Loaded:
    """What was loaded, and how long it took."""

    first: int
    count: int
    seconds: float

    @property
    def ids(self) -> list[int]:
        """The jobs. Only those of one transaction are numbered without a gap."""
        if self.count > CHUNK:
            raise ValueError(f"{self.count} jobs were not loaded by one transaction")
        return list(range(self.first, self.first + self.count))


COUNT_WAITING: Final = """
    SELECT computingSite, COUNT(*) FROM ATLAS_PANDA.jobsActive4
    WHERE jobStatus = 'activated' AND computingSite IN (:queues[])
    GROUP BY computingSite
"""

COUNT_FILES: Final = "SELECT COUNT(*) FROM ATLAS_PANDA.filesTable4 WHERE PandaID = :PandaID"


@operation(timeout=600, repeatable=True)
def bench_count_waiting(tx: Transaction, queues: Sequence[str]) -> dict[str, int]:
    """Return how many jobs wait at each of those queues."""
    found = {queue: int(count) for queue, count in tx.rows(COUNT_WAITING, queues=list(queues))}
    return {queue: found.get(queue, 0) for queue in queues}


@operation(timeout=600)
def bench_copy_job(tx: Transaction, source: int, count: int, queues: Sequence[str], shares: Sequence[str] = ()) -> int:
    """Make ``count`` copies of a job, at each of the queues and of each of the shares in turn; return the first number.

    After a round of all queues the shares begin one further, so that every queue gets jobs of every share.
    """
    first = _drawn(tx, "ATLAS_PANDA.JOBSDEFINED4_PANDAID_SEQ", count)
    files = int(tx.value(COUNT_FILES, PandaID=source))
    row = _drawn(tx, "ATLAS_PANDA.FILESTABLE4_ROW_ID_SEQ", count * files)
    backend = tx.cursor.dialect.backend

    def turn(n: int) -> str:
        return _remainder(backend, "g.n", n)

    queue = _name_expression(queues, turn(len(queues)))
    job = {"PandaID": f"{first} + g.n", "computingSite": queue, "currentPriority": f"1000 + {turn(_PRIORITIES)}"}
    if shares:
        job["gshare"] = _name_expression(shares, _remainder(backend, f"(g.n + g.n / {len(queues)})", len(shares)))
    file = {
        "row_ID": f"{row} + g.n * {files} + t.place",
        "PandaID": f"{first} + g.n",
        "lfn": f"t.lfn || '.' || CAST({first} + g.n AS VARCHAR(20))",
    }
    _copy(tx, "jobsActive4", JOB_COLUMNS, job, source, count, "g.n")
    _copy(tx, "filesTable4", FILE_ATTRIBUTES, file, source, count, "g.n, t.place")
    _copy(tx, "jobParamsTable", ("PandaID", "jobParameters"), {"PandaID": f"{first} + g.n"}, source, count, "g.n")
    return first


def _copy(
    tx: Transaction, table: str, columns: Sequence[str], changed: Mapping[str, str], source: int, count: int, order: str
) -> None:
    dialect = tx.cursor.dialect
    full = dialect.table("ATLAS_PANDA", table)
    names = [dialect.column(column) for column in columns]
    values = [changed.get(column) or f"t.{name}" for column, name in zip(columns, names, strict=True)]
    numbered = f"ROW_NUMBER() OVER (ORDER BY {names[0]}) - 1 AS place"
    source_rows = f"SELECT f.*, {numbered} FROM {full} f WHERE PandaID = {source}"
    numbers = _NUMBERS[dialect.backend].format(last=count - 1)
    tx.cursor.execute_native(
        f"INSERT INTO {full} ({', '.join(names)}) SELECT {', '.join(values)} "
        f"FROM {numbers}, ({source_rows}) t ORDER BY {order}",
        [],
    )


def _remainder(backend: str, number: str, divisor: int) -> str:
    return f"{number} % {divisor}" if backend == "sqlite" else f"MOD({number}, {divisor})"


def _name_expression(names: Sequence[str], number: str) -> str:
    """Return SQL for one of the names; those of several end with their number in three digits."""
    if len(names) == 1:
        return f"'{names[0]}'"
    return f"'{names[0][:-3]}' || SUBSTR(CAST(1000 + {number} AS VARCHAR(4)), 2)"


def _drawn(tx: Transaction, sequence: str, count: int) -> int:
    """Return the first of so many identifiers in a row."""
    for _ in range(_DRAWS):
        ids = tx.next_ids(sequence, count)
        if ids[-1] - ids[0] == count - 1:
            return ids[0]
        # A connection of PostgreSQL begins with what is left of the numbers that it fetched earlier.
    raise RuntimeError(f"somebody else draws from {sequence}")


class Filler:
    """Loads jobs into the database of a rig."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._proxy: OraDBProxy = rig.proxy()

    def close(self) -> None:
        """Give the connection back."""
        self._proxy.close()

    def waiting(self, queues: Sequence[str], count: int, shares: Sequence[str] = ()) -> Loaded:
        """Add jobs that wait at those queues, of those shares or of that of a submitted job."""
        return self._copies(self._stored(queues[0]), count, queues, shares)

    def running(self, queue: str, count: int) -> Loaded:
        """Add jobs that pilots run."""
        self._stored(queue)
        acquired = self._proxy.call("acquire_jobs", [JobRequest(queue, selection=Selection.user)])
        job = acquired.jobs[0]
        self._proxy.call("report_status", [StatusReport(job.PandaID, "running", job.attemptNr)])
        return self._copies(job.PandaID, count, [queue])

    def count_waiting(self, queues: Sequence[str]) -> Mapping[str, int]:
        """Return how many jobs wait at each of those queues."""
        found: Mapping[str, int] = self._proxy.call("bench_count_waiting", [list(queues)], timeout=600)
        return found

    def settle(self) -> None:
        """Let the database learn what it has, and write it down, before anything is measured."""
        self._proxy.call("refresh_share_statistics", timeout=300)
        session = self._proxy._dialect.connect(60)
        try:
            for statement in _TIDY[self._rig.settings.backend]:
                session.execute(statement, ())
        finally:
            session.close()

    def _copies(self, template: int, count: int, queues: Sequence[str], shares: Sequence[str] = ()) -> Loaded:
        started, first = time.monotonic(), 0
        for done in range(0, count, CHUNK):
            arguments: list[Any] = [template, min(CHUNK, count - done), list(queues), list(shares)]
            start = self._proxy.call("bench_copy_job", arguments, timeout=600)
            first = first or start
        return Loaded(first, count, time.monotonic() - started)

    def _stored(self, queue: str) -> int:
        """Submit one job and return its identifier."""
        site = site_from(queue, {"type": "unified", "status": "online"})
        submission = Submission(
            jobs=[shapes.client_job(queue, 0)],
            submitter=Submitter("/CN=Jane Doe", "Jane Doe", vo=VO),
            queues={queue: site},
            nothing_to_prepare={"any": True},
        )
        stored = self._proxy.call("store_jobs", [submission])
        return int(stored.jobs[0].PandaID)
