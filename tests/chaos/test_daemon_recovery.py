"""The daemon and a database that goes away: it waits, and then everything is as before, without anybody's help."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from time import monotonic, sleep

import psutil
import pytest

from pandaserver.taskbuffer import schema
from pandaserver.taskbuffer.connection_settings import ConnectionSettings
from pandaserver.testing.tcp_proxy import TcpProxy
from tests.chaos.daemon_rig import Daemon, gaps, wait_until
from tests.chaos.web_rig import directory, postgres

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

N_PROC = 3
PERIOD = 2
LATENESS = 0.6
SCRIPTS = {
    "ask": {"period": PERIOD, "timeout": 20, "act": ["ask", 0.2]},
    "long": {"period": PERIOD, "timeout": 20, "act": ["ask", PERIOD * 2]},
    "shared": {"period": PERIOD, "timeout": 20, "sync": True, "act": ["ask", 0.2]},
    "alone": {"period": PERIOD, "act": ["nap", 0.2]},
}


@pytest.fixture(scope="module")
def server() -> Iterator[ConnectionSettings]:
    with directory() as path, postgres(path) as settings:
        schema.create_all(settings)
        yield settings


@pytest.fixture
def line(server: ConnectionSettings) -> Iterator[TcpProxy]:
    with TcpProxy("127.0.0.1", server.port) as proxy:
        yield proxy


@pytest.fixture
def daemon(tmp_path: Path, server: ConnectionSettings, line: TcpProxy) -> Iterator[Daemon]:
    made = Daemon(tmp_path / "home", "", tmp_path / "events")
    made.server_settings = {
        "backend": "postgres",
        "dbhost": "127.0.0.1",
        "dbport": line.port,
        "dbuser": server.user,
        "dbpasswd": server.password.reveal(),
        "dbname": server.name,
    }
    made.configure(SCRIPTS, n_proc=N_PROC)
    yield made
    made.end()


def outage(daemon: Daemon, line: TcpProxy, seconds: float) -> None:
    """Take the database away for a while, and hold what happens against what is promised."""
    daemon.start()
    wait_until(lambda: all(len(daemon.starts(name)) >= 2 for name in SCRIPTS))
    forks = daemon.output().count("worker launched")
    line.cut()
    gone = monotonic()
    wait_until(lambda: not daemon.workers() or "next_start_s" in daemon.output())
    sleep(max(0.0, gone + seconds - monotonic()))
    assert daemon.output().count("worker launched") - forks <= N_PROC + 12  # rarer and rarer, up to one a minute
    seen = {name: len(daemon.starts(name)) for name in SCRIPTS}
    line.restore()
    patience = 10 + min(60.0, 2 * seconds)  # a pause has at most doubled
    wait_until(lambda: all(len(daemon.starts(name)) >= seen[name] + 2 for name in SCRIPTS), patience)
    wait_until(lambda: len(daemon.workers()) == N_PROC)
    assert {one.ppid() for one in psutil.Process(daemon.process_info().pid).children(recursive=True)} == {
        daemon.process_info().pid
    }
    for name in SCRIPTS:
        kinds = [event.what for event in daemon.events(name)]
        assert [(a, b) for a, b in pairwise(kinds) if a == b == "start"] == []
        assert min(gaps(daemon.starts(name))) > PERIOD - LATENESS


def test_a_short_outage_of_the_database_leaves_no_trace(daemon: Daemon, line: TcpProxy) -> None:
    outage(daemon, line, 3)


@pytest.mark.long
def test_an_outage_of_a_minute_leaves_no_trace(daemon: Daemon, line: TcpProxy) -> None:
    outage(daemon, line, 60)
