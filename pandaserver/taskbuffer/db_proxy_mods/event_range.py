"""Giving event ranges to pilots and taking what they say about them.

Whoever changes ranges that a job has holds the job's row; ranges that nobody has are claimed row by row, so each goes
to one job, whatever number of pilots ask at once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pandaserver.srvcore.errors import BadRequest
from pandaserver.taskbuffer.db_proxy_mods.event_sibling import close_unused
from pandaserver.taskbuffer.db_proxy_mods.job_move import touch_locked
from pandaserver.taskbuffer.event_rules import (
    ACQUIRING,
    MOST_UPDATES,
    REPORTING,
    REPORTS,
    TAKERS,
    UNSETTLED,
    UPDATES,
    E,
    EventStatus,
    RangeKey,
)
from pandaserver.taskbuffer.event_rules import MOST_RANGES as MOST_MADE
from pandaserver.taskbuffer.events import EventRange, RangeOrder, RangeReport, RangesTaken, RangeState, ZipFile
from pandaserver.taskbuffer.job_flags import EVENT_SERVICE, JUMBO
from pandaserver.taskbuffer.kill import TO_BE_KILLED
from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.states import ACTIVE
from pandaserver.taskbuffer.transaction import Transaction

#: Most keys that one statement takes, and most ranges that one request gets.
CHUNK: Final = 1000
MOST_RANGES: Final = 10_000

#: Most ranges that one answer describes: as many as one submission makes, which one job may have all.
MOST_TOLD: Final = MOST_MADE

#: Pools that a jumbo job draws from at a time.
POOLS: Final = 500

LOCK_JOBS: Final = """
    SELECT PandaID, jobStatus, jobsetID, eventService, commandToPilot, jediTaskID, nEvents, cpuConsumptionTime
    FROM ATLAS_PANDA.jobsActive4 WHERE PandaID IN (:ids[]) ORDER BY PandaID FOR UPDATE
"""

JUMBO_POOLS: Final = """
    SELECT DISTINCT m.jobsetID FROM ATLAS_PANDA.panda_event_jobs m
    WHERE m.jediTaskID = :jediTaskID AND m.eventService = 5 AND EXISTS (
        SELECT 1 FROM ATLAS_PANDA.JEDI_Events e WHERE e.PandaID = m.jobsetID AND e.status = 0 AND e.attemptNr > 0
    )
    ORDER BY m.jobsetID FETCH FIRST :n ROWS ONLY
"""

TAKE: Final = """
    UPDATE ATLAS_PANDA.JEDI_Events SET PandaID = :PandaID, status = 1, is_jumbo = :is_jumbo
    WHERE rangeID IN (:ids[]) AND status = 0
"""

READ: Final = """
    SELECT rangeID, jediTaskID, fileID, job_processID, attemptNr, def_min_eventID, def_max_eventID, jobsetID
    FROM ATLAS_PANDA.JEDI_Events WHERE rangeID IN (:ids[])
"""

FILES: Final = """
    SELECT m.jobsetID, f.fileID, f.lfn, f.GUID, f.scope
    FROM ATLAS_PANDA.panda_event_jobs m JOIN ATLAS_PANDA.filesTable4 f ON f.PandaID = m.PandaID
    WHERE m.jobsetID IN (:sets[]) AND f.type IN ('input', 'pseudo_input') AND f.fileID IN (:files[])
"""

LOCK_RANGES: Final = """
    SELECT rangeID, PandaID, jediTaskID, fileID, job_processID, attemptNr, status, def_min_eventID, def_max_eventID
    FROM ATLAS_PANDA.JEDI_Events
    WHERE PandaID IN (:owners[]) AND job_processID IN (:processes[])
    ORDER BY rangeID FOR UPDATE
"""

SETTLE: Final = """
    UPDATE ATLAS_PANDA.JEDI_Events
    SET status = :status, PandaID = :PandaID, objStore_ID = :objStore_ID, zipRow_ID = :zipRow_ID,
        path_convention = :path_convention, error_code = :error_code, error_diag = :error_diag,
        file_not_deleted = :file_not_deleted
    WHERE rangeID = :rangeID
