"""From a pilot's last report to a final state: the Adder takes reports, judges jobs and settles them in batches."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from pandacommon.pandalogger.logger_utils import dump_error_message
from pandacommon.pandalogger.LogWrapper import LogWrapper
from pandacommon.pandalogger.PandaLogger import PandaLogger
from pandacommon.pandautils.PandaUtils import naive_utcnow
from pandaserver.dataservice.AdderPluginBase import AdderPluginBase, AdderResult, AdderStatus
from pandaserver.dataservice.Closer import blocks_of, start_activation
from pandaserver.dataservice.output_check import CheckedOutput, check_output
from pandaserver.dataservice.output_report import ReportedFile, UnreadableReport, read_report
from pandaserver.srvcore.errors import PandaError, Unavailable
from pandaserver.taskbuffer.ErrorCode import EC_Adder, EC_Kill, EC_WorkerDone
from pandaserver.taskbuffer.FileSpec import FileSpec
from pandaserver.taskbuffer.JobSpec import JobSpec
from pandaserver.taskbuffer.reports import FileResult, JobMeasures, ReportOrder, TakenReport, Verdict
from pandaserver.taskbuffer.states import JobStatus

if TYPE_CHECKING:
    from pandaserver.brokerage.SiteMapper import SiteMapper
    from pandaserver.taskbuffer.TaskBuffer import TaskBuffer

_log = PandaLogger().getLogger("Adder")

#: A report older than this is settled even if its plug-in still fails for a reason that may pass.
LAST_CHANCE: Final = timedelta(hours=24)
RETRY_IN: Final = 60.0  # seconds
_MOST_BYTES: Final = 99_999_999_999
_MOST_HS06SEC: Final = 999_999_999
_GONE: Final = frozenset({JobStatus.finished, JobStatus.failed, JobStatus.unknown, JobStatus.merging})
_KILLED: Final = frozenset({JobStatus.cancelled, JobStatus.closed})


@dataclass(frozen=True, slots=True)
class Judged:
    """A verdict with what has to be done around it."""

    verdict: Verdict
    job: JobSpec | None


class Adder:
    """Settle jobs whose report waits. One instance serves one process; ``owner`` names it in the locks."""

    def __init__(
        self,
        task_buffer: TaskBuffer,
        sites: SiteMapper,
        plugin_for: Callable[[str | None], type[AdderPluginBase]],
        owner: str,
        ddm: Any = None,
        clock: Callable[[], datetime] = naive_utcnow,
    ) -> None:
        self._task_buffer = task_buffer
        self._sites = sites
        self._plugin_for = plugin_for
        self._owner = owner
        self._ddm = ddm
        self._clock = clock

    def run(self, limit: int = 20, user_jobs: bool | None = None, grace: float = 1.0) -> int:
        """Take and settle one batch; return how many reports were taken."""
        order = ReportOrder(self._owner, limit, user_jobs, grace)
        taken = self._task_buffer.takeOutputReports(order)
        judged, postponed = [], []
        for item in taken:
            verdict = self.judge(item)
            if verdict is None:
                postponed.append(item.report.PandaID)
            else:
                judged.append(Judged(verdict, item.job))
        if postponed:
            self._task_buffer.releaseOutputReports(postponed, self._owner, RETRY_IN, order.lease)
        self._settle(judged, order)
        return len(taken)

    def judge(self, taken: TakenReport) -> Verdict | None:
        """Decide what becomes of a job; None: a plug-in could not tell yet, ask again later."""
        report, job = taken.report, taken.job
        log = LogWrapper(_log, f"<PandaID={report.PandaID}>")
        drop = Verdict(report.PandaID, report.attemptNr, None)
        if job is None or job.jobStatus in _GONE or (job.attemptNr or 0) != report.attemptNr:
            found = "no live job" if job is None else f"status={job.jobStatus} attempt={job.attemptNr}"
            log.info(f"report dropped attempt={report.attemptNr} found={found}")
            return drop
        if report.jobStatus == "esregister":
            log.warning("report dropped: this server has no event service")
            return drop
        if job.jobStatus in _KILLED:
            return replace(drop, files=_results(check_output(job, False, {}).changed))
        if job.jobSubStatus == "pilot_closed":
            changes = {"taskBufferErrorCode": EC_Kill, "taskBufferErrorDiag": "the pilot ended without doing work"}
            return replace(drop, target=JobStatus.closed, by="killJob", changes=changes)
        return self._judge_output(taken, job, log)

    def _judge_output(self, taken: TakenReport, job: JobSpec, log: LogWrapper) -> Verdict | None:
        report = taken.report
        good = report.jobStatus == "finished"
        try:
            entries = read_report(report.data)
            checked = check_output(job, good, entries)
        except UnreadableReport as error:
            entries = {}
            checked = check_output(job, False, {})
            checked.fail(str(error))
        job.Files = [*_untouched(job, checked), *checked.changed, *checked.added]
        result = self._run_plugin(job, entries, log) if good and not checked.problem else AdderResult()
        if result.statusCode == AdderStatus.temporary and self._clock() - report.timeStamp < LAST_CHANCE:
            return None
        if result.statusCode != AdderStatus.succeeded:
            checked = check_output(job, False, {})
            checked.fail("output files could not be handled; see the log of the Adder")
        target, changes = _target(job, good, checked.problem, result)
        log.info(f"judged target={target} problem={checked.problem} files={len(checked.changed)}")
        return Verdict(
            report.PandaID,
            report.attemptNr,
            target,
            changes=changes,
            measures=self._measures(job, entries),
            files=_results(_with_fate(checked.changed, result)),
            new_files=tuple(checked.added),
            blocks=blocks_of(job),
        )

    def _run_plugin(self, job: JobSpec, entries: dict[str, ReportedFile], log: LogWrapper) -> AdderResult:
        extra: dict[str, dict[str, Any]] = {
            "surl": {lfn: entry.surl for lfn, entry in entries.items()},
            "nevents": {lfn: entry.nevents for lfn, entry in entries.items()},
            "endpoint": {lfn: list(entry.endpoint) for lfn, entry in entries.items()},
            "guid": {lfn: entry.guid for lfn, entry in entries.items()},
            "lbnr": {},
        }
        try:
            plugin = self._plugin_for(job.VO)(
                job, taskBuffer=self._task_buffer, siteMapper=self._sites, extraInfo=extra, logger=log, ddm=self._ddm
            )
            plugin.execute()
        except Exception as error:  # noqa: BLE001 - the plug-in boundary, foreign code
            dump_error_message(log, f"plug-in failed error={error!r}")
            return AdderResult(AdderStatus.fatal)
        return plugin.result

    def _measures(self, job: JobSpec, entries: dict[str, ReportedFile]) -> JobMeasures:
        outputs = [spec for spec in job.Files if spec.type in ("output", "log") and spec.status == "ready"]
        power = self._sites.get(job.computingSite or "").corepower or 0.0
        cores = job.actualCoreCount or job.coreCount or 1
        hs06sec = None
        if job.startTime is not None:
            seconds = ((job.endTime or self._clock()) - job.startTime).total_seconds()
            hs06sec = min(max(0, int(seconds * power * cores)), _MOST_HS06SEC)
        return JobMeasures(
            nOutputDataFiles=sum(spec.type == "output" for spec in outputs),
            outputFileBytes=min(sum(spec.fsize or 0 for spec in outputs if spec.type == "output"), _MOST_BYTES),
            nEvents=_events(job, entries),
            hs06=int(power * cores),
            hs06sec=hs06sec,
        )

    def _settle(self, judged: list[Judged], order: ReportOrder) -> None:
        """Settle a batch in one transaction; if one of them makes it fail, settle them one by one."""
        if not judged:
            return
        self._around(judged)
        try:
            settled = self._task_buffer.settleOutputReports(order.owner, [item.verdict for item in judged])
        except Unavailable:
            raise
        except PandaError as error:
            if len(judged) == 1:
                _log.error(
                    f"<PandaID={judged[0].verdict.PandaID}> not settled, tried again later error={error.message}"
                )
                ids = [judged[0].verdict.PandaID]
                self._task_buffer.releaseOutputReports(ids, order.owner, RETRY_IN, order.lease)
                return
            for item in judged:
                self._settle([item], order)
            return
        moved = set(settled.moved)
        for item in judged:
            if item.job is not None and item.verdict.PandaID in moved and item.verdict.target == JobStatus.finished:
                start_activation(self._task_buffer, item.job, settled.completed)

    def _around(self, judged: Iterable[Judged]) -> None:
        """Tell jobs that wait for a library what became of it. Done before settling, because it may be repeated."""
        for job, verdict in ((item.job, item.verdict) for item in judged if item.job is not None):
            if job.prodSourceLabel != "panda" or verdict.target is None:
                continue
            for spec in job.Files:
                if spec.type == "output" and spec.destinationDBlock:
                    if verdict.target == JobStatus.finished:
                        self._task_buffer.setLibraryFile(spec)
                    elif verdict.target in (JobStatus.failed, JobStatus.cancelled):
                        while self._task_buffer.cancelDownstreamJobs(spec.destinationDBlock):
                            pass


def _target(job: JobSpec, good: bool, problem: str | None, result: AdderResult) -> tuple[JobStatus, dict[str, Any]]:
    if good and problem is None:
        if result.mergingFiles:
            return JobStatus.merging, {}
        if result.transferringFiles:
            return JobStatus.transferring, {"jobSubStatus": None}
        return JobStatus.finished, {"jobDispatcherErrorCode": 0, "jobDispatcherErrorDiag": None}
    changes: dict[str, Any] = {}
    explained = job.pilotErrorCode or job.taskBufferErrorCode == EC_WorkerDone or job.transExitCode not in (None, "0")
    if problem is not None and not explained:
        changes = {"ddmErrorCode": EC_Adder, "ddmErrorDiag": problem}
    killed = "tobekilled" in (job.commandToPilot or "").split(",")
    return (JobStatus.cancelled if killed else JobStatus.failed), changes


def _with_fate(files: Iterable[FileSpec], result: AdderResult) -> list[FileSpec]:
    for spec in (changed := list(files)):
        if spec.lfn in result.mergingFiles:
            spec.status = "merging"
        elif spec.lfn in result.transferringFiles:
            spec.status = "transferring"
    return changed


def _untouched(job: JobSpec, checked: CheckedOutput) -> list[FileSpec]:
    changed = {spec.row_ID for spec in checked.changed}
    return [spec for spec in job.Files if spec.row_ID not in changed]


def _results(files: Iterable[FileSpec]) -> tuple[FileResult, ...]:
    return tuple(
        FileResult(f.row_ID, f.status or "unknown", f.lfn, f.GUID, f.fsize or 0, f.md5sum, f.checksum)
        for f in files
        if f.row_ID is not None
    )


def _events(job: JobSpec, entries: dict[str, ReportedFile]) -> int:
    """Events that the job made: from the payload's report, else from the output report, else what the pilot said."""
    try:
        outputs = json.loads(job.metadata or "{}")["files"]["output"]
        return sum(int(sub.get("nentries") or 0) for output in outputs for sub in output.get("subFiles", ()))
    except (ValueError, KeyError, TypeError, AttributeError):
        counted = [entry.nevents for entry in entries.values() if entry.nevents is not None]
        return max(counted, default=job.nEvents or 0)
