"""Heartbeats on real databases: what each does to the job, and what the pilot is told."""

from __future__ import annotations

from typing import Any

import pytest

from pandaserver.taskbuffer.JobSpec import JobSpec
from pandaserver.taskbuffer.requests import Reception, StatusReport, UpdateOutcome
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from tests.db.crowd import insert, query, statements_of
from tests.db.stages import put_job

DECLARED = "set to holding by the pilot at 2026-11-20 07:18:52"


def report(tbuf: TaskBuffer, pid: int, status: str, attempt: int | None = 0, **more: Any) -> UpdateOutcome:
    columns = more.pop("columns", {})
    return tbuf.updateJobStatus(StatusReport(pid, status, attempt, columns, **more))


def job_of(tbuf: TaskBuffer, pid: int) -> JobSpec:
    job = tbuf.peekJobs([pid])[0]
    assert job is not None
    return job


def reports_of(tbuf: TaskBuffer, pid: int) -> list[tuple[Any, ...]]:
    sql = "SELECT jobStatus, attemptNr, data FROM ATLAS_PANDA.Job_Output_Report WHERE PandaID = :p"
    return query(tbuf, sql, p=pid)


def history_of(tbuf: TaskBuffer, pid: int) -> list[str]:
    sql = "SELECT jobStatus FROM ATLAS_PANDA.jobs_StatusLog WHERE PandaID = :p ORDER BY statusLogID"
    return [row[0] for row in query(tbuf, sql, p=pid)]


# -- the table of states -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stored", "reported", "status", "reception"),
    [
        ("sent", "starting", "starting", Reception.applied),
        ("sent", "running", "running", Reception.applied),
        ("starting", "running", "running", Reception.applied),
        ("running", "running", "running", Reception.applied),
        ("running", "starting", "running", Reception.applied),
        ("stagein", "running", "running", Reception.applied),
        ("stageout", "starting", "stageout", Reception.applied),
        ("running", "holding", "holding", Reception.applied),
        ("running", "transferring", "transferring", Reception.applied),
        ("running", "finished", "holding", Reception.applied),
        ("running", "failed", "holding", Reception.applied),
        ("sent", "finished", "holding", Reception.applied),
        ("transferring", "holding", "transferring", Reception.already_done),
        ("transferring", "finished", "transferring", Reception.already_done),
        ("holding", "holding", "holding", Reception.ignored),
        ("holding", "finished", "holding", Reception.already_done),
        ("holding", "running", "holding", Reception.ignored),
        ("holding", "starting", "holding", Reception.ignored),
        ("holding", "transferring", "holding", Reception.ignored),
        ("transferring", "running", "transferring", Reception.ignored),
        ("transferring", "starting", "transferring", Reception.ignored),
        ("transferring", "transferring", "transferring", Reception.applied),
        ("merging", "running", "merging", Reception.ignored),
        ("merging", "finished", "merging", Reception.ignored),
        ("activated", "running", "activated", Reception.rejected),
        ("throttled", "finished", "throttled", Reception.rejected),
        ("defined", "running", "defined", Reception.rejected),
        ("finished", "running", "finished", Reception.rejected),
        ("cancelled", "finished", "cancelled", Reception.rejected),
    ],
)
def test_each_state_takes_each_report_as_the_table_says(
    tbuf: TaskBuffer, stored: str, reported: str, status: str, reception: Reception
) -> None:
    pid = put_job(tbuf, stored)
    outcome = report(tbuf, pid, reported)
    assert (job_of(tbuf, pid).jobStatus, outcome.reception) == (status, reception)
    expected = {Reception.rejected: "tobekilled", Reception.already_done: "alreadydone"}.get(reception)
    assert outcome.command == expected


def test_a_final_report_ends_what_the_pilot_declared(tbuf: TaskBuffer) -> None:
    for stored in ("holding", "transferring"):
        pid = put_job(tbuf, stored, jobDispatcherErrorDiag=DECLARED)
        assert report(tbuf, pid, "finished", output_report="{}").reception is Reception.applied
        job = job_of(tbuf, pid)
        assert (job.jobStatus, job.jobDispatcherErrorDiag) == ("holding", None)
        assert reports_of(tbuf, pid) == [("finished", 0, "{}")]


def test_an_unknown_job_and_another_attempt_are_to_be_killed(tbuf: TaskBuffer) -> None:
    pid = put_job(tbuf, "running", attemptNr=2)
    assert report(tbuf, 999, "running").command == "tobekilled"
    assert report(tbuf, pid, "finished", 1).command == "tobekilled"
    assert (job_of(tbuf, pid).jobStatus, reports_of(tbuf, pid)) == ("running", [])


