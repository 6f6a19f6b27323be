"""Jobs that nobody moves: give them up, rule by rule, and close the datasets that were waiting for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final

from pandacommon.pandalogger.PandaLogger import PandaLogger
from pandaserver.dataservice.Closer import after_end
from pandaserver.dataservice.Killer import tell_merges
from pandaserver.taskbuffer.expiry import SET_UP_AGAIN, ExpiryRule
from pandaserver.taskbuffer.states import JobStatus

if TYPE_CHECKING:
    from pandaserver.taskbuffer.TaskBuffer import TaskBuffer

_log = PandaLogger().getLogger("copyArchive")

#: Jobs that one transaction ends at most.
CHUNK: Final = 100

SetUp = Callable[[Sequence[int]], object]


def expire(task_buffer: TaskBuffer, rules: Iterable[ExpiryRule], set_up: SetUp | None = None) -> int:
    """Do with every job what the first rule that gives it up says; return how many.

    ``set_up`` prepares jobs that begin again; without it the search for lost jobs finds them.
    """
    return sum(_apply(task_buffer, rule, set_up) for rule in rules)


def _apply(task_buffer: TaskBuffer, rule: ExpiryRule, set_up: SetUp | None) -> int:
    total = 0
    while jobs := task_buffer.expireJobs(rule, CHUNK):
        total += len(jobs)
        ids = [job.PandaID for job in jobs if job.PandaID is not None]
        if rule.code is SET_UP_AGAIN:
            _log.info(f"set up again n={len(jobs)} rule={rule.name!r} first={jobs[0].PandaID}")
            if set_up is not None:
                set_up(ids)
        else:
            _log.info(f"killed n={len(jobs)} code={rule.code} rule={rule.name!r} first={jobs[0].PandaID}")
            tell_merges(jobs, rule.code, rule.keep_unmerged)
            # A running one has only been told: it ends when its pilot hears of it, and may finish before.
            after_end(task_buffer, [job for job in jobs if job.jobStatus != JobStatus.running])
        if len(jobs) < CHUNK:
            break
    return total
