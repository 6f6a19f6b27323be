"""copyArchive as the daemon runs it: every limit once, whatever fails."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from pandaserver.brokerage.SiteMapper import SiteMapper
from pandaserver.daemons.scripts import copyArchive
from pandaserver.taskbuffer.SiteSpec import SiteRows, SiteSpec
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from tests.db.completion import age, insert, job_of
from tests.db.stages import put_job


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of a server that is configured otherwise by default."""
    cache_dir, logdir = tmp_path / "cache", tmp_path / "log" / "panda"
    cache_dir.mkdir()
    logdir.mkdir(parents=True)
    server = SimpleNamespace(cache_dir=cache_dir, logdir=logdir)
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