def test_a_report_without_attempt_is_about_the_present_one(tbuf: TaskBuffer) -> None:
    pid = put_job(tbuf, "running", attemptNr=2)
    assert report(tbuf, pid, "finished", None).reception is Reception.applied
    assert reports_of(tbuf, pid) == [("finished", 2, None)]


@pytest.mark.parametrize(
    ("stored", "reported", "killed"),
    [("ab.1", "ab.2", True), ("ab.1", "ab.1", False), ("1", "2", False), ("ab.1", "7", False), (None, "ab.2", False)],
)
def test_two_batch_jobs_for_one_job_are_one_too_many(
    tbuf: TaskBuffer, stored: str | None, reported: str, killed: bool
) -> None:
    pid = put_job(tbuf, "running", batchID=stored)
    outcome = report(tbuf, pid, "running", columns={"batchID": reported})
    job = job_of(tbuf, pid)
    assert (outcome.command, job.supErrorCode) == (("tobekilled", 1) if killed else (None, 0))
    assert job.batchID == (stored if killed else reported)


# -- what goes with it -------------------------------------------------------------------------------------------------


def test_a_heartbeat_writes_its_columns_and_no_history(tbuf: TaskBuffer) -> None:
    pid = put_job(tbuf, "running")
    before = job_of(tbuf, pid)
    report(tbuf, pid, "running", columns={"nEvents": 7, "maxRSS": 100, "meanCoreCount": 1.5, "pilotID": "x" * 300})
    job = job_of(tbuf, pid)
    assert (job.nEvents, job.maxRSS, float(job.meanCoreCount or 0), job.pilotID) == (7, 100, 1.5, "x" * 200)
    assert job.modificationTime is not None
    assert before.modificationTime is not None
    assert job.modificationTime > before.modificationTime
    assert job.stateChangeTime == before.stateChangeTime
    assert history_of(tbuf, pid) == []


def test_a_job_leaves_its_history(tbuf: TaskBuffer) -> None:
    pid = put_job(tbuf, "sent")
    for status in ("starting", "running", "running", "finished"):
        report(tbuf, pid, status)
    assert history_of(tbuf, pid) == ["starting", "running", "holding"]


def test_the_start_is_when_the_payload_starts_unless_the_pilot_knows_better(tbuf: TaskBuffer) -> None:
    ours, theirs = put_job(tbuf, "sent"), put_job(tbuf, "sent")
    report(tbuf, ours, "running")
    assert job_of(tbuf, ours).startTime == job_of(tbuf, ours).stateChangeTime
    given = job_of(tbuf, ours).creationTime
    report(tbuf, theirs, "running", columns={"startTime": given})
    assert job_of(tbuf, theirs).startTime == given


def test_the_end_is_the_first_end(tbuf: TaskBuffer) -> None:
    pid = put_job(tbuf, "running", endTime=None)
    report(tbuf, pid, "holding")
    first = job_of(tbuf, pid).endTime
    assert first is not None
    report(tbuf, pid, "finished")
    assert job_of(tbuf, pid).endTime == first


def test_a_declared_state_is_marked_as_not_final(tbuf: TaskBuffer) -> None:
    pid = put_job(tbuf, "running")
    report(tbuf, pid, "holding")
    assert (job_of(tbuf, pid).jobDispatcherErrorDiag or "").startswith("set to holding by the pilot at ")
    assert reports_of(tbuf, pid) == []


def test_an_empty_final_report_is_stored_too(tbuf: TaskBuffer) -> None:
    pid = put_job(tbuf, "running")
    report(tbuf, pid, "failed")
    assert reports_of(tbuf, pid) == [("failed", 0, None)]


def test_the_first_final_report_of_an_attempt_wins(tbuf: TaskBuffer) -> None:
    pid = put_job(tbuf, "running")
    row = {"PandaID": pid, "attemptNr": 0, "jobStatus": "failed", "data": "first", "timeStamp": "now"}
    insert(tbuf, "PANDA.Job_Output_Report", row)
    assert report(tbuf, pid, "finished", output_report="second").reception is Reception.applied
    assert reports_of(tbuf, pid) == [("failed", 0, "first")]


def test_the_first_metadata_wins_and_failures_bring_none(tbuf: TaskBuffer) -> None:
    sql = "SELECT metaData FROM ATLAS_PANDA.metaTable WHERE PandaID = :p"
    pid, failed = put_job(tbuf, "running"), put_job(tbuf, "running")
    for text in ("one", "two"):
        report(tbuf, pid, "running", meta_data=text)
    report(tbuf, failed, "failed", meta_data="three")
    assert [query(tbuf, sql, p=pid), query(tbuf, sql, p=failed)] == [[("one",)], []]


def test_metadata_of_an_unknown_job_is_told_apart(tbuf: TaskBuffer) -> None:
    ended = put_job(tbuf, "finished")
    assert report(tbuf, 999, "running", meta_data="x").reception is Reception.unknown_job
    assert report(tbuf, ended, "running", meta_data="x").reception is Reception.rejected


