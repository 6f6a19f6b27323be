"""add_sub as the daemon runs it."""

from __future__ import annotations

import logging
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from pandacommon.pandalogger.LogWrapper import LogWrapper
from pandacommon.pandautils.PandaUtils import naive_utcnow
from pandaserver.config.settings import ServerSettings
from pandaserver.daemons.scripts import add_sub
from pandaserver.taskbuffer.db_proxy_mods.site_activity import SiteRequests
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from tests.db.completion import change, read
from tests.db.stages import put_job

LOG = LogWrapper(logging.getLogger("add_sub_of_test"), None)


@pytest.fixture
def logdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    settings = SimpleNamespace(server=ServerSettings(), logger=SimpleNamespace(logdir=tmp_path))
    monkeypatch.setattr(add_sub, "configuration", lambda: settings)
    monkeypatch.setattr(add_sub, "is_rotation", lambda _now: False)
    return tmp_path


def put_requests(logdir: Path, number: int, minutes: float) -> None:
    when = naive_utcnow() - timedelta(minutes=minutes)
    text = f"{when:%Y-%m-%d %H:%M:%S},000 panda.log.PilotRequests: INFO     method=getJob,site=Q,node=n1,type=user\n"
    with (logdir / "panda-PilotRequests.log").open("a") as file:
        file.write(text * number)


def counts(tbuf: TaskBuffer, hours: int) -> dict[tuple[str, str], tuple[int, ...]]:
    sql = """
        SELECT site, flag, getJob, updateJob, nWN, running FROM ATLAS_PANDAMETA.SiteData
        WHERE hours = :hours ORDER BY site, flag
    """
    return {(row[0], row[1]): tuple(row[2:]) for row in read(tbuf, sql, hours=hours)}


def test_requests_and_running_jobs_are_stored(tbuf: TaskBuffer, logdir: Path) -> None:
    put_requests(logdir, 2, minutes=100)
    put_requests(logdir, 3, minutes=10)
    put_job(tbuf, "running")
    put_job(tbuf, "running", prodSourceLabel="managed")
    put_job(tbuf, "activated")
    add_sub.main(tbuf=tbuf)
    host = add_sub.host_name()
    assert counts(tbuf, 3) == {("Q", flag): (5, 0, 1, 0) for flag in (host, "analysis", "production")}
    assert counts(tbuf, 1) == {("Q", flag): (3, 0, 1, 0) for flag in (host, "analysis", "production")}
    running = {key: values[3] for key, values in counts(tbuf, 0).items()}
    assert running == {("TEST_PQ", "analysis"): 1, ("TEST_PQ", "production"): 1}


def test_servers_are_added_up_and_vanished_queues_count_nothing(tbuf: TaskBuffer) -> None:
    tbuf.updateSiteRequests("one", 3, {"Q": SiteRequests(5, 1, 4), "R": SiteRequests(2, 2, 2)})
    tbuf.updateSiteRequests("two", 3, {"Q": SiteRequests(3, 0, 6)})
    assert counts(tbuf, 3)["Q", "production"] == (8, 1, 6, 0)
    tbuf.updateSiteRequests("one", 3, {"Q": SiteRequests(1, 1, 1)})
    found = counts(tbuf, 3)
    assert (found["Q", "analysis"], found["R", "analysis"], found["R", "one"]) == ((4, 1, 6, 0), (0, 0, 0, 0), (0,) * 4)


def test_the_start_of_the_last_job_survives(tbuf: TaskBuffer) -> None:
    tbuf.updateSiteRequests("one", 3, {"Q": SiteRequests(5, 1, 4)})
    change(tbuf, "UPDATE ATLAS_PANDAMETA.SiteData SET lastStart = CURRENT_TIMESTAMP WHERE flag = :f", f="production")
    tbuf.updateSiteRequests("one", 3, {"Q": SiteRequests(6, 1, 4)})
    sql = "SELECT lastStart, getJob FROM ATLAS_PANDAMETA.SiteData WHERE flag = 'production'"
    ((started, number),) = read(tbuf, sql)
    assert started is not None
    assert number == 6


def test_what_no_longer_runs_is_zero(tbuf: TaskBuffer) -> None:
    job_id = put_job(tbuf, "running")
    tbuf.updateRunningCounts()
    change(tbuf, "UPDATE ATLAS_PANDA.jobsActive4 SET jobStatus = 'holding' WHERE PandaID = :id", id=job_id)
    tbuf.updateRunningCounts()
    assert counts(tbuf, 0) == {("TEST_PQ", "analysis"): (0, 0, None, 0)}


def test_misplaced_jobs_are_told_and_stay(tbuf: TaskBuffer, caplog: pytest.LogCaptureFixture) -> None:
    twice, fine = put_job(tbuf, "defined"), put_job(tbuf, "defined")
    other = put_job(tbuf, "running")
    change(tbuf, "UPDATE ATLAS_PANDA.jobsActive4 SET PandaID = :new WHERE PandaID = :old", new=twice, old=other)
    with caplog.at_level(logging.ERROR):
        assert add_sub.report_misplaced(tbuf, LOG) == 1
    assert f"{twice} (running)" in caplog.text
    assert str(fine) not in caplog.text
    assert len(read(tbuf, "SELECT PandaID FROM ATLAS_PANDA.jobsDefined4")) == 2


def test_waiting_jobs_are_where_they_belong(tbuf: TaskBuffer) -> None:
    for status in ("pending", "waiting", "defined", "assigned", "activated", "finished"):
        put_job(tbuf, status)
    assert add_sub.report_misplaced(tbuf, LOG) == 0
