"""New jobs on their way to a pilot: a queue is found, the plug-in of their VO prepares them, the outcome is stored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from copy import copy
from typing import TYPE_CHECKING, Any, Final

from pandacommon.pandalogger.LogWrapper import LogWrapper
from pandacommon.pandalogger.PandaLogger import PandaLogger
from pandaserver.brokerage.broker import Broker
from pandaserver.dataservice.SetupperPluginBase import SetupperPluginBase
from pandaserver.dataservice.SetupperSimplePlugin import SetupperSimplePlugin
from pandaserver.srvcore.caching import CachedObject
from pandaserver.taskbuffer.ErrorCode import EC_Release, EC_Setupper
from pandaserver.taskbuffer.FileSpec import FileSpec
from pandaserver.taskbuffer.JobSpec import JOB_COLUMNS, JobSpec
from pandaserver.taskbuffer.setup import PREPARED_COLUMNS, Prepared, PreparedFile
from pandaserver.taskbuffer.states import JobStatus

if TYPE_CHECKING:
    from pandaserver.brokerage.SiteMapper import SiteMapper
    from pandaserver.taskbuffer.TaskBuffer import TaskBuffer

_log = PandaLogger().getLogger("Setupper")

#: Jobs that are prepared together.
CHUNK: Final = 500

#: Seconds for which the queues' lengths are trusted.
LOAD_LIFETIME: Final = 30.0

#: Seconds after which a defined job counts as forgotten, and a waiting one is looked at again.
LOST_AFTER: Final = 600.0
RETRY_AFTER: Final = 300.0

#: Columns of a job that are not for a plug-in to change.
_PROTECTED: Final = frozenset({"PandaID", "jobStatus", "creationTime", "modificationTime", "stateChangeTime"})
_PREPARABLE: Final = tuple(name for name in JOB_COLUMNS if name not in _PROTECTED)

PluginClass = type[SetupperPluginBase]


class Setupper:
    """Prepares jobs. ``plugin_for`` finds the class for a VO, ``local`` for jobs that keep their output where it is."""

    def __init__(
        self,
        task_buffer: TaskBuffer,
        sites: SiteMapper,
        plugin_for: Callable[[str], PluginClass | None],
        **plugin_params: Any,
    ) -> None:
        self._task_buffer = task_buffer
        self._sites = sites
        self._plugin_for = plugin_for
        self._plugin_params = plugin_params
        self._broker = CachedObject(self._new_broker, LOAD_LIFETIME)

    def set_up(self, ids: Sequence[int]) -> list[int]:
        """Prepare those of the named jobs that are still ``defined``, and return the ones that moved on."""
        moved: list[int] = []
        for start in range(0, len(ids), CHUNK):
            jobs = self._task_buffer.takeJobsToSetUp(ids[start : start + CHUNK])
            moved += self._prepare([_Draft(job) for job in jobs])
        return moved

    def pick_up_lost(self, lost_after: float = LOST_AFTER, limit: int = CHUNK) -> list[int]:
        """Prepare jobs that were stored long ago and are still ``defined``: whoever was told about them is gone."""
        jobs = self._task_buffer.takeLostJobs(JobStatus.defined, lost_after, limit)
        return self._prepare([_Draft(job) for job in jobs])

    def retry_waiting(self, retry_after: float = RETRY_AFTER, limit: int = CHUNK) -> list[int]:
        """Look for a queue again, for jobs for which there was none, and return those that moved on."""
        drafts = [_Draft(job) for job in self._task_buffer.takeLostJobs(JobStatus.waiting, retry_after, limit)]
        self._choose_queues(drafts)
        still = [draft for draft in drafts if draft.job.jobStatus == JobStatus.waiting]
        if still:
            reasons = [(draft.job.PandaID or 0, draft.job.brokerageErrorDiag or "") for draft in still]
            self._task_buffer.keepWaiting(reasons)
        return self._prepare([draft for draft in drafts if draft.job.jobStatus != JobStatus.waiting])

    def _prepare(self, drafts: Sequence[_Draft]) -> list[int]:
        if not drafts:
            return []
        self._choose_queues(drafts)
        plugins = [plugin for group in _groups(drafts) if (plugin := self._run_plugin(group))]
        moved = self._task_buffer.applySetup([draft.outcome() for draft in drafts])
        _log.info("set up jobs=%d moved=%d", len(drafts), len(moved))
        for plugin in plugins:
            self._finish(plugin, set(moved))
        return moved

    def _choose_queues(self, drafts: Iterable[_Draft]) -> None:
        """Give a queue to jobs without one, or the reason why there is none."""
        for draft in drafts:
            job = draft.job
            if job.computingSite:
                if not self._sites.check_afresh(job.computingSite):
                    draft.fail(f"computingSite {job.computingSite} is not a queue")
                continue
            choice = self._broker.get().choose(job)
            if choice.site is None:
                job.jobStatus = JobStatus.waiting
                job.brokerageErrorCode, job.brokerageErrorDiag = EC_Release, choice.reason
            else:
                job.jobStatus = JobStatus.defined
                job.computingSite, job.cloud = choice.site.sitename, job.cloud or choice.site.cloud
                job.brokerageErrorCode, job.brokerageErrorDiag = 0, None

    def _run_plugin(self, drafts: Sequence[_Draft]) -> SetupperPluginBase | None:
        """Let the plug-in of one VO prepare its own jobs. What it raises fails those that it did not judge itself."""
        jobs = [draft.job for draft in drafts]
        vo, params = drafts[0].vo, {"resubmit": drafts[0].comes_again, **self._plugin_params}
        logger = LogWrapper(_log, f"<VO={vo}>")
        try:
            plugin_class = self._plugin_for(vo) or SetupperSimplePlugin
            plugin = plugin_class(self._task_buffer, jobs, logger, **params)
            plugin.run()
        except Exception as error:  # a plug-in is foreign code
            logger.exception(f"plug-in failed jobs={len(jobs)}")
            for draft in drafts:
                if draft.job.jobStatus == JobStatus.defined:
                    draft.fail(f"set-up failed: {error}")
            return None
        return plugin

    def _finish(self, plugin: SetupperPluginBase, moved: set[int]) -> None:
        """Run what a plug-in does afterwards, and store what it says about jobs that wait for their input."""
        jobs = [job for job in (*plugin.jobs, *plugin.jumboJobs) if job.PandaID in moved]
        drafts = [_Draft(job) for job in jobs if job.jobStatus != JobStatus.failed]
        try:
            plugin.postRun()
        except Exception as error:  # noqa: BLE001  a plug-in is foreign code
            _log.exception("plug-in failed after set-up jobs=%d", len(jobs))
            for draft in drafts:
                if draft.is_awaiting:
                    draft.fail(f"set-up failed: {error}")
        failed = [draft.outcome() for draft in drafts if draft.job.jobStatus == JobStatus.failed]
        if failed:
            self._task_buffer.applySetup(failed)

    def _new_broker(self) -> Broker:
        return Broker(self._sites.sites.values(), self._task_buffer.countQueued())


class _Draft:
    """A job while it is being prepared, with what it was before."""

    def __init__(self, job: JobSpec) -> None:
        self.job = job
        self._before = copy(job)
        self._files_before = {file.row_ID: _prepared_file(file) for file in job.Files}

    @property
    def vo(self) -> str:
        """Name under which the plug-in is looked up."""
        return "local" if self.job.destinationSE == "local" else self.job.VO or ""

    @property
    def comes_again(self) -> bool:
        """Tell whether the job has left ``defined`` once; until then its state is as old as the job.

        One that waits for a queue has not been prepared for any, whatever it was before.
        """
        before = self._before
        if before.jobStatus == JobStatus.waiting or before.stateChangeTime is None or before.creationTime is None:
            return False
        return before.stateChangeTime > before.creationTime

    @property
    def is_awaiting(self) -> bool:
        """Tell whether the job has to wait for input that is on its way."""
        files = (file for file in self.job.Files if file.type == "input" and file.dispatchDBlock)
        return bool(self.job.dispatchDBlock) or any(file.status not in ("ready", "cached") for file in files)

    def fail(self, reason: str) -> None:
        """Make the job end with a set-up error."""
        self.job.jobStatus = JobStatus.failed
        self.job.ddmErrorCode, self.job.ddmErrorDiag = EC_Setupper, reason

    def outcome(self) -> Prepared:
        """Return what has to be stored."""
        job = self.job
        target = self._target()
        if target in (JobStatus.failed, JobStatus.cancelled):
            for file in job.Files:
                if file.type in ("output", "log") and file.status != "missing":
                    file.status = "failed"
        changes = {n: getattr(job, n) for n in _PREPARABLE if getattr(job, n) != getattr(self._before, n)}
        files = (_prepared_file(file) for file in job.Files)
        changed = tuple(file for file in files if file != self._files_before.get(file.row_ID))
        return Prepared(
            PandaID=job.PandaID or 0,
            target=target,
            changes=changes,
            files=changed,
            jobParameters=job.jobParameters if job.jobParameters != self._before.jobParameters else None,
            was_waiting=self._before.jobStatus == JobStatus.waiting,
        )

    def _target(self) -> JobStatus:
        status = JobStatus(self.job.jobStatus or JobStatus.defined)
        if status in (JobStatus.failed, JobStatus.waiting):
            return status
        if status is JobStatus.cancelled:
            return JobStatus.failed
        return JobStatus.assigned if self.is_awaiting else JobStatus.activated


def _prepared_file(file: FileSpec) -> PreparedFile:
    values = {name: getattr(file, name) for name in PREPARED_COLUMNS}
    return PreparedFile(row_ID=file.row_ID or 0, **values | {"fsize": file.fsize or 0})


def _groups(drafts: Iterable[_Draft]) -> Iterable[list[_Draft]]:
    """Return the jobs that are to be prepared, apart by VO and by whether they come again."""
    groups: dict[tuple[str, bool], list[_Draft]] = {}
    for draft in drafts:
        if draft.job.jobStatus == JobStatus.defined:
            groups.setdefault((draft.vo, draft.comes_again), []).append(draft)
    return groups.values()
