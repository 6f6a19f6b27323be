"""What plug-ins of the Adder may decide, and what becomes of outputs that move, in real databases."""

from __future__ import annotations

from typing import Any

import pytest

from pandaserver.dataservice.AdderPluginBase import AdderPluginBase, AdderStatus
from pandaserver.dataservice.Finisher import Finisher
from pandaserver.srvcore.errors import Conflict, ExternalError
from pandaserver.taskbuffer.FileSpec import FileSpec
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from tests.db.completion import (
    GOOD,
    LOG,
    OUT,
    adder,
    age,
    change,
    file_statuses,
    history,
    job_of,
    put_dataset,
    put_report,
    reports,
    status_of_dataset,
    tomorrow,
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