def test_the_tail_of_the_log_is_kept_once_and_short(tbuf: TaskBuffer) -> None:
    pid = put_job(tbuf, "running")
    for text in ("a", "b" * 3000):
        report(tbuf, pid, "running", stdout=text)
    rows = query(tbuf, "SELECT stdOut FROM ATLAS_PANDA.jobsDebug WHERE PandaID = :p", p=pid)
    assert rows == [("b" * 2048,)]


@pytest.mark.parametrize(
    ("flags", "command", "expected"),
    [
        (None, None, None),
        ("sj,pc", "tobekilled", "tobekilled"),
        ("sj,debug", None, "debug"),
        ("dm", "tobekilled", "debug,tobekilled"),
        (None, "ls -l", "ls -l"),
    ],
)
def test_what_waits_for_the_pilot_is_told(
    tbuf: TaskBuffer, flags: str | None, command: str | None, expected: str | None
) -> None:
    tbuf.set_user_secrets("pilot secrets", "{}")
    pid = put_job(tbuf, "running", specialHandling=flags, commandToPilot=command)
    outcome = report(tbuf, pid, "running")
    assert outcome.command == expected
    assert outcome.pilot_secrets == ("{}" if "debug" in (expected or "") else None)


def test_reports_after_a_kill_are_still_taken(tbuf: TaskBuffer) -> None:
    pid = put_job(tbuf, "running", commandToPilot="tobekilled")
    outcome = report(tbuf, pid, "failed", columns={"pilotErrorCode": 1144})
    assert (outcome.command, job_of(tbuf, pid).jobStatus) == ("tobekilled", "holding")
    assert len(reports_of(tbuf, pid)) == 1


def test_the_computing_element_comes_from_the_worker(tbuf: TaskBuffer) -> None:
    pid = put_job(tbuf, "sent", computingElement="as the pilot said")
    worker = {"harvesterID": "hv1", "workerID": 42, "lastUpdate": "now"}
    insert(tbuf, "PANDA.Harvester_Workers", {**worker, "status": "running", "computingElement": "ce.example.org"})
    insert(tbuf, "PANDA.Harvester_Rel_Jobs_Workers", {**worker, "PandaID": pid})
    report(tbuf, pid, "starting")
    assert job_of(tbuf, pid).computingElement == "ce.example.org"


def test_the_queue_remembers_its_last_start(tbuf: TaskBuffer) -> None:
    row = {"site": "TEST_PQ", "hours": 3, "lastMod": "now"}
    flags = ("production", "analysis", "other")
    insert(tbuf, "PANDAMETA.SiteData", *({**row, "flag": flag} for flag in flags))
    report(tbuf, put_job(tbuf, "starting"), "running")
    rows = dict(query(tbuf, "SELECT flag, laststart FROM ATLAS_PANDAMETA.SiteData"))
    assert [rows[flag] is not None for flag in flags] == [True, True, False]


def test_corrupted_inputs_of_a_merge_job_become_files(tbuf: TaskBuffer) -> None:
    merge, other = put_job(tbuf, "running", eventService=2), put_job(tbuf, "running")
    for pid in (merge, other):
        report(tbuf, pid, "failed", corrupted_files=("a.zip", "b.zip"))
    found = [(f.lfn, f.status) for f in job_of(tbuf, merge).Files if f.type == "zipinput"]
    assert found == [("a.zip", "corrupted"), ("b.zip", "corrupted")]
    assert not [f for f in job_of(tbuf, other).Files if f.type == "zipinput"]


# -- another attempt ---------------------------------------------------------------------------------------------------


def test_a_pilot_may_ask_for_another_attempt(tbuf: TaskBuffer) -> None:
    pid = put_job(
        tbuf,
        "running",
        attemptNr=1,
        batchID="b1",
        jobParameters="-i data.0000.root -o user.jane.out.0000.root,user.jane.out.0000.root.txt",
    )
    old_log = job_of(tbuf, pid).Files[2].GUID
    outcome = report(tbuf, pid, "failed", 1, columns={"pilotErrorCode": 1201, "transExitCode": "1"}, asks_retry=True)
    job = job_of(tbuf, pid)
    assert (outcome.reception, outcome.command) == (Reception.applied, None)
    assert (job.jobStatus, job.attemptNr, job.currentPriority) == ("activated", 2, 990)
    assert (job.startTime, job.endTime, job.batchID, job.transExitCode, job.pilotErrorCode) == (None,) * 4 + (0,)
    assert [file.lfn for file in job.Files] == [
        "data.0000.root",
        "user.jane.out.0000.root.2",
        "user.jane.log.0001.tgz.2",
    ]
    assert job.jobParameters == "-i data.0000.root -o user.jane.out.0000.root.2,user.jane.out.0000.root.txt"
    assert job.Files[2].GUID not in (None, old_log)
    assert (reports_of(tbuf, pid), history_of(tbuf, pid)) == ([], ["activated"])
    assert report(tbuf, pid, "failed", 1).command == "tobekilled"