"""

ZIPS: Final = """
    SELECT lfn, row_ID FROM ATLAS_PANDA.filesTable4 WHERE PandaID = :PandaID AND type = 'zipoutput'
"""

AVAILABLE: Final = """
    SELECT COUNT(*) FROM ATLAS_PANDA.jobsActive4 j, ATLAS_PANDA.JEDI_Events e
    WHERE j.PandaID = :PandaID AND e.PandaID = j.jobsetID AND e.status = 0 AND e.attemptNr > 0
"""

JUMBO_AVAILABLE: Final = """
    SELECT COUNT(*) FROM ATLAS_PANDA.JEDI_Events e
    WHERE e.status = 0 AND e.attemptNr > 0 AND e.PandaID IN (
        SELECT m.jobsetID FROM ATLAS_PANDA.jobsActive4 j, ATLAS_PANDA.panda_event_jobs m
        WHERE j.PandaID = :PandaID AND j.eventService = 4 AND m.jediTaskID = j.jediTaskID AND m.eventService = 5
    )
"""

STATES: Final = """
    SELECT jediTaskID, PandaID, fileID, job_processID, attemptNr, status, error_code, error_diag
    FROM ATLAS_PANDA.JEDI_Events WHERE PandaID IN (:ids[]) ORDER BY rangeID FETCH FIRST :n ROWS ONLY
