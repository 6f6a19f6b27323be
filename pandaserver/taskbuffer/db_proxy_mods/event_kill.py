"""Killing jobs that work on event ranges or merge them: what they have done is not lost if it shall be kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from pandaserver.taskbuffer.db_proxy_mods.event_end import after_kill, end_consumer, settle_files
from pandaserver.taskbuffer.db_proxy_mods.event_merge import merge_ended
from pandaserver.taskbuffer.job_flags import EVENT_SERVICE, EVENT_SERVICE_MERGE
from pandaserver.taskbuffer.kill import KillRequest, KillTarget
from pandaserver.taskbuffer.transaction import Transaction

STARTED: Final = """
    SELECT DISTINCT PandaID FROM ATLAS_PANDA.JEDI_Events
    WHERE PandaID IN (:ids[]) AND status IN (1, 2, 3, 6, 7, 8, 9)
"""


def archive_event_consumers(
    tx: Transaction, request: KillRequest, jobs: Sequence[KillTarget], **changes: Any
) -> set[int]:
    """End consumers that have ranges by the rules of their set, if what they did is to be kept; return which."""
    ids = [job.PandaID for job in jobs if job.event_service == EVENT_SERVICE]
    if not request.keep_unmerged or not ids:
        return set()
    started = sorted(row[0] for row in tx.rows(STARTED, ids=ids))
    changes.pop("startTime", None)  # they have begun
    ended = {pid: became for pid in started if (became := end_consumer(tx, pid, request.rule.target, **changes))}
    settle_files(tx, ended)
    return set(ended)


def sets_after_kill(tx: Transaction, request: KillRequest, jobs: Sequence[KillTarget], ended: set[int]) -> None:
    """Do what the kill of ``ended`` means to the sets of ranges of those among them that have one."""
    special = [job for job in jobs if job.PandaID in ended and job.event_service]
    for job in sorted(special, key=lambda job: job.PandaID):
        if job.event_service == EVENT_SERVICE_MERGE:
            merge_ended(tx, job.PandaID, request.rule.target, again=request.keep_unmerged)
    others = [job.PandaID for job in special if job.event_service != EVENT_SERVICE_MERGE]
    after_kill(tx, others, keep=request.keep_unmerged)
