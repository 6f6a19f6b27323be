"""Moving jobs that ended a while ago into the archive, with everything that belongs to them.

Copy, comparison and deletion are one transaction: a job is never in neither, whatever is killed meanwhile, and never in
both, because the copy becomes visible with the deletion. Only what the comparison found equal is deleted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pandaserver.taskbuffer.db_proxy_mods.job_move import DELETE_JOBS
from pandaserver.taskbuffer.FileSpec import FILE_ATTRIBUTES, FileSpec
from pandaserver.taskbuffer.JobSpec import JOB_COLUMNS, JobSpec
from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.states import ARCHIVED
from pandaserver.taskbuffer.transaction import Transaction

#: Jobs that one transaction moves at most.
CHUNK: Final = 500

#: Jobs that a call may be told to leave alone.
MOST_STUCK: Final = 1000

_JOBS: Final = (f"ATLAS_PANDA.{ARCHIVED}", "ATLAS_PANDAARCH.jobsArchived")
_FILES: Final = ("ATLAS_PANDA.filesTable4", "ATLAS_PANDAARCH.filesTable_ARCH")
_PARAMETERS: Final = ("ATLAS_PANDA.jobParamsTable", "ATLAS_PANDAARCH.jobParamsTable_ARCH")
_METADATA: Final = ("ATLAS_PANDA.metaTable", "ATLAS_PANDAARCH.metaTable_ARCH")

#: (from, to) -> key, columns that compare by value, columns without limit, of which Oracle compares the length only.
_PAIRS: Final = {
    _JOBS: ("PandaID", JOB_COLUMNS, ()),
    _FILES: ("row_ID", (*FILE_ATTRIBUTES, "modificationTime"), ()),
    _PARAMETERS: ("PandaID", ("PandaID", "modificationTime"), ("jobParameters",)),
    _METADATA: ("PandaID", ("PandaID", "modificationTime"), ("metadata",)),
}


def _copy(pair: tuple[str, str]) -> str:
    source, target = pair
    key, plain, long = _PAIRS[pair]
    columns = [*dict.fromkeys((*plain, *long))]
    created = pair == _FILES  # the archive tells when the job of a file was created
    return (
        f"INSERT INTO {target} ({', '.join(columns)}{', creationTime' if created else ''}) "
        f"SELECT {', '.join(f's.{column}' for column in columns)}{', j.creationTime' if created else ''} "
        f"FROM {source} s{f' JOIN {_JOBS[0]} j ON j.PandaID = s.PandaID' if created else ''} "
        f"WHERE s.PandaID IN (:ids[]) AND NOT EXISTS (SELECT 1 FROM {target} a WHERE a.{key} = s.{key})"
    )


def _difference(pair: tuple[str, str]) -> str:
    source, target = pair
    key, plain, long = _PAIRS[pair]
    same = [f"(a.{c} = s.{c} OR (a.{c} IS NULL AND s.{c} IS NULL))" for c in dict.fromkeys(plain) if c != key]
    same += [f"(LENGTH(a.{c}) = LENGTH(s.{c}) OR (a.{c} IS NULL AND s.{c} IS NULL))" for c in long]
    return (
        f"SELECT s.PandaID FROM {source} s LEFT JOIN {target} a ON a.{key} = s.{key} AND {' AND '.join(same)} "
        f"WHERE s.PandaID IN (:ids[]) AND a.{key} IS NULL"
    )


COPY: Final = {pair[0]: _copy(pair) for pair in _PAIRS}
DIFFERENCE: Final = {pair[0]: _difference(pair) for pair in _PAIRS}

DELETE: Final = (
    "DELETE FROM ATLAS_PANDA.filesTable4 WHERE PandaID IN (:ids[])",
    "DELETE FROM ATLAS_PANDA.jobParamsTable WHERE PandaID IN (:ids[])",
    "DELETE FROM ATLAS_PANDA.metaTable WHERE PandaID IN (:ids[])",
    "DELETE FROM ATLAS_PANDA.jobsDebug WHERE PandaID IN (:ids[])",
)

#: A report that still waits belongs to a job that was killed; the Adder settles its files yet.
OLD: Final = (
    "modificationTime < CURRENT_TIMESTAMP - :days * INTERVAL '1' DAY",
    "NOT EXISTS (SELECT 1 FROM ATLAS_PANDA.Job_Output_Report r WHERE r.PandaID = jobsArchived4.PandaID)",
    "PandaID NOT IN (:stuck[])",
)

_COLUMNS: Final = ", ".join(
    {"jobParameters": "p.jobParameters", "metadata": "m.metadata"}.get(name, f"j.{name}")
    for name in JobSpec.__slots__
    if name in (*JOB_COLUMNS, "jobParameters", "metadata")
)

ARCHIVED_JOBS: Final = f"""
    SELECT {_COLUMNS}
    FROM ATLAS_PANDAARCH.jobsArchived j
    LEFT JOIN ATLAS_PANDAARCH.jobParamsTable_ARCH p ON p.PandaID = j.PandaID
    LEFT JOIN ATLAS_PANDAARCH.metaTable_ARCH m ON m.PandaID = j.PandaID
    WHERE j.PandaID IN (:ids[]) AND j.modificationTime > CURRENT_TIMESTAMP - :days * INTERVAL '1' DAY
"""

ARCHIVED_FILES: Final = f"""
    SELECT {", ".join(FILE_ATTRIBUTES)} FROM ATLAS_PANDAARCH.filesTable_ARCH
    WHERE PandaID IN (:ids[])
    ORDER BY PandaID, row_ID
"""


@dataclass(frozen=True, slots=True)
class Archived:
    """What one call did. ``stuck`` are jobs that the archive has already, with something else in it."""

    moved: tuple[int, ...] = ()
    stuck: tuple[int, ...] = ()


@operation(timeout=300)
def archive_jobs(tx: Transaction, days: float, limit: int, stuck: Sequence[int] = ()) -> Archived:
    """Move jobs that ended so many days ago, the oldest first, except ``stuck`` ones, which differ in the archive."""
    found = tx.claim(
        _JOBS[0],
        key="PandaID",
        limit=min(limit, CHUNK),
        where=OLD,
        binds={"days": days, "stuck": list(stuck)},
        order="modificationTime, PandaID",
    )
    if not found:
        return Archived()
    for text in COPY.values():
        tx.change(text, ids=found)
    different = {row[0] for text in DIFFERENCE.values() for row in tx.rows(text, ids=found)}
    equal = [job_id for job_id in found if job_id not in different]
    for text in (*DELETE, DELETE_JOBS[ARCHIVED]) if equal else ():
        tx.change(text, ids=equal)
    return Archived(tuple(equal), tuple(sorted(different)))


def load_archived(tx: Transaction, ids: Sequence[int], days: float) -> list[JobSpec]:
    """Return jobs, with all that belongs to them, that the archive has and that ended within so many days."""
    jobs: dict[int, JobSpec] = {}
    for start in range(0, len(ids), 1000):
        chunk = list(ids[start : start + 1000])
        found = {row[0]: JobSpec(*row) for row in tx.rows(ARCHIVED_JOBS, ids=chunk, days=days)}
        for row in tx.rows(ARCHIVED_FILES, ids=list(found)) if found else ():
            found[row[1]].Files.append(FileSpec(*row))
        jobs |= found
    return list(jobs.values())
