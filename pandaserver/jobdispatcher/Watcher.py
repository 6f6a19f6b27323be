"""Jobs whose heartbeat stopped: fail them, rule by rule, and close the datasets that were waiting for them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from pandacommon.pandalogger.PandaLogger import PandaLogger
from pandaserver.dataservice.Closer import after_end
from pandaserver.dataservice.RetryRules import apply_retry_rules
from pandaserver.taskbuffer.lost_jobs import LostRule
from pandaserver.taskbuffer.retry_rules import WATCHER_SOURCES

if TYPE_CHECKING:
    from pandaserver.taskbuffer.TaskBuffer import TaskBuffer

_log = PandaLogger().getLogger("Watcher")

#: Jobs that one transaction fails at most.
CHUNK: Final = 100


class Watcher:
    """Applies rules to all jobs of the active table."""

    def __init__(self, task_buffer: TaskBuffer) -> None:
        self._task_buffer = task_buffer

    def run(self, rules: Iterable[LostRule]) -> int:
        """Fail every job that is lost by one of the rules; return how many."""
        return sum(self._apply(rule) for rule in rules)

    def _apply(self, rule: LostRule) -> int:
        total = 0
        while jobs := self._task_buffer.failLostJobs(rule, CHUNK):
            total += len(jobs)
            _log.info(f"failed n={len(jobs)} rule={rule.name!r} first={jobs[0].PandaID} last={jobs[-1].PandaID}")
            after_end(self._task_buffer, jobs)
            ids = [job.PandaID for job in jobs if job.PandaID is not None]
            apply_retry_rules(self._task_buffer, ids, WATCHER_SOURCES)
            if len(jobs) < CHUNK:
                break
        return total
