"""Jobs that nobody moves: give them up, rule by rule, and close the datasets that were waiting for them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from pandacommon.pandalogger.PandaLogger import PandaLogger
from pandaserver.dataservice.Closer import after_end
from pandaserver.taskbuffer.expiry import ExpiryRule
from pandaserver.taskbuffer.states import JobStatus

if TYPE_CHECKING:
    from pandaserver.taskbuffer.TaskBuffer import TaskBuffer

_log = PandaLogger().getLogger("copyArchive")

#: Jobs that one transaction kills at most.
CHUNK: Final = 100


def expire(task_buffer: TaskBuffer, rules: Iterable[ExpiryRule]) -> int:
    """Kill every job that one of the rules gives up; return how many."""
    return sum(_apply(task_buffer, rule) for rule in rules)


def _apply(task_buffer: TaskBuffer, rule: ExpiryRule) -> int:
    total = 0
    while jobs := task_buffer.expireJobs(rule, CHUNK):
        total += len(jobs)
        _log.info(f"killed n={len(jobs)} code={rule.code} rule={rule.name!r} first={jobs[0].PandaID}")
        # A running one has only been told: it ends when its pilot hears of it, and may finish before.
        after_end(task_buffer, [job for job in jobs if job.jobStatus != JobStatus.running])
        if len(jobs) < CHUNK:
            break
    return total
