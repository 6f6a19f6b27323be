"""From a pilot's last report to a final state, in real databases."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from pandacommon.pandautils.PandaUtils import naive_utcnow
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from tests.db.completion import (
    GOOD,
    LOG,
    OUT,
    adder,
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
    tomorrow,
)
from tests.db.stages import put_job


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
