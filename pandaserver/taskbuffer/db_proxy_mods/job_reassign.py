"""Setting jobs up again from the start, because they wait where nobody takes them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pandaserver.taskbuffer import kill
from pandaserver.taskbuffer.db_proxy_mods import audit
from pandaserver.taskbuffer.db_proxy_mods.dataset import close_blocks
from pandaserver.taskbuffer.db_proxy_mods.job_kill import kill_jobs
from pandaserver.taskbuffer.db_proxy_mods.job_move import NOW, Sql, move_jobs, touch_jobs
from pandaserver.taskbuffer.db_proxy_mods.pilot_retry import CLEAN, rename_outputs
from pandaserver.taskbuffer.kill import Killer, KillRequest, KillTarget
from pandaserver.taskbuffer.labels import ANALYSIS_LABELS
from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.reports import BlockOfJob
from pandaserver.taskbuffer.states import ACTIVE, DEFINED, JobStatus
from pandaserver.taskbuffer.transaction import Transaction

S = JobStatus

#: Kill code of jobs whose task makes new ones instead.
BY_TASK: Final = 51

#: What a caller may set up again. One that a pilot has acknowledged is the rules' to judge, who know for how long.
RESETTABLE: Final = frozenset({S.pending, S.waiting, S.defined, S.assigned, S.activated})
RELEASABLE: Final = frozenset({S.pending, S.waiting})

#: Least priority of a job that has waited in vain.
LEAST_PRIORITY: Final = 100

#: relocationFlag of jobs that stay at their queue.
_STAYS: Final = frozenset({1, 2})

#: Queue of placeholders, which nobody sets up.
_PLACEHOLDER: Final = "WAITING_CO_JUMBO"

_SUB: Final = re.compile(r"_sub\d+$")

LOCK: Final = {
    table: f"""
    SELECT PandaID, jobStatus, prodUserID, prodSourceLabel, workingGroup, commandToPilot, eventService,
        relocationFlag, jediTaskID, computingSite, COALESCE(attemptNr, 0)
    FROM ATLAS_PANDA.{table}
    WHERE PandaID IN (:ids[]) ORDER BY PandaID FOR UPDATE
"""
    for table in (DEFINED, ACTIVE)
}

#: Input that was requested for another queue is no use.
FORGET_DISPATCH: Final = """
    UPDATE ATLAS_PANDA.filesTable4 SET dispatchDBlock = NULL WHERE PandaID IN (:ids[]) AND type = 'input'
"""

FORGET_GUIDS: Final = """
    UPDATE ATLAS_PANDA.filesTable4 SET GUID = NULL WHERE PandaID IN (:ids[]) AND status = 'missing'
"""

#: A library that has been built stays where it is.
FORGET_STATUS: Final = """
    UPDATE ATLAS_PANDA.filesTable4 SET status = 'unknown'
    WHERE PandaID IN (:ids[]) AND (type <> 'input' OR dispatchDBlock IS NULL OR status NOT IN ('ready', 'cached'))
"""

SUBS: Final = """
    SELECT row_ID, destinationDBlock, destinationDBlockToken FROM ATLAS_PANDA.filesTable4
    WHERE PandaID IN (:ids[]) AND type IN ('output', 'log') AND destinationDBlock LIKE '%_sub%'
    ORDER BY row_ID
"""

SET_BLOCK: Final = "UPDATE ATLAS_PANDA.filesTable4 SET destinationDBlock = :destinationDBlock WHERE row_ID = :row_ID"

_MORE_URGENT: Final = Sql(
    f"CASE WHEN currentPriority < {LEAST_PRIORITY} THEN {LEAST_PRIORITY} ELSE currentPriority END"
)


@dataclass(frozen=True, slots=True)
class ReassignRequest:
    """Which jobs, by whom. ``attempt`` counts the callers' attempts: at odd ones jobs keep their queue."""

    ids: tuple[int, ...]
    killer: Killer
    attempt: int = 0
    for_pending: bool = False  # release jobs that wait for the task layer, as they are


@dataclass(frozen=True, slots=True)
class Reassigned:
    """What became of jobs: ``defined`` again and to be set up, or handed back to their task."""

    defined: tuple[int, ...] = ()
    closed: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class _Row:
    target: KillTarget
    relocation: int | None
    task: int | None
    site: str | None
    attempt: int

    @property
    def is_analysis(self) -> bool:
        return self.target.label in ANALYSIS_LABELS


