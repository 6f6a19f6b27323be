"""From a pilot's last report to a final state: the Adder takes reports, judges jobs and settles them in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import copy
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from pandacommon.pandalogger.logger_utils import dump_error_message
from pandacommon.pandalogger.LogWrapper import LogWrapper
from pandacommon.pandalogger.PandaLogger import PandaLogger
from pandacommon.pandautils.PandaUtils import naive_utcnow
from pandaserver.dataservice.AdderPluginBase import AdderPluginBase, AdderResult, AdderStatus
from pandaserver.dataservice.Closer import blocks_of, cancel_waiting, what_waits_for
from pandaserver.dataservice.job_measures import events_by_guid, measure
from pandaserver.dataservice.output_check import CheckedOutput, check_output
from pandaserver.dataservice.output_report import ReportedFile, UnreadableReport, read_report
from pandaserver.dataservice.RetryRules import apply_retry_rules
from pandaserver.srvcore.errors import BadRequest, Unavailable
from pandaserver.taskbuffer.ErrorCode import EC_Adder, EC_Kill, EC_WorkerDone
from pandaserver.taskbuffer.FileSpec import FileSpec
from pandaserver.taskbuffer.JobSpec import JobSpec
from pandaserver.taskbuffer.kill import TO_BE_KILLED
from pandaserver.taskbuffer.reports import FileResult, OutputReport, ReportOrder, TakenReport, Verdict
from pandaserver.taskbuffer.retry_rules import ADDER_SOURCES, SERVER_SOURCES
from pandaserver.taskbuffer.states import JobStatus

if TYPE_CHECKING:
    from pandaserver.brokerage.SiteMapper import SiteMapper
    from pandaserver.taskbuffer.TaskBuffer import TaskBuffer

_log = PandaLogger().getLogger("Adder")

#: A report older than this is settled even if its plug-in still fails for a reason that may pass.
LAST_CHANCE: Final = timedelta(hours=24)
#: Seconds after which a postponed report is taken again, and those after which a lock belongs to nobody.
RETRY_IN: Final = 60.0
LEASE: Final = 600.0
_GONE: Final = frozenset({JobStatus.finished, JobStatus.failed, JobStatus.unknown, JobStatus.merging})
_KILLED: Final = frozenset({JobStatus.cancelled, JobStatus.closed})


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
        lease: float = LEASE,
    ) -> None:
        self._task_buffer = task_buffer
        self._sites = sites
        self._plugin_for = plugin_for
        self._owner = owner
        self._ddm = ddm
        self._clock = clock
        self._lease = lease

    def run(self, limit: int = 20, user_jobs: bool | None = None, grace: float = 1.0) -> int:
        """Take and settle one batch; return how many reports were taken."""
        taken = self._task_buffer.takeOutputReports(ReportOrder(self._owner, limit, user_jobs, grace, self._lease))
        judged = [(item, self._judge_safely(item)) for item in taken]
        self._release([item.report.PandaID for item, verdict in judged if verdict is None])
        self._settle([(item, verdict) for item, verdict in judged if verdict is not None])
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
            log.warning("report dropped: this server registers no files of single event ranges")
            return drop
        if job.jobStatus in _KILLED or job.jobSubStatus == "pilot_closed":
            lost = replace(drop, files=_results(check_output(job, False, {}).changed), blocks=blocks_of(job))
            if job.jobStatus in _KILLED:
                return lost
            changes = {"taskBufferErrorCode": EC_Kill, "taskBufferErrorDiag": "the pilot ended without doing work"}
            return replace(lost, target=JobStatus.closed, by="killJob", changes=changes, event_service=job.eventService)
        return self._judge_output(taken, job, log)

    def _judge_safely(self, taken: TakenReport) -> Verdict | None:
        """Judge; a report on which we stumble shall not keep the others of its batch from being settled."""
        report = taken.report
        try:
            return self.judge(taken)
        except Exception as error:  # noqa: BLE001 - a report is foreign data, and so is what plug-ins leave in a job
            dump_error_message(LogWrapper(_log, f"<PandaID={report.PandaID}>"), f"report not judged error={error!r}")
        return None if self._is_young(report) else _given_up(taken)

    def _is_young(self, report: OutputReport) -> bool:
        return self._clock() - report.timeStamp < LAST_CHANCE

    def _judge_output(self, taken: TakenReport, job: JobSpec, log: LogWrapper) -> Verdict | None:
        job = copy(job)  # plug-ins change it
        report, before = taken.report, job.jobStatus
        good = report.jobStatus == "finished"
        if before != JobStatus.transferring:
            job.jobStatus = report.jobStatus
        try:
            entries = read_report(report.data)
            checked = check_output(job, good, entries)
        except UnreadableReport as error:
            entries = {}
            checked = check_output(job, False, {})
            checked.fail(str(error))
        job.Files = [*_untouched(job, checked), *checked.changed, *checked.added]
        result = AdderResult() if checked.problem else self._run_plugin(job, entries, log)
        if result.statusCode == AdderStatus.temporary and self._is_young(report):
            return None
        if result.statusCode != AdderStatus.succeeded:
            checked.spoil("output files could not be handled; see the log of the Adder")
        elif good and checked.problem is None:
            _tell_fate(checked.changed + checked.added, result)
        target, changes = _target(job, good, checked.problem, result)
        log.info(f"judged target={target} problem={checked.problem} files={len(checked.changed)}")
        if target == before:
            log.warning(f"report dropped: the outputs of a job that is {before} are still there")
            return Verdict(report.PandaID, report.attemptNr, None, files=_results(checked.changed))
        awaited, libraries = what_waits_for(job)
        return Verdict(
            report.PandaID,
            report.attemptNr,
            target,
            event_service=job.eventService,
            changes=changes,
            measures=measure(job, entries, self._sites.get(job.computingSite).corepower, self._clock()),
            files=_results(checked.changed),
            new_files=tuple(checked.added),
            blocks=blocks_of(job),
            awaited=awaited,
            libraries=libraries,
        )

    def _run_plugin(self, job: JobSpec, entries: dict[str, ReportedFile], log: LogWrapper) -> AdderResult:
        counted = events_by_guid(job.metadata)
        extra: dict[str, dict[str, Any]] = {
            "surl": {lfn: entry.surl for lfn, entry in entries.items()},
            "nevents": {lfn: counted.get(entry.guid or "", entry.nevents) for lfn, entry in entries.items()},
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

    def _release(self, ids: list[int]) -> None:
        if ids:
            self._task_buffer.releaseOutputReports(ids, self._owner, RETRY_IN, self._lease)

    def _settle(self, judged: list[tuple[TakenReport, Verdict]]) -> None:
        """Settle a batch in one transaction; if one of them makes it fail, settle them one by one."""
        if not judged:
            return
        verdicts = [verdict for _, verdict in judged]
        try:
            settled = self._task_buffer.settleOutputReports(self._owner, verdicts)
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001 - one bad verdict shall not keep the others from being settled
            if len(judged) > 1:
                for item in judged:
                    self._settle([item])
            else:
                self._not_settled(*judged[0], error)
            return
        for pid in settled.kept:
            _log.error(f"<PandaID={pid}> verdict does not fit the job, judged again after the lease")
        moved = set(settled.moved)
        for verdict in verdicts:
            if verdict.PandaID in moved and verdict.target in (JobStatus.failed, JobStatus.cancelled):
                cancel_waiting(self._task_buffer, verdict.libraries)
        # What an event-service job has become is not what its verdict said; the rules look at those that failed only.
        ended = [v for v in verdicts if v.PandaID in moved and (v.target is JobStatus.failed or v.event_service)]
        apply_retry_rules(self._task_buffer, [v.PandaID for v in ended], (*ADDER_SOURCES, *SERVER_SOURCES))

    def _not_settled(self, taken: TakenReport, verdict: Verdict, error: Exception) -> None:
        """Fail a job whose report the database refuses for what is in it, or for a day; else try again later."""
        log = LogWrapper(_log, f"<PandaID={verdict.PandaID}>")
        dump_error_message(log, f"not settled target={verdict.target} error={error!r}")
        last = _given_up(taken)
        if (isinstance(error, BadRequest) or not self._is_young(taken.report)) and verdict != last:
            self._settle([(taken, last)])
        else:
            self._release([verdict.PandaID])


def _given_up(taken: TakenReport) -> Verdict:
    """Return the verdict on a report that cannot be dealt with."""
    report, job = taken.report, taken.job
    verdict = Verdict(report.PandaID, report.attemptNr, None)
    if job is None:
        return verdict
    return replace(
        verdict,
        target=JobStatus.failed,
        event_service=job.eventService,
        changes={"ddmErrorCode": EC_Adder, "ddmErrorDiag": "the output report could not be dealt with"},
        files=_results(check_output(job, False, {}).changed),
        blocks=blocks_of(job),
        libraries=what_waits_for(job)[1],
    )


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
        own = job.ddmErrorCode  # of the plug-in, which may know better
        changes = {"ddmErrorCode": own or EC_Adder, "ddmErrorDiag": (job.ddmErrorDiag if own else None) or problem}
    killed = TO_BE_KILLED in (job.commandToPilot or "").split(",")
    return (JobStatus.cancelled if killed else JobStatus.failed), changes


def _tell_fate(files: Iterable[FileSpec], result: AdderResult) -> None:
    """Mark the files that still move or wait for a merge."""
    for spec in files:
        if spec.lfn in result.mergingFiles:
            spec.status = "merging"
        elif spec.lfn in result.transferringFiles:
            spec.status = "transferring"


def _untouched(job: JobSpec, checked: CheckedOutput) -> list[FileSpec]:
    changed = {spec.row_ID for spec in checked.changed}
    return [spec for spec in job.Files if spec.row_ID not in changed]


def _results(files: Iterable[FileSpec]) -> tuple[FileResult, ...]:
    return tuple(
        FileResult(f.row_ID, f.status or "unknown", f.lfn, f.GUID, f.fsize or 0, f.md5sum, f.checksum)
        for f in files
        if f.row_ID is not None
    )
