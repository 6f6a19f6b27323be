"""copyArchive as the daemon runs it: every limit once, whatever fails."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from pandaserver.brokerage.SiteMapper import SiteMapper
from pandaserver.config.settings import ServerSettings
from pandaserver.daemons.scripts import copyArchive
from pandaserver.jobdispatcher.Watcher import Watcher
from pandaserver.taskbuffer.lost_jobs import too_old_rule
from pandaserver.taskbuffer.SiteSpec import SiteRows, SiteSpec
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from pandaserver.taskbuffer.time_limits import DEFAULTS
from tests.db.completion import age, insert, job_of, put_report, tables_of
from tests.db.stages import put_job

COVERS = {"files", "too old", "stuck merging", "jumbo clean-up", "finalizer"}
DAY = 1440


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of a server that is configured otherwise by default."""
    cache_dir, logdir = tmp_path / "cache", tmp_path / "log" / "panda"
    cache_dir.mkdir()
    logdir.mkdir(parents=True)
    server = ServerSettings(cache_dir=cache_dir, logdir=logdir, pserverhost="panda.example")
    monkeypatch.setattr(copyArchive, "configuration", lambda: SimpleNamespace(server=server))
    monkeypatch.setattr(copyArchive, "site_mapper", lambda _tbuf: SiteMapper(SiteRows, SiteSpec("default")))
    return cache_dir


def put_limit(tbuf: TaskBuffer, component: str, key: str, value: str, vo: str = "default") -> None:
    insert(
        tbuf,
        "Config",
        minutes_ago={},
        app="pandaserver",
        component=component,
        key=key,
        value=value,
        type="float",
        VO=vo,
        descr="x",
    )


def test_every_limit_is_applied(tbuf: TaskBuffer, cache: Path) -> None:
    lost, old = put_job(tbuf, "running"), put_job(tbuf, "defined")
    age(tbuf, "jobsActive4", lost, modificationTime=150)
    age(tbuf, "jobsDefined4", old, creationTime=8 * 1440)
    file = cache / "sources.tar.gz"
    file.write_text("x")
    os.utime(file, (time.time() - 8 * 86400,) * 2)
    core = cache.parent / "log" / "core.42"
    core.write_text("x")
    copyArchive.main(tbuf=tbuf)
    assert [job_of(tbuf, job_id).jobStatus for job_id in (lost, old)] == ["failed", "closed"]
    assert [path.exists() for path in (file, core)] == [False, False]


def test_limits_come_from_the_table_of_parameters(tbuf: TaskBuffer, cache: Path) -> None:
    put_limit(tbuf, "watcher", "HEARTBEAT_TIMEOUT_analysis", "5")
    job_id = put_job(tbuf, "running")
    age(tbuf, "jobsActive4", job_id, modificationTime=150)
    copyArchive.main(tbuf=tbuf)
    assert job_of(tbuf, job_id).jobStatus == "running"


def test_a_limit_for_everybody_goes_before_that_of_some_vo(tbuf: TaskBuffer, cache: Path) -> None:
    for vo, value in (("a", "1"), ("default", "5"), ("z", "2")):
        put_limit(tbuf, "watcher", "HEARTBEAT_TIMEOUT_analysis", value, vo)
    assert tbuf.getConfigValues("watcher") == {"HEARTBEAT_TIMEOUT_analysis": 5.0}


def test_a_section_that_fails_does_not_stop_the_others(
    tbuf: TaskBuffer, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copyArchive, "lost_rules", lambda *_: 1 / 0)
    old = put_job(tbuf, "defined")
    age(tbuf, "jobsDefined4", old, creationTime=8 * 1440)
    copyArchive.main(tbuf=tbuf)
    assert job_of(tbuf, old).jobStatus == "closed"