"""


@dataclass(frozen=True, slots=True)
class _Job:
    PandaID: int
    jobStatus: str
    jobsetID: int | None
    eventService: int | None
    commandToPilot: str | None
    jediTaskID: int | None
    nEvents: int | None
    cpuConsumptionTime: int | None

    @property
    def is_told_to_end(self) -> bool:
        return TO_BE_KILLED in (self.commandToPilot or "").split(",")


@operation(timeout=60)
def acquire_event_ranges(tx: Transaction, order: RangeOrder) -> list[EventRange]:
    """Bind up to ``order.n_ranges`` ranges to a job and return them; none for a job that is not at work.

    A job that finds fewer than it wants leaves nothing to siblings that have not begun, so those are closed.
    """
    job = _lock(tx, [order.PandaID]).get(order.PandaID)
    if job is None or job.jobStatus not in ACQUIRING or job.is_told_to_end or job.eventService not in TAKERS:
        return []
    pools = _pools(tx, job)
    wanted = min(order.n_ranges, MOST_RANGES)
    taken = _claim(tx, job, pools, order, wanted) if pools else []
    if len(taken) < wanted and order.segment_id is None and job.eventService == EVENT_SERVICE and job.jobsetID:
        close_unused(tx, job.jobsetID, job.PandaID)
    return _described(tx, job, taken)


def _lock(tx: Transaction, ids: Sequence[int]) -> dict[int, _Job]:
    found: dict[int, _Job] = {}
    for start in range(0, len(ids), CHUNK):
        found |= {row[0]: _Job(*row) for row in tx.rows(LOCK_JOBS, ids=list(ids[start : start + CHUNK]))}
    return found


def _pools(tx: Transaction, job: _Job) -> list[int]:
    """Return the sets whose ranges a job may take."""
    if job.eventService != JUMBO:
        return [job.jobsetID] if job.jobsetID else []
    return [row[0] for row in tx.rows(JUMBO_POOLS, jediTaskID=job.jediTaskID or 0, n=POOLS)] if job.jediTaskID else []


def _claim(tx: Transaction, job: _Job, pools: Sequence[int], order: RangeOrder, wanted: int) -> list[int]:
    # One pool is found in order by its index; several have to be sorted.
    of_pool = "PandaID = :pool" if len(pools) == 1 else "PandaID IN (:pools[])"
    where = [of_pool, "status = 0", "attemptNr > 0"]
    if order.segment_id is not None:
        where.append("datasetID = :segment")
    taken: list[int] = []
    while len(taken) < wanted:
        found = tx.claim(
            "ATLAS_PANDA.JEDI_Events",
            key="rangeID",
            limit=min(wanted - len(taken), CHUNK),
            where=where,
            binds={"pool": pools[0], "pools": list(pools), "segment": order.segment_id},
            order="job_processID, rangeID" if order.scattered else "rangeID",
        )
        if not found:
            break
        tx.change(TAKE, ids=found, PandaID=job.PandaID, is_jumbo=1 if job.eventService == JUMBO else None)
        taken += found
    return taken


def _described(tx: Transaction, job: _Job, ids: Sequence[int]) -> list[EventRange]:
    rows = {row[0]: row[1:] for part in _chunks(ids) for row in tx.rows(READ, ids=part)}
    files: dict[tuple[int, int], tuple[str | None, ...]] = {}
    sets = sorted({row[6] for row in rows.values()})
    for part in _chunks(sorted({row[1] for row in rows.values()})):
        files |= {(row[0], row[1]): row[2:] for row in tx.rows(FILES, sets=sets, files=part)}
    found = []
    for range_id in ids:
        task, file, process, attempt, first, last, jobset = rows[range_id]
        key = RangeKey(task, job.PandaID, file, process, attempt)
        found.append(EventRange(str(key), first, last, *files.get((jobset, file), (None, None, None))))
    return found


@operation(timeout=120)
def update_event_ranges(tx: Transaction, reports: Sequence[RangeReport], version: int = 0) -> RangesTaken:
    """Take what pilots say about ranges; all of it is one commit. ``version`` 2 allows ranges nobody was given."""
    keys = [RangeKey.read(report.range_id) for report in reports]
    jobs = _lock(tx, sorted({key.job for key in keys if key is not None}))
    taken = RangesTaken([False] * len(reports))
    by_job: defaultdict[int, list[int]] = defaultdict(list)
    for place, (key, report) in enumerate(zip(keys, reports, strict=True)):
        if key is None:
            continue
        job = jobs.get(key.job)
        taken.commands[key.job] = TO_BE_KILLED if job is None else job.commandToPilot
        if place >= MOST_UPDATES:
            taken.returns[place] = None
        elif job is not None and _may_report(job, version) and report.status in REPORTS:
            by_job[key.job].append(place)
    for job_id in sorted(by_job):
        places = by_job[job_id]
        said = [(key, reports[place]) for place in places if (key := keys[place]) is not None]
        for place, answer in zip(places, _take(tx, jobs[job_id], said, version), strict=True):
            taken.returns[place] = answer
    return taken


def _may_report(job: _Job, version: int) -> bool:
    return job.jobStatus in REPORTING or (version >= 2 and job.jobStatus == "activated")


@dataclass(slots=True)
class _Range:
    range_id: int
    owner: int
    attempt: int
    status: EventStatus
    n_events: int


def _take(tx: Transaction, job: _Job, said: Sequence[tuple[RangeKey, RangeReport]], version: int) -> list[bool | None]:
    """Judge the reports about one job's ranges, in order, and write what they change."""
    held = _held(tx, job, {key.process for key, _ in said}, version)
    answers: list[bool | None] = []
    taken: list[tuple[_Range, RangeReport]] = []
    n_events = 0
    for key, report in said:
        found = held.get((key.task, key.file, key.process))
        if found is None or found.attempt != key.attempt:
            answers.append(False)
            continue
        target = REPORTS[report.status]
        allowed = found.status in UPDATES[target] or (found.status is E.ready and version >= 2)
        if allowed:
            n_events += found.n_events if target is E.finished else 0
            found.status = target
            taken.append((found, report))
        answers.append(None if report.status in UNSETTLED else allowed or found.status is target)
    zips = _zip_rows(tx, job.PandaID, [report.zip_file for _, report in taken if report.zip_file])
    last = {found.range_id: _values(job, found, report, zips) for found, report in taken}  # the last word on each
    tx.change_many(SETTLE, list(last.values()))
    _count(tx, job, n_events, [report for _, report in taken])
    return answers


def _held(tx: Transaction, job: _Job, processes: set[int], version: int) -> dict[tuple[int, int, int], _Range]:
    owners = [job.PandaID, *([job.jobsetID] if version >= 2 and job.jobsetID else [])]
    found = {}
    for part in _chunks(sorted(processes)):
        for row in tx.rows(LOCK_RANGES, owners=owners, processes=part):
            range_id, owner, task, file, process, attempt, status, first, last = row
            n_events = (last or 0) - (first or 0) + 1
            found[task, file, process] = _Range(range_id, owner, attempt, EventStatus(status), n_events)
    return found


