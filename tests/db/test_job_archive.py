"""The archive: nothing is deleted that was not copied, and nothing is in neither."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Sequence

import pytest

from pandaserver.daemons.scripts import archive_jobs
from pandaserver.srvcore.errors import PandaError
from pandaserver.taskbuffer.connection_settings import ConnectionSettings, OperationSettings
from pandaserver.taskbuffer.db_proxy_mods import job_archive
from pandaserver.taskbuffer.db_proxy_mods.sandbox import Sandbox
from pandaserver.taskbuffer.FileSpec import FILE_ATTRIBUTES
from pandaserver.taskbuffer.JobSpec import JOB_COLUMNS
from pandaserver.taskbuffer.local_bridge import LocalBridge
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from tests.db.completion import age, change, insert, put_report, read, tables_of
from tests.db.crowd import put_jobs
from tests.db.stages import put_job

TABLES = ("jobsArchived", "filesTable_ARCH", "jobParamsTable_ARCH", "metaTable_ARCH")


def put_old(tbuf: TaskBuffer, days: float = 8, status: str = "finished", **attributes: object) -> int:
    job_id = put_job(tbuf, status, **attributes)
    insert(tbuf, "metaTable", minutes_ago={"modificationTime": 0}, PandaID=job_id, metadata='{"a": 1}')
    insert(tbuf, "jobsDebug", minutes_ago={}, PandaID=job_id, stdOut="tail")
    age(tbuf, "jobsArchived4", job_id, modificationTime=days * 1440)
    return job_id


def archived(tbuf: TaskBuffer, table: str = "jobsArchived") -> list[int]:
    return [row[0] for row in read(tbuf, f"SELECT DISTINCT PandaID FROM ATLAS_PANDAARCH.{table} ORDER BY PandaID")]


def live_rows(tbuf: TaskBuffer, job_id: int) -> list[str]:
    tables = ("filesTable4", "jobParamsTable", "metaTable", "jobsDebug")
    return [t for t in tables if read(tbuf, f"SELECT PandaID FROM ATLAS_PANDA.{t} WHERE PandaID = :id", id=job_id)]


def test_an_old_job_moves_with_all_that_belongs_to_it(tbuf: TaskBuffer) -> None:
    old, young = put_old(tbuf), put_old(tbuf, days=6)
    archive_jobs.main(tbuf=tbuf)
    assert [archived(tbuf, table) for table in TABLES] == [[old]] * 4
    assert (tables_of(tbuf, old), live_rows(tbuf, old)) == ([], [])
    assert (tables_of(tbuf, young), len(live_rows(tbuf, young))) == (["jobsArchived4"], 4)


def test_the_age_is_an_argument(tbuf: TaskBuffer) -> None:
    job_id = put_old(tbuf, days=2)
    archive_jobs.main(("archive_jobs", 1), tbuf=tbuf)
    assert archived(tbuf) == [job_id]


def test_a_full_status_is_the_same_after_the_move(tbuf: TaskBuffer) -> None:
    job_id = put_old(tbuf)
    before = tbuf.getFullJobStatus([job_id])[0]
    archive_jobs.main(tbuf=tbuf)
    after = tbuf.getFullJobStatus([job_id, job_id + 12345])
    assert before is not None
    assert after[0] is not None
    assert after[1] is None
    names = (*JOB_COLUMNS, "jobParameters", "metadata")
    assert [getattr(after[0], n) for n in names] == [getattr(before, n) for n in names]
    files = [[[getattr(f, n) for n in FILE_ATTRIBUTES] for f in job.Files] for job in (before, after[0])]
    assert files[0]
    assert files[0] == files[1]


def test_only_the_last_30_days_of_the_archive_are_looked_at(tbuf: TaskBuffer) -> None:
    job_id = put_old(tbuf, days=31)
    archive_jobs.main(tbuf=tbuf)
    assert tbuf.getFullJobStatus([job_id]) == [None]
    assert tbuf.peekJobs([job_id]) == [None]


def test_a_job_whose_report_still_waits_stays(tbuf: TaskBuffer) -> None:
    job_id = put_old(tbuf, status="cancelled")
    put_report(tbuf, job_id)
    archive_jobs.main(tbuf=tbuf)
    assert (archived(tbuf), tables_of(tbuf, job_id)) == ([], ["jobsArchived4"])


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE ATLAS_PANDAARCH.jobsArchived SET computingSite = 'ELSEWHERE'",
        "UPDATE ATLAS_PANDAARCH.jobsArchived SET computingSite = NULL",
        "UPDATE ATLAS_PANDAARCH.filesTable_ARCH SET status = 'odd' WHERE type = 'log'",
        "UPDATE ATLAS_PANDAARCH.jobParamsTable_ARCH SET jobParameters = 'x'",
        "UPDATE ATLAS_PANDAARCH.metaTable_ARCH SET metadata = NULL",
    ],
)
def test_nothing_is_deleted_that_the_archive_has_with_other_content(
    tbuf: TaskBuffer, monkeypatch: pytest.MonkeyPatch, sql: str
) -> None:
    """As if an earlier copy, or somebody's hand, had left something else there."""
    first, second = put_old(tbuf), put_old(tbuf)
    with monkeypatch.context() as patched:
        patched.setattr(job_archive, "DELETE", ())
        patched.setattr(
            job_archive, "DELETE_JOBS", {"jobsArchived4": "DELETE FROM ATLAS_PANDA.jobsDebug WHERE PandaID IN (:ids[])"}
        )
        assert set(tbuf.archiveJobs(7, 1).moved) == {first}
    change(tbuf, sql)
    assert archive_jobs.move_jobs(tbuf, 7) == 1
    assert (tables_of(tbuf, first), tables_of(tbuf, second)) == (["jobsArchived4"], [])
    assert live_rows(tbuf, first) == ["filesTable4", "jobParamsTable", "metaTable"]
    assert archived(tbuf) == [first, second]


