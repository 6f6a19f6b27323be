"""Rebrokerage: jobs of tasks are handed back when they would begin sooner at another queue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from pandacommon.pandalogger.PandaLogger import PandaLogger
from pandaserver.dataservice.Closer import after_end
from pandaserver.taskbuffer.kill import Killer, KillRequest
from pandaserver.taskbuffer.rebrokerage import COMPONENT, QUEUED, excesses, waits_too_long

if TYPE_CHECKING:
    from pandaserver.taskbuffer.SiteSpec import SiteSpec
    from pandaserver.taskbuffer.TaskBuffer import TaskBuffer

_log = PandaLogger().getLogger("copyArchive")

#: Jobs that one transaction ends at most.
CHUNK: Final = 100

#: Hours without any change of state after which a group of users' jobs is looked at.
STANDSTILL: Final = 3.0

_FAST: Final = 10
_BY_TASK: Final = 51


class Rebroker:
    """Takes jobs back from queues. ``sites`` are all queues by name."""

    def __init__(self, task_buffer: TaskBuffer, sites: Mapping[str, SiteSpec]) -> None:
        self._task_buffer = task_buffer
        self._sites = sites
        self._parameters: dict[str, Any] = task_buffer.getConfigValues(COMPONENT)

    def fast(self) -> int:
        """Hand back the oldest jobs of shares that have far too many at a queue; return how many."""
        total = 0
        for excess in excesses(self._task_buffer.countWaitingByShare(), self._parameters):
            told = f"fast rebrokerage site={excess.site} gshare={excess.share!r} excess={excess.jobs}"
            if excess.dry_run:
                _log.info(f"{told} dry run: CONFIG has no threshold for this share")
                continue
            ids = self._task_buffer.findOldestWaiting(excess.site, excess.share, excess.jobs)
            killed = self._hand_back(ids, _FAST, "too many jobs of its share wait at this queue")
            _log.info(f"{told} killed={killed}")
            total += killed
        return total

    def users(self) -> int:
        """Hand back users' jobs that stand still at a queue for too long, or at one that starts nothing."""
        total = 0
        for group in self._task_buffer.findWaitingGroups(STANDSTILL):
            site = self._sites.get(group.site)
            if site is None or not waits_too_long(group, site.status, self._parameters):
                continue
            ids = self._task_buffer.findStuckMembers(group, STANDSTILL)
            killed = self._hand_back(ids, _BY_TASK, "waited too long at this queue")
            if killed:
                _log.info(f"rebrokered task={group.task} site={group.site} waited_h={group.waited:.1f} n={killed}")
            total += killed
        return total

    def _hand_back(self, ids: Sequence[int], code: int, why: str) -> int:
        """Close those of the jobs that still wait; a pilot that was faster keeps its job."""
        total = 0
        for start in range(0, len(ids), CHUNK):
            chunk = tuple(ids[start : start + CHUNK])
            request = KillRequest(
                chunk,
                Killer(is_system=True),
                code,
                diag=why,
                keep_unmerged=code == _FAST,
                statuses=frozenset(QUEUED),
            )
            jobs = self._task_buffer.peekJobs(chunk)
            killed = self._task_buffer.killJobs(request)
            after_end(self._task_buffer, [job for job, done in zip(jobs, killed, strict=True) if done and job])
            total += sum(killed)
        return total
