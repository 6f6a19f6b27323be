"""Jobs counted for statistics: one snapshot serves all machines, and each connection remembers it for a moment.

Counting a million jobs takes a second, and harvesters, monitors and brokers ask all the time. So whoever finds the
snapshot old makes a new one, one at a time, and the others are told the old one meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic
from typing import Any, Final

from pandaserver.taskbuffer.job_counts import CountedJobs, JobCount, Snapshot
from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.states import ACTIVE, ARCHIVED, DEFINED
from pandaserver.taskbuffer.transaction import Transaction

#: Seconds after which the snapshot is old, and after which it is so old that everybody counts for themselves.
OLD: Final = 60
TOO_OLD: Final = 600

#: Seconds for which a connection remembers the snapshot, and counts of jobs that ended.
LIFETIME: Final = 10.0
ENDED_LIFETIME: Final = 120.0

#: Windows of ended jobs that one connection remembers.
WINDOWS: Final = 8

#: Minutes within which jobs ended that old clients count.
ENDED_MINUTES: Final = 12 * 60

_NAME: Final = "panda_job_counts"
_MEMORY: Final = "job counts"
_ENDED: Final = "counts of ended jobs"

_GROUP: Final = "computingSite, cloud, prodSourceLabel, processingType, resource_type, jobStatus"

COUNT: Final = {
    table: f"SELECT {_GROUP}, COUNT(*) FROM ATLAS_PANDA.{table} GROUP BY {_GROUP}" for table in (DEFINED, ACTIVE)
}

COUNT_ENDED: Final = f"""
    SELECT {_GROUP}, COUNT(*) FROM ATLAS_PANDA.jobsArchived4
    WHERE modificationTime > CURRENT_TIMESTAMP - :minutes * INTERVAL '1' MINUTE
    GROUP BY {_GROUP}
"""

AGE: Final = f"""
    SELECT CASE WHEN MAX(ts) > CURRENT_TIMESTAMP - {OLD} * INTERVAL '1' SECOND THEN 0
                WHEN MAX(ts) > CURRENT_TIMESTAMP - {TOO_OLD} * INTERVAL '1' SECOND THEN 1
                ELSE 2 END
    FROM ATLAS_PANDA.panda_job_counts
"""

#: Two that counted at once, because one was slow, leave two snapshots.
READ: Final = f"""
    SELECT {_GROUP}, nJobs FROM ATLAS_PANDA.panda_job_counts
    WHERE ts = (SELECT MAX(c.ts) FROM ATLAS_PANDA.panda_job_counts c)
"""

CLEAR: Final = "DELETE FROM ATLAS_PANDA.panda_job_counts"

_FRESH, _USELESS = 0, 2


@operation(timeout=60)
def job_counts(tx: Transaction) -> Snapshot:
    """Return the jobs that have not ended as they were about a minute ago, and whether the caller shall count anew.

    The turn to count is given to one caller in a minute, and kept by this commit: nobody waits for who counts.
    """
    kept: tuple[float, list[JobCount]] | None = tx.memory.get(_MEMORY)
    if kept is not None and kept[0] > monotonic():
        return Snapshot(kept[1])
    age = tx.value(AGE)
    if age != _FRESH and tx.lock_process(_NAME, tx.settings.hostname, period=OLD):
        return Snapshot(is_due=True)
    return Snapshot(_remember(tx, _counts(tx.rows(READ)) if age != _USELESS else _count(tx)))


@operation(timeout=120)
def refresh_job_counts(tx: Transaction) -> list[JobCount]:
    """Count the jobs that have not ended, and make that the snapshot for everybody."""
    now, counts = tx.now(), _count(tx)
    tx.change(CLEAR)
    names = (*_GROUP.split(", "), "nJobs")
    tx.insert("ATLAS_PANDA.panda_job_counts", [{"ts": now, **dict(zip(names, count, strict=True))} for count in counts])
    return _remember(tx, counts)


def _count(tx: Transaction) -> list[JobCount]:
    return _counts([row for text in COUNT.values() for row in tx.rows(text)])


def _remember(tx: Transaction, counts: list[JobCount]) -> list[JobCount]:
    tx.memory[_MEMORY] = (monotonic() + LIFETIME, counts)
    return counts


def _counts(rows: Sequence[tuple[Any, ...]]) -> list[JobCount]:
    return [JobCount._make([*(name or "" for name in names), int(jobs)]) for *names, jobs in rows]


@operation(timeout=60, repeatable=True)
def ended_job_counts(tx: Transaction, minutes: int) -> list[JobCount]:
    """Count the jobs that ended within so many minutes, as they were two minutes ago at most."""
    kept: dict[int, tuple[float, list[JobCount]]] = tx.memory.setdefault(_ENDED, {})
    for window in [window for window, (until, _) in kept.items() if until < monotonic()]:
        del kept[window]
    if minutes not in kept:
        if len(kept) >= WINDOWS:
            del kept[min(kept, key=lambda window: kept[window][0])]
        kept[minutes] = (monotonic() + ENDED_LIFETIME, _counts(tx.rows(COUNT_ENDED, minutes=minutes)))
    return kept[minutes][1]


@operation(timeout=60, repeatable=True)
def count_jobs(tx: Transaction, wanted: CountedJobs) -> list[JobCount]:
    """Count jobs as an old client wants them: a query of its own, for what the snapshot does not tell."""
    where, binds = _conditions(wanted)
    counts: list[JobCount] = []
    for table in (DEFINED, ACTIVE, *([ARCHIVED] if wanted.with_ended else [])):
        own = [*where]
        if table == ARCHIVED:
            own.append("modificationTime > CURRENT_TIMESTAMP - :minutes * INTERVAL '1' MINUTE")
        conditions = f" WHERE {' AND '.join(own)}" if own else ""
        spans = {"minutes": ENDED_MINUTES} if table == ARCHIVED else {}
        text = f"SELECT {_GROUP}, COUNT(*) FROM ATLAS_PANDA.{table}{conditions} GROUP BY {_GROUP}"
        counts += _counts(tx.rows(text, **binds, **spans))
    return counts


def _conditions(wanted: CountedJobs) -> tuple[list[str], dict[str, Any]]:
    where: list[str] = []
    binds: dict[str, Any] = {}
    for column, values in (
        ("prodSourceLabel", wanted.labels),
        ("workingGroup", wanted.working_groups),
        ("countryGroup", wanted.country_groups),
    ):
        if values is not None:
            where.append(f"{column} IN (:{column}[])")
            binds[column] = list(values)
    if wanted.min_priority is not None:
        where.append("currentPriority >= :min_priority")
        binds["min_priority"] = wanted.min_priority
    if wanted.only_predefined:
        where.append("relocationFlag = 1")
    return where, binds