def test_a_failure_on_the_way_changes_nothing(tbuf: TaskBuffer, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = put_old(tbuf)
    broken = (*job_archive.DELETE, "DELETE FROM ATLAS_PANDA.Config WHERE value = value AND key IN (:nothing[])")
    monkeypatch.setattr(job_archive, "DELETE", broken)
    with pytest.raises((PandaError, TypeError)):
        tbuf.archiveJobs(7, 10)
    assert (tables_of(tbuf, job_id), archived(tbuf)) == (["jobsArchived4"], [])


def put_many(tbuf: TaskBuffer, number: int) -> list[int]:
    ids = put_jobs(tbuf, number, "finished")
    change(
        tbuf,
        "UPDATE ATLAS_PANDA.jobsArchived4 SET modificationTime = CURRENT_TIMESTAMP - :n * INTERVAL '1' DAY "
        "WHERE PandaID IN (:ids[])",
        n=8,
        ids=ids,
    )
    return ids


def _archive(connection: ConnectionSettings, pause: float = 0) -> None:
    bridge = LocalBridge(connection, OperationSettings(hostname="archiver"))
    while TaskBuffer(bridge).archiveJobs(7, 2).moved:
        time.sleep(pause)


def test_a_killed_archiver_leaves_every_job_in_one_place(database: ConnectionSettings, tbuf: TaskBuffer) -> None:
    ids = put_many(tbuf, 200)
    child = multiprocessing.get_context("fork").Process(target=_archive, args=(database, 0.02))  # slower than we look
    child.start()
    deadline = time.monotonic() + 30
    while not archived(tbuf):
        assert time.monotonic() < deadline, "nothing moves"
    child.kill()
    child.join(10)
    rest = [row[0] for row in read(tbuf, "SELECT PandaID FROM ATLAS_PANDA.jobsArchived4 ORDER BY PandaID")]
    files = [
        read(tbuf, f"SELECT COUNT(*) FROM ATLAS_{table} WHERE PandaID IN (:ids[])", ids=ids)[0][0]
        for table in ("PANDA.filesTable4", "PANDAARCH.filesTable_ARCH")
    ]
    assert rest, "the archiver was not killed on the way"
    assert sorted(archived(tbuf) + rest) == ids
    assert sum(files) == 3 * len(ids)
    archive_jobs.main(tbuf=tbuf)
    assert archived(tbuf) == ids


def test_a_reader_finds_every_job_while_it_moves(database: ConnectionSettings, tbuf: TaskBuffer) -> None:
    ids = put_many(tbuf, 100)
    mover = threading.Thread(target=_archive, args=(database,))
    mover.start()
    missing: list[int] = []
    while mover.is_alive() and not missing:
        missing = [job_id for job_id, job in zip(ids, tbuf.getFullJobStatus(ids), strict=True) if job is None]
    mover.join(30)
    assert (missing, archived(tbuf)) == ([], ids)


def test_two_archivers_share_the_work(database: ConnectionSettings, tbuf: TaskBuffer) -> None:
    ids = put_many(tbuf, 60)
    movers = [threading.Thread(target=_archive, args=(database,)) for _ in range(2)]
    for mover in movers:
        mover.start()
    for mover in movers:
        mover.join(60)
    archive_jobs.main(tbuf=tbuf)
    assert archived(tbuf) == ids


def test_batches_go_on_until_nothing_is_left(tbuf: TaskBuffer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_jobs, "JOBS", 2)
    ids = [put_old(tbuf) for _ in range(5)]
    assert archive_jobs.move_jobs(tbuf, 7) == 5
    assert archived(tbuf) == ids


def test_a_job_of_any_status_that_ended_moves(tbuf: TaskBuffer) -> None:
    ids: Sequence[int] = [put_old(tbuf, status=status) for status in ("finished", "failed", "cancelled", "closed")]
    archive_jobs.main(tbuf=tbuf)
    assert archived(tbuf) == ids


def test_old_workers_and_records_of_uploads_are_forgotten(tbuf: TaskBuffer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_jobs, "ROWS", 2)
    for number, days in enumerate((95, 93, 91, 89)):
        worker = {"harvesterID": "h", "workerID": number}
        insert(tbuf, "Harvester_Workers", minutes_ago={"lastUpdate": days * 1440}, status="finished", **worker)
        insert(tbuf, "Harvester_Rel_Jobs_Workers", minutes_ago={"lastUpdate": days * 1440}, PandaID=number, **worker)
        upload = Sandbox("jane", "host", f"file{number}", 1, "1")
        tbuf.insertSandboxFileInfo(upload)
        change(
            tbuf,
            "UPDATE ATLAS_PANDAMETA.userCacheUsage SET creationTime = CURRENT_TIMESTAMP - :n * INTERVAL '1' DAY, "
            "modificationTime = CURRENT_TIMESTAMP - :n * INTERVAL '1' DAY WHERE fileName = :name",
            n=days,
            name=f"file{number}",
        )
    archive_jobs.main(tbuf=tbuf)
    for table in ("Harvester_Workers", "Harvester_Rel_Jobs_Workers"):
        assert read(tbuf, f"SELECT workerID FROM ATLAS_PANDA.{table}") == [(3,)]
    assert read(tbuf, "SELECT fileName FROM ATLAS_PANDAMETA.userCacheUsage") == [("file3",)]


def test_old_history_and_old_answers_are_forgotten(tbuf: TaskBuffer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_jobs, "ROWS", 2)
    for number, days in enumerate((95, 93, 91, 89, 1)):
        minutes = {"modificationTime": days * 1440}
        insert(tbuf, "jobs_StatusLog", minutes_ago=minutes, PandaID=number, jobStatus="defined")
    for key, days in (("old", 1.5), ("new", 0.5)):
        answer = {"owner": "o", "key": key, "operation": "answer", "step": 1, "requestHash": "h"}
        insert(tbuf, "panda_idempotency", minutes_ago={"creationTime": days * 1440}, **answer)
    archive_jobs.main(tbuf=tbuf)
    assert read(tbuf, "SELECT PandaID FROM ATLAS_PANDA.jobs_StatusLog ORDER BY PandaID") == [(3,), (4,)]
    assert read(tbuf, "SELECT key FROM ATLAS_PANDA.panda_idempotency WHERE owner = :o", o="o") == [("new",)]