def test_a_limit_that_is_no_number_is_told_and_the_default_holds(
    tbuf: TaskBuffer, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put_limit(tbuf, "job_timeout", "TIMEOUT_sent", "0")
    young, lost = put_job(tbuf, "sent"), put_job(tbuf, "sent")
    age(tbuf, "jobsActive4", young, modificationTime=29)
    age(tbuf, "jobsActive4", lost, modificationTime=31)
    copyArchive.main(tbuf=tbuf)
    assert [job_of(tbuf, job_id).jobStatus for job_id in (young, lost)] == ["sent", "failed"]
    assert "CONFIG job_timeout/TIMEOUT_sent is no number above 0" in caplog.text


@pytest.mark.parametrize(
    ("status", "attributes", "minutes", "fails"),
    [
        ("running", {}, 21 * DAY - 1, False),
        ("running", {}, 21 * DAY + 1, True),
        ("transferring", {}, 21 * DAY + 1, False),  # datasetManager's
        ("transferring", {"jobSubStatus": "x"}, 21 * DAY + 1, True),
        ("transferring", {"prodSourceLabel": "user"}, 21 * DAY + 1, True),
    ],
)
@pytest.mark.parametrize("reported", [False, True])
def test_a_job_that_was_told_and_stays_fails_when_it_is_too_old(
    tbuf: TaskBuffer, status: str, attributes: dict[str, str], minutes: float, fails: bool, reported: bool
) -> None:
    job_id = put_job(tbuf, status, **{"prodSourceLabel": "managed", "commandToPilot": "tobekilled"} | attributes)
    age(tbuf, "jobsActive4", job_id, creationTime=minutes, modificationTime=minutes)
    if reported:
        put_report(tbuf, job_id)
    Watcher(tbuf).run([too_old_rule(DEFAULTS["too_old"])])
    assert job_of(tbuf, job_id).jobStatus == ("failed" if fails and not reported else status)


def test_what_only_a_task_layer_could_end_is_told(
    tbuf: TaskBuffer, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stuck, young = (put_job(tbuf, "merging", prodSourceLabel="managed") for _ in range(2))
    age(tbuf, "jobsActive4", stuck, modificationTime=121)
    age(tbuf, "jobsActive4", young, modificationTime=119)
    copyArchive.main(tbuf=tbuf)
    assert "1 production jobs are stuck in merging: ending them needs the task layer" in caplog.text
    assert [job_of(tbuf, job_id).jobStatus for job_id in (stuck, young)] == ["merging", "merging"]


def test_jumbo_jobs_of_tasks_without_events_end(tbuf: TaskBuffer, cache: Path) -> None:
    old, young = (put_job(tbuf, "activated", prodSourceLabel="managed", eventService=4, jediTaskID=9) for _ in range(2))
    age(tbuf, "jobsActive4", old, creationTime=61)
    age(tbuf, "jobsActive4", young, creationTime=59)
    copyArchive.main(tbuf=tbuf)
    assert [job_of(tbuf, job_id).jobStatus for job_id in (old, young)] == ["closed", "activated"]


def test_nothing_is_left_to_finalize(tbuf: TaskBuffer) -> None:
    """A job that has failed is in the archive at once, so no rule has to bring it there."""
    job_id = put_job(tbuf, "sent")
    age(tbuf, "jobsActive4", job_id, modificationTime=31)
    Watcher(tbuf).run(copyArchive.lost_rules({}, {}, {}))
    assert tables_of(tbuf, job_id) == ["jobsArchived4"]


@pytest.mark.parametrize(("days", "kept"), [(6.99, True), (7.01, False)])
def test_a_file_is_removed_after_a_week(cache: Path, days: float, kept: bool) -> None:
    file = cache / "sources.tar.gz"
    file.write_text("x")
    os.utime(file, (time.time() - days * 86400,) * 2)
    assert copyArchive.remove_files(cache.glob("*"), copyArchive.CACHE_DAYS) == (not kept)
    assert file.exists() is kept


def test_jobs_are_not_moved_from_queues_that_forbid_it() -> None:
    queues = {
        "A": SiteSpec("A"),
        "B": SiteSpec("B", status="paused"),
        "C": SiteSpec("C", catchall=("disableReassign",)),
        "D": SiteSpec("D", status="offline"),
    }
    assert copyArchive.fixed_queues(queues) == ("B", "C")
