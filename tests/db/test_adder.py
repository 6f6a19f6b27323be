"""From a pilot's last report to a final state, in real databases."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from pandacommon.pandautils.PandaUtils import naive_utcnow
from pandaserver.brokerage.SiteMapper import SiteMapper
from pandaserver.dataservice.Adder import Adder
from pandaserver.dataservice.AdderPluginBase import AdderPluginBase, AdderStatus
from pandaserver.dataservice.AdderSimplePlugin import AdderSimplePlugin
from pandaserver.dataservice.Finisher import Finisher
from pandaserver.srvcore.errors import Conflict, ExternalError
from pandaserver.taskbuffer.FileSpec import FileSpec
from pandaserver.taskbuffer.SiteSpec import SiteRows, SiteSpec
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from tests.db.completion import (
    GOOD,
    LOG,
    OUT,
    age,
    change,
    file_statuses,
    history,
    insert,
    job_of,
    put_dataset,
    put_report,
    reports,
    status_of_dataset,
    tables_of,
)
from tests.db.stages import put_job


class Raising(AdderPluginBase):
    """Meets a bug."""

    def execute(self) -> None:
        raise KeyError("no such endpoint")


class Unsure(AdderPluginBase):
    """Cannot tell yet."""

    def execute(self) -> None:
        self.result.statusCode = AdderStatus.temporary


class Refusing(AdderPluginBase):
    """Knows better than the Adder what is wrong."""

    def execute(self) -> None:
        self.job.ddmErrorCode, self.job.ddmErrorDiag = 205, "GUID mismatch"
        self.result.statusCode = AdderStatus.fatal


class Moving(AdderPluginBase):
    """Moves outputs in the first pass."""

    def execute(self) -> None:
        if self.job.jobStatus != "transferring":
            self.result.transferringFiles = [OUT, LOG]


class Restless(AdderPluginBase):
    """Always finds something to move."""

    def execute(self) -> None:
        self.result.transferringFiles = [OUT]


class Merging(AdderPluginBase):
    """Waits for a merge job."""

    def execute(self) -> None:
        self.result.mergingFiles = [OUT]


class Recording(AdderPluginBase):
    """Remembers what it was given."""

    seen: list[tuple[str | None, Any]] = []

    def execute(self) -> None:
        self.seen.append((self.job.jobStatus, self.extraInfo))


def queue(name: str | None = None) -> SiteSpec:
    return SiteSpec(name or "default", corepower=10.0)


def adder(
    tbuf: TaskBuffer,
    plugin: type[AdderPluginBase] = AdderSimplePlugin,
    clock: Callable[[], datetime] = naive_utcnow,
    **more: Any,
) -> Adder:
    sites = SiteMapper(SiteRows, queue())
    return Adder(tbuf, sites, lambda _vo: plugin, "test-adder", clock=clock, **more)


def tomorrow() -> datetime:
    return naive_utcnow() + timedelta(hours=25)


def test_a_good_report_finishes_the_job(tbuf: TaskBuffer) -> None:
    now = naive_utcnow()
    job_id = put_job(
        tbuf, "holding", startTime=now - timedelta(seconds=100), endTime=now, coreCount=2, jobDispatcherErrorCode=7
    )
    put_report(tbuf, job_id)
    assert adder(tbuf).run() == 1
    job = job_of(tbuf, job_id)
    assert (job.jobStatus, job.ddmErrorCode or 0, job.jobDispatcherErrorCode) == ("finished", 0, 0)
    assert (job.hs06, job.hs06sec, job.nOutputDataFiles, job.outputFileBytes) == (20, 2000, 1, 1000)
    out = next(spec for spec in job.Files if spec.lfn == OUT)
    assert (out.status, out.GUID, out.fsize, out.checksum) == ("ready", "g-out", 1000, "ad:0a0b0c0d")
    assert (tables_of(tbuf, job_id), history(tbuf, job_id), reports(tbuf)) == (["jobsArchived4"], ["finished"], [])


def test_nothing_to_do_is_nothing_done(tbuf: TaskBuffer) -> None:
    assert adder(tbuf).run() == 0


def test_a_failed_payload_keeps_its_codes_and_its_log(tbuf: TaskBuffer) -> None:
    job_id = put_job(tbuf, "holding", pilotErrorCode=1305, pilotErrorDiag="payload failed")
    put_report(tbuf, job_id, "failed", {LOG: GOOD[LOG]})
    adder(tbuf).run()
    job = job_of(tbuf, job_id)
    assert (job.jobStatus, job.pilotErrorCode, job.ddmErrorCode or 0) == ("failed", 1305, 0)
    assert file_statuses(tbuf, [job_id]) == ["failed", "ready"]


def test_an_empty_report_of_a_failed_payload_fails_everything(tbuf: TaskBuffer) -> None:
    job_id = put_job(tbuf, "holding", pilotErrorCode=1)
    put_report(tbuf, job_id, "failed", "")
    adder(tbuf).run()
    assert (job_of(tbuf, job_id).jobStatus, file_statuses(tbuf, [job_id])) == ("failed", ["failed", "failed"])


@pytest.mark.parametrize(
    "content",
    [
        "neither JSON nor XML",
        {OUT: GOOD[OUT]},
        {**GOOD, "unpromised": {"fsize": 1, "adler32": "1"}},
        {OUT: {"guid": "g", "fsize": 1}, LOG: GOOD[LOG]},
        {OUT: {"guid": "g", "adler32": "00"}, LOG: GOOD[LOG]},
    ],
    ids=["unreadable", "log missing", "unpromised", "no checksum", "no size"],
)
def test_a_bad_report_of_a_good_payload_is_a_failure_of_output_handling(tbuf: TaskBuffer, content: Any) -> None:
    job_id = put_job(tbuf, "holding")
    put_report(tbuf, job_id, content=content)
    adder(tbuf).run()
    job = job_of(tbuf, job_id)
    assert (job.jobStatus, job.ddmErrorCode, bool(job.ddmErrorDiag)) == ("failed", 200, True)
    assert file_statuses(tbuf, [job_id]) == ["failed", "failed"]


def test_an_error_of_the_pilot_explains_a_missing_output(tbuf: TaskBuffer) -> None:
    job_id = put_job(tbuf, "holding", transExitCode="65")
    put_report(tbuf, job_id, content={})
    adder(tbuf).run()
    job = job_of(tbuf, job_id)
    assert (job.jobStatus, job.ddmErrorCode or 0) == ("failed", 0)


def test_a_job_that_was_told_to_end_and_failed_is_cancelled(tbuf: TaskBuffer) -> None:
    job_id = put_job(tbuf, "holding", commandToPilot="tobekilled", taskBufferErrorCode=100)
    put_report(tbuf, job_id, "failed", "")
    adder(tbuf).run()
    job = job_of(tbuf, job_id)
    assert (job.jobStatus, job.taskBufferErrorCode, history(tbuf, job_id)) == ("cancelled", 100, ["cancelled"])


def test_a_job_that_was_told_to_end_and_finished_first_is_finished(tbuf: TaskBuffer) -> None:
    job_id = put_job(tbuf, "holding", commandToPilot="tobekilled")
    put_report(tbuf, job_id)
    adder(tbuf).run()
    assert job_of(tbuf, job_id).jobStatus == "finished"


def test_a_pilot_that_closed_its_job_leaves_it_closed(tbuf: TaskBuffer) -> None:
    job_id = put_job(tbuf, "holding", jobSubStatus="pilot_closed")
    put_report(tbuf, job_id, "failed", "")
    adder(tbuf).run()
    job = job_of(tbuf, job_id)
    assert (job.jobStatus, job.jobSubStatus, job.taskBufferErrorCode) == ("closed", "pilot_closed", 100)
    assert file_statuses(tbuf, [job_id]) == ["failed", "failed"]


@pytest.mark.parametrize("status", ["finished", "failed"])
def test_the_report_of_an_ended_job_is_dropped(tbuf: TaskBuffer, status: str) -> None:
    job_id = put_job(tbuf, status)
    put_report(tbuf, job_id)
    adder(tbuf).run()
    assert (job_of(tbuf, job_id).jobStatus, history(tbuf, job_id), reports(tbuf)) == (status, [], [])


def test_the_report_of_another_attempt_is_dropped(tbuf: TaskBuffer) -> None:
    job_id = put_job(tbuf, "running", attemptNr=2)
    put_report(tbuf, job_id, attempt=1)
    adder(tbuf).run()
    assert (job_of(tbuf, job_id).jobStatus, reports(tbuf)) == ("running", [])


def test_the_report_of_an_unknown_job_is_dropped(tbuf: TaskBuffer) -> None:
    put_report(tbuf, 99)
    adder(tbuf).run()
    assert reports(tbuf) == []


def test_events_come_from_the_report_of_the_payload(tbuf: TaskBuffer) -> None:
    job_id = put_job(tbuf, "holding", nEvents=3)
    text = json.dumps({"files": {"output": [{"subFiles": [{"file_guid": "g-out", "nentries": 500}]}]}})
    insert(tbuf, "metaTable", minutes_ago={}, PandaID=job_id, metaData=text)
    put_report(tbuf, job_id)
    adder(tbuf).run()
    assert job_of(tbuf, job_id).nEvents == 500


def test_without_such_a_report_events_are_what_the_pilot_said(tbuf: TaskBuffer) -> None:
    job_id = put_job(tbuf, "holding", nEvents=3)
    put_report(tbuf, job_id)
    adder(tbuf).run()
    assert job_of(tbuf, job_id).nEvents == 3


def test_an_input_that_could_not_be_read_is_skipped(tbuf: TaskBuffer) -> None:
    job_id = put_job(tbuf, "holding")
    put_report(tbuf, job_id, content={**GOOD, "data.0000.root": {"guid": "g-in"}})
    adder(tbuf).run()
    job = job_of(tbuf, job_id)
    assert (job.jobStatus, job.Files[0].status) == ("finished", "skipped")


def test_outputs_in_a_number_that_the_payload_chose_get_rows(tbuf: TaskBuffer) -> None:
    job_id = put_job(tbuf, "holding")
    more = {f"{OUT}_{n}": {"guid": f"g{n}", "fsize": 7, "adler32": "00"} for n in (1, 2)}
    put_report(tbuf, job_id, content={LOG: GOOD[LOG], **more})
    adder(tbuf).run()
    job = job_of(tbuf, job_id)
    assert job.jobStatus == "finished"
    found = {spec.lfn: spec.status for spec in job.Files if spec.type == "output"}
    assert found == {OUT: "nooutput", f"{OUT}_1": "ready", f"{OUT}_2": "ready"}
    assert (job.nOutputDataFiles, job.outputFileBytes) == (2, 14)


def test_a_plugin_that_raises_fails_the_job(tbuf: TaskBuffer) -> None:
    job_id = put_job(tbuf, "holding")
    put_report(tbuf, job_id)
    adder(tbuf, Raising).run()
    job = job_of(tbuf, job_id)
    assert (job.jobStatus, job.ddmErrorCode) == ("failed", 200)
    assert file_statuses(tbuf, [job_id]) == ["failed", "failed"]


def test_a_plugin_may_give_its_own_reason(tbuf: TaskBuffer) -> None:
    job_id = put_job(tbuf, "holding")
    put_report(tbuf, job_id)
    adder(tbuf, Refusing).run()
    job = job_of(tbuf, job_id)
    assert (job.jobStatus, job.ddmErrorCode, job.ddmErrorDiag) == ("failed", 205, "GUID mismatch")


def test_a_temporary_failure_is_tried_again_after_a_minute(tbuf: TaskBuffer) -> None:
    job_id = put_job(tbuf, "holding")
    put_report(tbuf, job_id)
    assert adder(tbuf, Unsure).run() == 1
    assert job_of(tbuf, job_id).jobStatus == "holding"
    assert adder(tbuf).run() == 0
    age(tbuf, "Job_Output_Report", job_id, lockedTime=11)
    assert adder(tbuf).run() == 1
    assert job_of(tbuf, job_id).jobStatus == "finished"


def test_a_temporary_failure_of_a_day_is_final(tbuf: TaskBuffer) -> None:
    job_id = put_job(tbuf, "holding")
    put_report(tbuf, job_id)
    adder(tbuf, Unsure, tomorrow).run()
    job = job_of(tbuf, job_id)
    assert (job.jobStatus, job.ddmErrorCode) == ("failed", 200)


def test_outputs_that_move_end_the_job_when_they_have_arrived(tbuf: TaskBuffer) -> None:
    job_id = put_job(tbuf, "holding", jobSubStatus="whatever")
    put_dataset(tbuf, "user.jane.out")
    put_report(tbuf, job_id)
    adder(tbuf, Moving).run()
    job = job_of(tbuf, job_id)
    assert (job.jobStatus, job.jobSubStatus, job.outputFileBytes) == ("transferring", None, 1000)
    assert (file_statuses(tbuf, [job_id]), Finisher(tbuf).run()) == (["transferring", "transferring"], 0)
    assert status_of_dataset(tbuf, "user.jane.out") == "running"
    change(tbuf, "UPDATE ATLAS_PANDA.filesTable4 SET status = 'ready' WHERE type <> 'input'")
    assert (Finisher(tbuf).run(), Finisher(tbuf).run()) == (1, 0)
    age(tbuf, "Job_Output_Report", job_id, timeStamp=1)
    adder(tbuf, Moving).run()
    assert history(tbuf, job_id) == ["transferring", "finished"]
    assert status_of_dataset(tbuf, "user.jane.out") == "tobeclosed"


def test_an_output_that_is_lost_on_its_way_fails_the_job(tbuf: TaskBuffer) -> None:
    job_id = put_job(tbuf, "transferring")
    change(tbuf, "UPDATE ATLAS_PANDA.filesTable4 SET status = 'ready' WHERE type = 'log'")
    change(tbuf, "UPDATE ATLAS_PANDA.filesTable4 SET status = 'failed' WHERE type = 'output'")
    Finisher(tbuf).run()
    age(tbuf, "Job_Output_Report", job_id, timeStamp=1)
    adder(tbuf, Moving).run()
    assert job_of(tbuf, job_id).jobStatus == "failed"


def test_an_output_that_may_be_missing_does_not_fail_the_second_pass(tbuf: TaskBuffer) -> None:
    job_id = put_job(tbuf, "transferring")
    change(tbuf, "UPDATE ATLAS_PANDA.filesTable4 SET status = 'nooutput' WHERE type = 'output'")
    change(tbuf, "UPDATE ATLAS_PANDA.filesTable4 SET status = 'ready', fsize = 1, checksum = 'ad:1' WHERE type = 'log'")
    Finisher(tbuf).run()
    age(tbuf, "Job_Output_Report", job_id, timeStamp=1)
    adder(tbuf, Moving).run()
    assert job_of(tbuf, job_id).jobStatus == "finished"


def test_a_plugin_that_moves_outputs_again_leaves_the_job_transferring(tbuf: TaskBuffer) -> None:
    job_id = put_job(tbuf, "transferring")
    put_report(tbuf, job_id)
    adder(tbuf, Restless).run()
    assert (job_of(tbuf, job_id).jobStatus, history(tbuf, job_id), reports(tbuf)) == ("transferring", [], [])


def test_outputs_to_be_merged_wait_for_the_merge_job(tbuf: TaskBuffer) -> None:
    job_id = put_job(tbuf, "holding")
    put_report(tbuf, job_id)
    adder(tbuf, Merging).run()
    assert (job_of(tbuf, job_id).jobStatus, file_statuses(tbuf, [job_id])) == ("merging", ["merging", "ready"])


def test_a_plugin_sees_the_reported_status_and_facts(tbuf: TaskBuffer) -> None:
    Recording.seen.clear()
    for status, content in (("finished", GOOD), ("failed", {LOG: GOOD[LOG]})):
        put_report(tbuf, put_job(tbuf, "holding", pilotErrorCode=1), status, content)
    adder(tbuf, Recording).run()
    assert [status for status, _ in Recording.seen] == ["finished", "failed"]
    assert Recording.seen[0][1]["surl"] == {OUT: "srm://out", LOG: "srm://log"}


class Catalogue:
    """A catalogue that answers as told."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.failure = failure
        self.files: list[str | None] = []

    def register_outputs(self, files: list[FileSpec], endpoint: str | None) -> None:
        if self.failure:
            raise self.failure
        self.files += [spec.lfn for spec in files]


