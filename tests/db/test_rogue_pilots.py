"""Pilots that speak at the same moment, on connections of their own: one of them counts, and all are told."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from pandaserver.taskbuffer.connection_settings import ConnectionSettings
from pandaserver.taskbuffer.kill import Killer, KillRequest
from pandaserver.taskbuffer.requests import JobRequest, Reception, Selection, StatusReport, UpdateOutcome
from pandaserver.taskbuffer.states import FINAL, TRANSITIONS
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from tests.db.completion import history, job_of, reports, tables_of
from tests.db.crowd import put_jobs
from tests.db.many import WORKERS, at_once

ARROWS = {(arrow.source, arrow.target) for arrow in TRANSITIONS}


def check(tbuf: TaskBuffer, pid: int, first: str) -> str:
    """Return the status of a job that is in one place and has come there on known ways."""
    assert len(tables_of(tbuf, pid)) == 1
    lived = [first, *history(tbuf, pid)]
    assert all(step in ARROWS for step in pairwise(lived)), lived
    assert job_of(tbuf, pid).jobStatus == lived[-1]
    return lived[-1]


def test_of_final_reports_that_come_at_once_one_counts(database: ConnectionSettings, tbuf: TaskBuffer) -> None:
    ids = put_jobs(tbuf, 4, "running", attemptNr=1)

    def report(buffer: TaskBuffer, n: int) -> UpdateOutcome:
        status = ("finished", "failed")[n % 2]
        return buffer.updateJobStatus(StatusReport(ids[n // WORKERS], status, 1, output_report=f"{n}"))

    outcomes = at_once(database, report, WORKERS * len(ids))
    told = Counter((outcome.PandaID, outcome.reception) for outcome in outcomes)
    assert told == Counter(
        {(pid, kind): n for pid in ids for kind, n in ((Reception.applied, 1), (Reception.already_done, WORKERS - 1))}
    )
    winners = {outcome.PandaID: n for n, outcome in enumerate(outcomes) if outcome.reception is Reception.applied}
    assert reports(tbuf) == [(pid, 1, ("finished", "failed")[winners[pid] % 2]) for pid in ids]
    assert {check(tbuf, pid, "running") for pid in ids} == {"holding"}
    assert {tuple(history(tbuf, pid)) for pid in ids} == {("holding",)}


def test_pilots_that_ask_at_once_share_no_job(database: ConnectionSettings, tbuf: TaskBuffer) -> None:
    ids = put_jobs(tbuf, 9, attemptNr=1)

    def ask(buffer: TaskBuffer, _: int) -> list[int | None]:
        return [job.PandaID for job in buffer.getJobs(JobRequest("TEST_PQ", 2, Selection.user)).jobs]

    given = [pid for answer in at_once(database, ask, 2 * WORKERS) for pid in answer]
    while left := ask(tbuf, 0):  # whoever came while others held all rows was sent away
        given += left
    assert sorted(pid or 0 for pid in given) == sorted(ids)
    assert {tuple(history(tbuf, pid)) for pid in ids} == {("sent",)}


def test_reports_heartbeats_and_kills_at_once_leave_a_legal_history(
    database: ConnectionSettings, tbuf: TaskBuffer
) -> None:
    ids = put_jobs(tbuf, 6, "sent", attemptNr=1)
    words = ("starting", "running", "finished", "running", "kill", "failed")

    def act(buffer: TaskBuffer, n: int) -> None:
        pid, word = ids[n % len(ids)], words[n // len(ids)]
        if word == "kill":
            buffer.killJobs(KillRequest((pid,), Killer(is_system=True)))
        else:
            buffer.updateJobStatus(StatusReport(pid, word, 1))

    at_once(database, act, len(ids) * len(words))
    assert {check(tbuf, pid, "sent") for pid in ids} <= {"holding", *FINAL}
    assert all(count == 1 for count in Counter(row[0] for row in reports(tbuf)).values())