@pytest.mark.parametrize(
    ("attributes", "more"),
    [
        ({}, {"asks_retry": False, "columns": {"pilotErrorCode": 1305}}),
        ({"attemptNr": 3}, {}),
        ({"prodSourceLabel": "managed"}, {}),
        ({"commandToPilot": "tobekilled"}, {}),
        ({"processingType": "gangarobot"}, {}),
        ({"taskBufferErrorCode": 107}, {}),
        ({"lockedby": "jedi"}, {}),
    ],
)
def test_not_every_failure_is_repeated(tbuf: TaskBuffer, attributes: dict[str, Any], more: dict[str, Any]) -> None:
    pid = put_job(tbuf, "running", **{"attemptNr": 1, **attributes})
    report(tbuf, pid, "failed", attributes.get("attemptNr", 1), **{"asks_retry": True, **more})
    assert job_of(tbuf, pid).jobStatus == "holding"


def test_a_users_first_attempt_is_repeated_after_certain_errors(tbuf: TaskBuffer) -> None:
    pid = put_job(tbuf, "running", attemptNr=1)
    report(tbuf, pid, "failed", 1, columns={"pilotErrorCode": 1200})
    assert job_of(tbuf, pid).jobStatus == "activated"


# -- many at once, and what it costs -----------------------------------------------------------------------------------


def test_many_reports_are_taken_in_order(tbuf: TaskBuffer) -> None:
    first, second = put_job(tbuf, "sent"), put_job(tbuf, "running")
    outcomes = tbuf.updateJobsInBulk(
        [
            StatusReport(second, "finished", 0),
            StatusReport(first, "starting", 0),
            StatusReport(999, "running", 0),
            StatusReport(first, "running", 0),
            StatusReport(second, "finished", 0),
        ]
    )
    assert [outcome.reception.value for outcome in outcomes] == [
        "applied",
        "applied",
        "rejected",
        "applied",
        "alreadydone",
    ]
    assert [job_of(tbuf, pid).jobStatus for pid in (first, second)] == ["running", "holding"]


def test_a_heartbeat_takes_two_statements(tbuf: TaskBuffer) -> None:
    pid = put_job(tbuf, "running")
    assert statements_of(tbuf, "report_status", StatusReport(pid, "running", 0, {"nEvents": 1})) == 2


def test_the_last_heartbeat_takes_a_handful_of_statements(tbuf: TaskBuffer) -> None:
    pid = put_job(tbuf, "running")
    statement_limit = 6  # lock, UPDATE, history, clock, report; MariaDB reads its clock with a statement
    assert statements_of(tbuf, "report_status", StatusReport(pid, "finished", 0)) <= statement_limit


def test_states_of_jobs_are_told_in_order(tbuf: TaskBuffer) -> None:
    done, waits, early = (put_job(tbuf, s, attemptNr=n) for n, s in enumerate(("finished", "activated", "defined"), 1))
    states = tbuf.getJobStates([waits, 999, done, early])
    assert [(s.PandaID, s.status, s.attempt_nr) for s in states] == [
        (waits, "activated", 2),
        (999, None, 0),
        (done, "finished", 1),
        (early, None, 0),
    ]


def test_a_job_that_ended_long_ago_is_forgotten_by_harvesters(tbuf: TaskBuffer) -> None:
    lately = put_job(tbuf, "finished", commandToPilot="tobekilled")
    [state] = tbuf.checkJobStates([lately])
    assert (state.status, state.command) == ("finished", "tobekilled")


@pytest.mark.parametrize(("status", "column"), [("started", "pilotStartTime"), ("finished", "pilotEndTime")])
def test_a_pilot_tells_its_worker_when_it_begins_and_ends(tbuf: TaskBuffer, status: str, column: str) -> None:
    from pandaserver.taskbuffer.requests import WorkerStatus

    worker = {"harvesterID": "hv1", "workerID": 42, "lastUpdate": "now", "status": "running"}
    insert(tbuf, "PANDA.Harvester_Workers", worker)
    assert tbuf.updateWorkerPilotStatus(WorkerStatus("hv1", 42, status, "wn01"))
    assert not tbuf.updateWorkerPilotStatus(WorkerStatus("hv1", 43, status))
    [row] = query(tbuf, "SELECT pilotStatus, nodeID, pilotStartTime, pilotEndTime FROM ATLAS_PANDA.Harvester_Workers")
    assert row[:2] == (status, "wn01")
    assert [value is not None for value in row[2:]] == [column == "pilotStartTime", column == "pilotEndTime"]