def test_the_simple_plugin_registers_what_is_there(tbuf: TaskBuffer) -> None:
    catalogue = Catalogue()
    job_id = put_job(tbuf, "holding", pilotErrorCode=1)
    put_report(tbuf, job_id, "failed", {LOG: GOOD[LOG]})
    adder(tbuf, ddm=catalogue).run()
    assert catalogue.files == [LOG]


@pytest.mark.parametrize(
    ("failure", "status"), [(Conflict("another GUID"), "failed"), (ExternalError("no answer"), "holding")]
)
def test_the_catalogues_refusal_is_final_and_its_absence_is_not(
    tbuf: TaskBuffer, failure: Exception, status: str
) -> None:
    job_id = put_job(tbuf, "holding")
    put_report(tbuf, job_id)
    adder(tbuf, ddm=Catalogue(failure)).run()
    assert job_of(tbuf, job_id).jobStatus == status


def test_one_report_on_which_we_stumble_does_not_stop_the_others(
    tbuf: TaskBuffer, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = put_job(tbuf, "holding"), put_job(tbuf, "holding")
    put_report(tbuf, bad, minutes_ago=5)
    put_report(tbuf, good)
    mine = adder(tbuf)
    judge = mine.judge
    monkeypatch.setattr(mine, "judge", lambda t: 1 / 0 if t.report.PandaID == bad else judge(t))
    mine.run()
    assert [job_of(tbuf, job_id).jobStatus for job_id in (bad, good)] == ["holding", "finished"]


def test_a_report_on_which_we_stumble_for_a_day_fails_its_job(
    tbuf: TaskBuffer, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = put_job(tbuf, "holding")
    put_report(tbuf, job_id)
    mine = adder(tbuf, clock=tomorrow)
    monkeypatch.setattr(mine, "judge", lambda _taken: 1 / 0)
    mine.run()
    job = job_of(tbuf, job_id)
    assert (job.jobStatus, job.ddmErrorCode, file_statuses(tbuf, [job_id])) == ("failed", 200, ["failed", "failed"])


def test_a_value_that_the_database_refuses_fails_its_own_job_only(tbuf: TaskBuffer) -> None:
    bad, good = put_job(tbuf, "holding"), put_job(tbuf, "holding")
    put_report(tbuf, bad, content={**GOOD, OUT: {"guid": "nul\0", "fsize": 1, "adler32": "00"}}, minutes_ago=5)
    put_report(tbuf, good)
    adder(tbuf).run()
    assert [job_of(tbuf, job_id).jobStatus for job_id in (bad, good)] == ["failed", "finished"]
    assert [spec.GUID for spec in job_of(tbuf, bad).Files if spec.lfn == OUT] == [None]


def put_build(tbuf: TaskBuffer, status: str) -> tuple[int, list[int]]:
    """Return a build job and two jobs that wait for its library."""
    build = put_job(tbuf, status, prodSourceLabel="panda")
    change(tbuf, "UPDATE ATLAS_PANDA.filesTable4 SET destinationDBlock = 'my.lib' WHERE type = 'output'")
    runs = [put_job(tbuf, "assigned") for _ in range(2)]
    change(
        tbuf,
        "UPDATE ATLAS_PANDA.filesTable4 SET dispatchDBlock = 'my.lib', lfn = :lfn WHERE PandaID IN (:ids[]) "
        "AND type = 'input'",
        lfn=OUT,
        ids=runs,
    )
    return build, runs


def test_a_library_releases_the_jobs_that_wait_for_it(tbuf: TaskBuffer) -> None:
    build, runs = put_build(tbuf, "holding")
    put_report(tbuf, build)
    adder(tbuf).run()
    assert [job_of(tbuf, job_id).jobStatus for job_id in (build, *runs)] == ["finished", "activated", "activated"]
    library = job_of(tbuf, runs[0]).Files[0]
    assert (library.GUID, library.fsize, library.checksum, library.status) == ("g-out", 1000, "ad:0a0b0c0d", "ready")


def test_a_library_that_fails_cancels_the_jobs_that_wait_for_it(tbuf: TaskBuffer) -> None:
    build, runs = put_build(tbuf, "holding")
    put_report(tbuf, build, "failed", "")
    adder(tbuf).run()
    assert [job_of(tbuf, job_id).jobStatus for job_id in (build, *runs)] == ["failed", "cancelled", "cancelled"]
    assert job_of(tbuf, runs[0]).taskBufferErrorCode == 100


def test_a_dataset_of_a_task_is_closed_with_its_last_job(tbuf: TaskBuffer) -> None:
    put_dataset(tbuf, "user.jane.out")
    job_id = put_job(tbuf, "holding", jediTaskID=5)
    put_report(tbuf, job_id)
    adder(tbuf).run()
    assert status_of_dataset(tbuf, "user.jane.out") == "closed"
