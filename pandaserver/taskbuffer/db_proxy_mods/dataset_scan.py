"""Scanning the registry of datasets: what is to be closed, frozen, tried again or deleted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, cast

from pandaserver.taskbuffer.db_proxy_mods.job_load import load_jobs
from pandaserver.taskbuffer.JobSpec import JobSpec
from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.transaction import Transaction

_OLDER: Final = "modificationDate < CURRENT_TIMESTAMP - :youngest * INTERVAL '1' MINUTE"
_YOUNGER: Final = "modificationDate > CURRENT_TIMESTAMP - :oldest * INTERVAL '1' MINUTE"
_DAY: Final = 1440

#: Files in these states keep a dataset from being frozen.
OPEN_AMONG = """
    SELECT d.vuid FROM ATLAS_PANDA.Datasets d
    WHERE d.vuid IN (:vuids[]) AND EXISTS (
        SELECT 1 FROM ATLAS_PANDA.filesTable4 f
        WHERE f.destinationDBlock = d.name
          AND f.status NOT IN ('ready', 'failed', 'skipped', 'merging', 'finished', 'cancelled', 'nooutput')
    )
"""

SET_STATUS = """
    UPDATE ATLAS_PANDA.Datasets SET status = :status, modificationDate = CURRENT_TIMESTAMP
    WHERE vuid IN (:vuids[])
"""

TOUCH = """
    UPDATE ATLAS_PANDA.Datasets SET modificationDate = CURRENT_TIMESTAMP WHERE vuid IN (:vuids[])
"""

#: It is older then than what the freezer takes for young, and younger than what is looked at for this.
REOPEN = """
    UPDATE ATLAS_PANDA.Datasets
    SET status = 'running', modificationDate = CURRENT_TIMESTAMP - 6 * INTERVAL '1' HOUR
    WHERE vuid IN (:vuids[])
"""

#: A job of each open dataset that nothing keeps open: whoever ended the last of them was lost, or was a kill.
SETTLED = """
    SELECT d.name, MAX(m.PandaID)
    FROM ATLAS_PANDA.Datasets d, ATLAS_PANDA.filesTable4 m
    WHERE d.type = 'output' AND d.status IN ('defined', 'running', 'created')
      AND d.modificationDate < CURRENT_TIMESTAMP - :youngest * INTERVAL '1' MINUTE
      AND d.modificationDate > CURRENT_TIMESTAMP - :oldest * INTERVAL '1' MINUTE
      AND d.name > :after
      AND m.destinationDBlock = d.name
      AND NOT EXISTS (
        SELECT 1 FROM ATLAS_PANDA.filesTable4 f
        WHERE f.destinationDBlock = d.name AND f.status IN ('unknown', 'pending', 'transferring')
      )
    GROUP BY d.name
    ORDER BY d.name FETCH FIRST :n ROWS ONLY
"""

#: Of the jobs that a dispatch dataset serves: are some live, did some fail?
LIVE_AMONG = """
    SELECT d.vuid FROM ATLAS_PANDA.Datasets d
    WHERE d.vuid IN (:vuids[]) AND EXISTS (
        SELECT 1 FROM ATLAS_PANDA.filesTable4 f
        WHERE f.dispatchDBlock = d.name AND (
            EXISTS (SELECT 1 FROM ATLAS_PANDA.jobsDefined4 j WHERE j.PandaID = f.PandaID)
            OR EXISTS (SELECT 1 FROM ATLAS_PANDA.jobsActive4 j WHERE j.PandaID = f.PandaID)
        )
    )
"""

FAILED_AMONG = """
    SELECT d.vuid FROM ATLAS_PANDA.Datasets d
    WHERE d.vuid IN (:vuids[]) AND EXISTS (
        SELECT 1 FROM ATLAS_PANDA.filesTable4 f, ATLAS_PANDA.jobsArchived4 j
        WHERE f.dispatchDBlock = d.name AND j.PandaID = f.PandaID AND j.jobStatus <> 'finished'
    )