def _values(job: _Job, found: _Range, report: RangeReport, zips: Mapping[str, int]) -> dict[str, Any]:
    archive = report.zip_file
    store = archive.store if archive else report.store
    kept = found.status is E.finished and store is not None
    return {
        "rangeID": found.range_id,
        "status": int(found.status),
        "PandaID": job.PandaID,
        "objStore_ID": store,
        "zipRow_ID": zips[archive.lfn] if archive else None,
        "path_convention": archive.path_convention if archive else report.path_convention,
        "error_code": report.error_code,
        "error_diag": report.error_diag[:500] if report.error_diag else None,
        "file_not_deleted": "Y" if kept else None,
    }


def _count(tx: Transaction, job: _Job, n_events: int, reports: Iterable[RangeReport]) -> None:
    """Add to the job what its ranges have cost."""
    cpu = sum(report.cpu_seconds or 0 for report in reports)
    cores = [report.cores for report in reports if report.cores is not None]
    changes: dict[str, Any] = {"nEvents": (job.nEvents or 0) + n_events} if n_events else {}
    if cpu > 0:
        changes["cpuConsumptionTime"] = int((job.cpuConsumptionTime or 0) + cpu)
    if cores:
        changes["actualCoreCount"] = cores[-1]
    if changes:
        touch_locked(tx, ACTIVE, job.PandaID, **changes)


def _zip_rows(tx: Transaction, job_id: int, archives: Iterable[ZipFile]) -> dict[str, int]:
    """Return the file row of each archive; archives that nobody has named before get one."""
    wanted = {archive.lfn: archive for archive in archives}
    if not wanted:
        return {}
    known = {lfn: row_id for lfn, row_id in tx.rows(ZIPS, PandaID=job_id) if lfn in wanted}
    fresh = [archive for lfn, archive in sorted(wanted.items()) if lfn not in known]
    rows = zip(fresh, tx.next_ids("ATLAS_PANDA.FILESTABLE4_ROW_ID_SEQ", len(fresh)), strict=True)
    now = tx.now()
    inserted: list[dict[str, Any]] = [
        {
            "row_ID": row_id,
            "PandaID": job_id,
            "lfn": archive.lfn,
            "type": "zipoutput",
            "status": "ready",
            "fsize": archive.fsize or 0,
            "checksum": archive.checksum,
            "destinationSE": None if archive.store is None else str(archive.store),
            "modificationTime": now,
        }
        for archive, row_id in rows
    ]
    tx.insert("ATLAS_PANDA.filesTable4", inserted)
    return known | {row["lfn"]: row["row_ID"] for row in inserted}


@operation(timeout=60, repeatable=True)
def count_event_ranges(tx: Transaction, job_id: int) -> int:
    """Return how many ranges a job could get now; none for a job that is not active."""
    return int(tx.value(AVAILABLE, PandaID=job_id) or 0) + int(tx.value(JUMBO_AVAILABLE, PandaID=job_id) or 0)


@operation(timeout=60, repeatable=True)
def event_range_states(tx: Transaction, ids: Sequence[int]) -> dict[int, dict[str, RangeState]]:
    """Return the ranges that each job has or had to the end, by their identifiers.

    Jobs with more than two hundred thousand together are to be asked for apart: that raises BadRequest.
    """
    found: dict[int, dict[str, RangeState]] = {}
    left = MOST_TOLD
    for part in _chunks(sorted(set(ids))):
        rows = tx.rows(STATES, ids=part, n=left + 1)
        left -= len(rows)
        if left < 0:
            raise BadRequest(f"these jobs have more than {MOST_TOLD} event ranges; ask for fewer jobs at a time")
        for task, job, file, process, attempt, status, code, diag in rows:
            key = str(RangeKey(task, job, file, process, attempt))
            found.setdefault(job, {})[key] = RangeState(EventStatus(status).name, code, diag)
    return found


def _chunks(ids: Sequence[int]) -> Iterable[list[int]]:
    for start in range(0, len(ids), CHUNK):
        yield list(ids[start : start + CHUNK])