@operation(timeout=60)
def reassign_jobs(tx: Transaction, request: ReassignRequest) -> Reassigned:
    """Set up again those of the caller's jobs that wait for something; hand jobs of tasks back to their task.

    Others stay as they are: those of other people, those with a pilot, those that were told to end.
    """
    wanted = sorted(set(request.ids))
    statuses = RELEASABLE if request.for_pending else RESETTABLE
    as_kill = KillRequest(tuple(wanted), request.killer, BY_TASK)
    rows = [
        row
        for row in _locked(tx, wanted)
        if row.target.status in statuses and row.site != _PLACEHOLDER and kill.may_kill(as_kill, row.target)
    ]
    of_tasks = [] if request.for_pending else [row.target.PandaID for row in rows if row.task is not None]
    closed: list[int] = []
    if of_tasks:
        ended = kill_jobs(
            tx, KillRequest(tuple(of_tasks), request.killer, BY_TASK, diag="to be made again by its task")
        )
        closed = [pid for pid, done in zip(of_tasks, ended, strict=True) if done]
    others = [row for row in rows if row.target.PandaID not in of_tasks]
    keep = request.for_pending or request.attempt % 2 == 1
    defined = _reset(tx, others, keep)
    if defined and not request.killer.is_system:
        named = str(defined[0]) if len(defined) == 1 else f"{defined[0]}-{defined[-1]}"
        audit.record(tx, request.killer.name, "reassignJobs", "job", named, ids=defined)
    return Reassigned(tuple(defined), tuple(closed))


def reset_jobs(tx: Transaction, ids: Sequence[int]) -> list[int]:
    """Set up again jobs that the caller has locked and judged, also such as a pilot has acknowledged; return them."""
    return _reset(tx, _locked(tx, sorted(ids)), keep_site=False)


def _locked(tx: Transaction, ids: Sequence[int]) -> list[_Row]:
    found: Iterable[tuple[Any, ...]] = (row for table in (DEFINED, ACTIVE) for row in tx.rows(LOCK[table], ids=ids))
    return [_Row(KillTarget(row[0], S(row[1]), *row[2:7]), *row[7:]) for row in found]


def _reset(tx: Transaction, rows: Sequence[_Row], keep_site: bool) -> list[int]:
    rows = [row for row in rows if row.target.command is None]
    groups: dict[tuple[JobStatus, bool, bool], list[int]] = defaultdict(list)
    for row in rows:
        stays = keep_site or row.is_analysis or row.relocation in _STAYS
        groups[row.target.status, row.is_analysis, stays].append(row.target.PandaID)
    done: set[int] = set()
    for (status, is_analysis, stays), ids in groups.items():
        changes = _changes(status, is_analysis, stays)
        if status is S.defined:
            touch_jobs(tx, DEFINED, ids, modificationTime=NOW, stateChangeTime=NOW, **changes)
            done.update(ids)
        else:
            done.update(move_jobs(tx, ids, S.defined, by="reassignJobs", **changes))
    kept = [row for row in rows if row.target.PandaID in done]
    if kept:
        _reset_files(tx, kept)
    return sorted(done)


def _changes(status: JobStatus, is_analysis: bool, stays: bool) -> Mapping[str, Any]:
    changes: dict[str, Any] = {"computingElement": None, "brokerageErrorCode": 0, "brokerageErrorDiag": None}
    if not is_analysis:
        changes["dispatchDBlock"] = None
    if not stays:
        changes["computingSite"] = None
    if status is S.activated:
        changes["currentPriority"] = _MORE_URGENT
    if status is S.starting:  # whoever acknowledged it is refused if it comes back after all
        changes |= {**CLEAN, "attemptNr": Sql("COALESCE(attemptNr, 0) + 1")}
    return changes


def _reset_files(tx: Transaction, rows: Sequence[_Row]) -> None:
    ids = [row.target.PandaID for row in rows]
    not_analysis = [row.target.PandaID for row in rows if not row.is_analysis]
    if not_analysis:
        tx.change(FORGET_DISPATCH, ids=not_analysis)
    tx.change(FORGET_GUIDS, ids=ids)
    without_task = [row.target.PandaID for row in rows if row.task is None]
    if without_task:
        tx.change(FORGET_STATUS, ids=without_task)
    for row in rows:
        if row.target.status is S.starting:
            rename_outputs(tx, row.target.PandaID, row.attempt + 1)
    subs = [row for row in tx.rows(SUBS, ids=ids) if _SUB.search(row[1])]
    tx.change_many(SET_BLOCK, [{"row_ID": row[0], "destinationDBlock": _SUB.sub("", row[1])} for row in subs])
    old = {name: BlockOfJob(name, "doing" if token == "TOMERGE" else "tobeclosed") for _, name, token in subs}
    close_blocks(tx, [old[name] for name in sorted(old)])