"""


@dataclass(frozen=True, slots=True)
class SettledDatasets:
    """Datasets that are to be closed, by a job of each; ``last`` is the name to go on after, None at the end."""

    jobs: tuple[JobSpec, ...]
    last: str | None


@operation(timeout=60)
def complete_closed_datasets(tx: Transaction, limit: int) -> int:
    """Complete output datasets that were to be closed half an hour to three days ago; return how many."""
    found = _claim(tx, ("type = 'output'", "status = 'tobeclosed'"), 30, 3 * _DAY, limit)
    return tx.change(SET_STATUS, vuids=found, status="completed") if found else 0


@operation(timeout=300, repeatable=True)
def find_settled_datasets(tx: Transaction, limit: int, after: str) -> SettledDatasets:
    """Return a job, with files, of each output dataset that nobody closed although all its files are settled.

    Datasets come in the order of their names, those after the name ``after``; the last one is the next ``after``.
    """
    rows = tx.rows(SETTLED, youngest=10, oldest=14 * _DAY, n=limit, after=after)
    jobs = load_jobs(tx, sorted({row[1] for row in rows}), parameters=False)
    return SettledDatasets(tuple(jobs), rows[-1][0] if len(rows) == limit else None)


@operation(timeout=60)
def reopen_stuck_datasets(tx: Transaction, limit: int) -> int:
    """Let sub datasets that waited for a merge for hours be looked at again; return how many."""
    found = _claim(tx, ("subType = 'sub'", "status = 'doing'"), 180, 720, limit)
    return tx.change(REOPEN, vuids=found) if found else 0


@operation(timeout=120)
def freeze_datasets(tx: Transaction, limit: int) -> tuple[int, int]:
    """Complete sub datasets whose files are all settled; return how many were looked at, and how many completed."""
    states = "status IN ('running', 'created', 'defined', 'locked', 'doing')"
    found = _claim(tx, ("subType = 'sub'", states), 360, 14 * _DAY, limit)
    if not found:
        return 0, 0
    still_open = _among(tx, OPEN_AMONG, found)
    settled = [vuid for vuid in found if vuid not in still_open]
    if still_open:
        tx.change(TOUCH, vuids=sorted(still_open))
    if settled:
        tx.change(SET_STATUS, vuids=settled, status="completed")
    return len(found), len(settled)


@operation(timeout=120)
def mark_served_datasets(tx: Transaction, limit: int) -> tuple[int, int]:
    """Mark dispatch datasets that no live job needs; return how many were looked at, and how many marked.

    They become ``deleting``, or ``shortening`` if some of their jobs did not finish.
    """
    found = _claim(tx, ("type = 'dispatch'", "status = 'completed'"), 30, 3 * _DAY, limit)
    if not found:
        return 0, 0
    needed = _among(tx, LIVE_AMONG, found)
    failed = _among(tx, FAILED_AMONG, found) - needed
    if needed:
        tx.change(TOUCH, vuids=sorted(needed))
    for status, vuids in (("shortening", failed), ("deleting", set(found) - needed - failed)):
        if vuids:
            tx.change(SET_STATUS, vuids=sorted(vuids), status=status)
    return len(found), len(found) - len(needed)


def _claim(tx: Transaction, conditions: Sequence[str], youngest: int, oldest: int, limit: int) -> list[str]:
    """Lock datasets last changed between so many minutes ago, the oldest first."""
    found = tx.claim(
        "ATLAS_PANDA.Datasets",
        key="vuid",
        limit=limit,
        where=(*conditions, _OLDER, _YOUNGER),
        binds={"youngest": youngest, "oldest": oldest},
        order="modificationDate, vuid",
    )
    return cast(list[str], found)


def _among(tx: Transaction, sql: str, vuids: Sequence[str]) -> set[str]:
    return {row[0] for row in tx.rows(sql, vuids=list(vuids))}
