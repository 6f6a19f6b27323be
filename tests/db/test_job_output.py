"""The queue of output reports: taking, settling, giving back; whoever takes over decides."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator

import pytest

from pandacommon.pandautils.PandaUtils import short_host
from pandaserver.daemons.scripts.add_main import release_of_the_dead
from pandaserver.taskbuffer.connection_settings import ConnectionSettings, OperationSettings
from pandaserver.taskbuffer.kill import Killer, KillRequest
from pandaserver.taskbuffer.local_bridge import LocalBridge
from pandaserver.taskbuffer.reports import BlockOfJob, Settled, Verdict
from pandaserver.taskbuffer.states import JobStatus
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from tests.db.completion import (
    change,
    file_statuses,
    finished,
    history,
    job_of,
    put_dataset,
    put_report,
    reports,
    status_of_dataset,
    tables_of,
    take,
)
from tests.db.stages import put_job

OUT_SET = BlockOfJob("user.jane.out", "tobeclosed")


@pytest.fixture
def other(database: ConnectionSettings, operation_settings: OperationSettings) -> Iterator[TaskBuffer]:
    """Another Adder, on a connection of its own."""
    bridge = LocalBridge(database, operation_settings)
    yield TaskBuffer(bridge)
    bridge.close()


def test_a_report_comes_with_its_job_files_and_metadata(tbuf: TaskBuffer) -> None:
    job_id = put_job(tbuf, "holding")
    put_report(tbuf, job_id)
    (taken,) = take(tbuf)
    assert taken.job is not None
    assert (taken.report.PandaID, taken.job.jobStatus, len(taken.job.Files)) == (job_id, "holding", 3)


def test_the_oldest_reports_come_first(tbuf: TaskBuffer) -> None:
    ids = [put_job(tbuf, "holding") for _ in range(3)]
    for job_id, minutes in zip(ids, (1, 3, 2), strict=True):
        put_report(tbuf, job_id, minutes_ago=minutes)
    assert [item.report.PandaID for item in take(tbuf, limit=2)] == [ids[1], ids[2]]


def test_a_report_is_taken_by_one_only(tbuf: TaskBuffer, other: TaskBuffer) -> None:
    put_report(tbuf, put_job(tbuf, "holding"))
    assert [len(take(tbuf)), len(take(other, "two"))] == [1, 0]


def test_a_young_report_is_left_alone(tbuf: TaskBuffer) -> None:
    put_report(tbuf, put_job(tbuf, "holding"), minutes_ago=0)
    assert take(tbuf, grace=60) == []


@pytest.mark.parametrize(("label", "of_users"), [("user", True), ("managed", False), (None, False)])
def test_reports_of_users_and_of_others_are_told_apart(tbuf: TaskBuffer, label: str | None, of_users: bool) -> None:
    put_report(tbuf, put_job(tbuf, "holding"), label=label)
    assert take(tbuf, user_jobs=not of_users) == []
    assert len(take(tbuf, user_jobs=of_users)) == 1


def test_a_lock_older_than_the_lease_is_nobodys(tbuf: TaskBuffer, other: TaskBuffer) -> None:
    put_report(tbuf, put_job(tbuf, "holding"))
    take(tbuf)
    change(tbuf, "UPDATE ATLAS_PANDA.Job_Output_Report SET lockedTime = CURRENT_TIMESTAMP - 11 * INTERVAL '1' MINUTE")
    assert len(take(other, "two")) == 1


def test_taking_one_attempt_leaves_the_lock_on_another(tbuf: TaskBuffer, other: TaskBuffer) -> None:
    job_id = put_job(tbuf, "holding", attemptNr=1)
    put_report(tbuf, job_id)
    assert [item.report.attemptNr for item in take(tbuf)] == [0]
    put_report(tbuf, job_id, attempt=1)
    assert [item.report.attemptNr for item in take(other, "two")] == [1]


def test_a_released_report_is_taken_again_when_its_time_has_come(tbuf: TaskBuffer) -> None:
    job_id = put_job(tbuf, "holding")
    put_report(tbuf, job_id)
    take(tbuf)
    tbuf.releaseOutputReports([job_id], "one", 60.0, 600.0)
    assert take(tbuf) == []
    assert len(take(tbuf, lease=530.0)) == 1


def test_a_report_can_be_released_for_now(tbuf: TaskBuffer) -> None:
    job_id = put_job(tbuf, "holding")
    put_report(tbuf, job_id)
    take(tbuf)
    tbuf.releaseOutputReports([job_id], "one", -1.0, 600.0)
    assert len(take(tbuf)) == 1


def test_only_the_owner_releases(tbuf: TaskBuffer) -> None:
    job_id = put_job(tbuf, "holding")
    put_report(tbuf, job_id)
    take(tbuf)
    assert tbuf.releaseOutputReports([job_id], "two", 0.0, 600.0) == 0


def test_settling_moves_job_and_files_and_removes_the_report(tbuf: TaskBuffer) -> None:
    job_id = put_job(tbuf, "holding")
    put_report(tbuf, job_id)
    (taken,) = take(tbuf)
    assert taken.job is not None
    assert tbuf.settleOutputReports("one", [finished(taken.job)]) == Settled(moved=(job_id,))
    job = job_of(tbuf, job_id)
    assert (job.jobStatus, job.nEvents, job.outputFileBytes, job.hs06sec) == ("finished", 100, 5, 3600)
    assert job.endTime is not None
    assert (tables_of(tbuf, job_id), file_statuses(tbuf, [job_id]), reports(tbuf)) == (
        ["jobsArchived4"],
        ["ready", "ready"],
        [],
    )


def test_each_step_is_in_the_history_once(tbuf: TaskBuffer) -> None:
    ids = [put_job(tbuf, "holding") for _ in range(5)]
    for job_id in ids:
        put_report(tbuf, job_id)
    tbuf.settleOutputReports("one", [finished(item.job) for item in take(tbuf) if item.job])
    assert [history(tbuf, job_id) for job_id in ids] == [["finished"]] * 5


def test_settling_many_takes_a_bounded_number_of_moves(tbuf: TaskBuffer) -> None:
    ids = [put_job(tbuf, "holding") for _ in range(30)]
    for job_id in ids:
        put_report(tbuf, job_id)
    settled = tbuf.settleOutputReports("one", [finished(item.job) for item in take(tbuf, limit=30) if item.job])
    assert sorted(settled.moved) == sorted(ids)


def test_a_verdict_on_a_report_that_was_taken_over_is_ignored(tbuf: TaskBuffer, other: TaskBuffer) -> None:
    job_id = put_job(tbuf, "holding")
    put_report(tbuf, job_id)
    (slow,) = take(tbuf)
    change(tbuf, "UPDATE ATLAS_PANDA.Job_Output_Report SET lockedTime = CURRENT_TIMESTAMP - 11 * INTERVAL '1' MINUTE")
    (fast,) = take(other, "two")
    assert slow.job is not None
    assert fast.job is not None
    assert tbuf.settleOutputReports("one", [finished(slow.job)]) == Settled()
    assert job_of(tbuf, job_id).jobStatus == "holding"
    other.settleOutputReports("two", [finished(fast.job)])
    assert history(tbuf, job_id) == ["finished"]


def test_settling_twice_does_nothing_the_second_time(tbuf: TaskBuffer) -> None:
    put_report(tbuf, put_job(tbuf, "holding"))
    (taken,) = take(tbuf)
    assert taken.job is not None
    tbuf.settleOutputReports("one", [finished(taken.job)])
    assert tbuf.settleOutputReports("one", [finished(taken.job)]) == Settled()


def test_a_job_that_is_killed_meanwhile_stays_cancelled(tbuf: TaskBuffer) -> None:
    job_id = put_job(tbuf, "holding")
    put_report(tbuf, job_id)
    (taken,) = take(tbuf)
    assert taken.job is not None
    tbuf.killJobs(KillRequest((job_id,), Killer(is_system=True)))
    assert tbuf.settleOutputReports("one", [finished(taken.job)]) == Settled()
    assert (job_of(tbuf, job_id).jobStatus, history(tbuf, job_id)) == ("cancelled", ["cancelled"])
    assert (file_statuses(tbuf, [job_id]), reports(tbuf)) == (["failed", "failed"], [])


def test_a_verdict_on_an_earlier_attempt_changes_nothing(tbuf: TaskBuffer) -> None:
    job_id = put_job(tbuf, "running")
    put_report(tbuf, job_id, "failed")
    (taken,) = take(tbuf)
    assert taken.job is not None
    change(tbuf, "UPDATE ATLAS_PANDA.jobsActive4 SET attemptNr = 1")
    verdict = Verdict(job_id, 0, JobStatus.failed, measures=finished(taken.job).measures)
    assert tbuf.settleOutputReports("one", [verdict]) == Settled()
    job = job_of(tbuf, job_id)
    assert (job.jobStatus, job.hs06sec, reports(tbuf)) == ("running", None, [])


def test_the_report_of_a_live_job_that_its_verdict_does_not_fit_is_kept(tbuf: TaskBuffer) -> None:
    job_id = put_job(tbuf, "running")
    put_report(tbuf, job_id)
    (taken,) = take(tbuf)
    assert taken.job is not None
    assert tbuf.settleOutputReports("one", [finished(taken.job)]).kept == (job_id,)
    assert (job_of(tbuf, job_id).jobStatus, len(reports(tbuf))) == ("running", 1)


def test_a_transferring_job_ends_with_its_second_report(tbuf: TaskBuffer) -> None:
    job_id = put_job(tbuf, "holding")
    put_report(tbuf, job_id)
    (taken,) = take(tbuf)
    assert taken.job is not None
    tbuf.settleOutputReports("one", [Verdict(job_id, 0, JobStatus.transferring)])
    assert (job_of(tbuf, job_id).jobStatus, reports(tbuf)) == ("transferring", [])
    put_report(tbuf, job_id)
    (taken,) = take(tbuf)
    assert taken.job is not None
    tbuf.settleOutputReports("one", [finished(taken.job)])
    assert history(tbuf, job_id) == ["transferring", "finished"]


def test_of_two_attempts_in_one_batch_only_the_present_one_counts(tbuf: TaskBuffer) -> None:
    job_id = put_job(tbuf, "holding", attemptNr=1)
    put_report(tbuf, job_id, "failed", attempt=0, minutes_ago=5)
    put_report(tbuf, job_id, attempt=1)
    old, new = take(tbuf)
    assert new.job is not None
    tbuf.settleOutputReports("one", [Verdict(job_id, old.report.attemptNr, None), finished(new.job)])
    assert (history(tbuf, job_id), reports(tbuf)) == (["finished"], [])


def test_a_dataset_is_completed_by_the_last_of_its_jobs(tbuf: TaskBuffer) -> None:
    put_dataset(tbuf, "user.jane.out")
    ids = [put_job(tbuf, "holding") for _ in range(2)]
    completed = []
    for job_id in ids:
        put_report(tbuf, job_id)
        (taken,) = take(tbuf)
        assert taken.job is not None
        completed.append(tbuf.settleOutputReports("one", [finished(taken.job, blocks=(OUT_SET,))]).completed)
    assert completed == [(), ("user.jane.out",)]
    assert status_of_dataset(tbuf, "user.jane.out") == "tobeclosed"


def test_of_two_settlers_at_the_same_time_one_closes_the_dataset(tbuf: TaskBuffer, other: TaskBuffer) -> None:
    for round_number in range(5):
        name = f"user.jane.{round_number}"
        put_dataset(tbuf, name)
        ids = [put_job(tbuf, "holding") for _ in range(2)]
        change(
            tbuf,
            "UPDATE ATLAS_PANDA.filesTable4 SET destinationDBlock = :name "
            "WHERE PandaID IN (:ids[]) AND type <> 'input'",
            name=name,
            ids=ids,
        )
        settled: list[Settled] = []

        def settle(mine: TaskBuffer, owner: str, gate: threading.Barrier) -> None:
            (taken,) = take(mine, owner, limit=1)
            assert taken.job is not None
            gate.wait(10)
            verdict = finished(taken.job, blocks=(BlockOfJob(name, "tobeclosed"),))  # noqa: B023 - joined below
            settled.append(mine.settleOutputReports(owner, [verdict]))  # noqa: B023

        for job_id in ids:
            put_report(tbuf, job_id)
        gate = threading.Barrier(2)
        threads = [
            threading.Thread(target=settle, args=(tbuf, "one", gate)),
            threading.Thread(target=settle, args=(other, "two", gate)),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert sorted(s.completed for s in settled) == [(), (name,)]


def test_reports_of_a_killed_process_of_this_machine_are_free_again(tbuf: TaskBuffer) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    here = short_host()
    holders = {
        "dead": f"{here}-1-{gone.pid}-0a1b",
        "alive": f"{here}-1-{os.getpid()}-0a1b",
        "elsewhere": f"x{here}-1-{gone.pid}-0a1b",
    }
    ids = {}
    for kind, name in holders.items():
        ids[kind] = put_job(tbuf, "holding")
        put_report(tbuf, ids[kind])
        assert len(take(tbuf, name)) == 1
    assert release_of_the_dead(tbuf) == 1
    assert [item.report.PandaID for item in take(tbuf)] == [ids["dead"]]
