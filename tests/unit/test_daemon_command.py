"""``panda-admin daemon``: what is told about this machine, and about the others."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pandaserver.admin.daemon_command import merged, table, told
from pandaserver.admin.main import main
from pandaserver.config.panda_config import PandaConfig
from pandaserver.config.settings import DaemonSettings, LoggerSettings, ServerSettings
from pandaserver.config.values import DaemonSpec
from pandaserver.daemons.protocol import Outcome
from pandaserver.daemons.schedule import Schedule
from pandaserver.daemons.status import MasterStatus, StatusFile, read_status
from pandaserver.taskbuffer import schema
from pandaserver.taskbuffer.connection_settings import ConnectionSettings, OperationSettings
from pandaserver.taskbuffer.db_proxy_mods.inspection import ExclusiveRun
from pandaserver.taskbuffer.local_bridge import LocalBridge
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer

SPECS = (DaemonSpec("add_main", "scripts.add_main", 60), DaemonSpec("copyArchive", "scripts.copyArchive", 600))


def beating(path: Path, state: str = "running") -> MasterStatus:
    """Write and read the status of a master that has run add_main once."""
    now = time.monotonic()
    schedule = Schedule(SPECS, now - 20)
    schedule.queue_due(now - 20)
    schedule.start_next(now - 20)
    schedule.ended("add_main")
    file = StatusFile(path, logging.getLogger("tests"))
    file.ended("add_main", Outcome.done, now - 20, now - 17.5)
    file.beat(now, state, 2, ["idle", "busy"], schedule)
    found = read_status(path)
    assert found is not None
    return found


@pytest.fixture
def master(tmp_path: Path) -> MasterStatus:
    return beating(tmp_path / "status")


@pytest.fixture
def config() -> PandaConfig:
    return PandaConfig(ServerSettings(), DaemonSettings(daemons=SPECS), LoggerSettings(), (), {}, ())


def run(holds: bool) -> ExclusiveRun:
    started = (datetime.now(UTC) - timedelta(seconds=30)).replace(tzinfo=None)
    return ExclusiveRun("pandaD.copyArchive", "node7-1-2", started, holds, 30.0)


def test_a_daemon_is_shown_with_what_is_known_here(config: PandaConfig, master: MasterStatus) -> None:
    line = merged(config, master, [])[0]
    assert (line.name, line.state, line.result, line.runs, line.holder) == ("add_main", "idle", "done", 1, "")
    assert line.seconds == pytest.approx(2.5)
    assert line.last_start == pytest.approx(time.time() - 20, abs=5)
    assert line.next_due == pytest.approx(time.time() + 40, abs=5)


def test_a_lock_is_shown_wherever_its_holder_is(config: PandaConfig, master: MasterStatus) -> None:
    held, free = (merged(config, master, [run(holds)])[1] for holds in (True, False))
    assert (held.holder, free.holder, free.last_holder) == ("node7-1-2", "", "node7-1-2")
    assert table([held], time.time())[1].endswith("held by node7-1-2")
    assert "free, last node7-1-2 20" in table([free], time.time())[1]


def test_daemons_of_other_machines_are_shown_too(config: PandaConfig) -> None:
    elsewhere = replace(run(True), component="pandaD.theirs")
    assert [line.name for line in merged(config, None, [elsewhere])] == ["add_main", "copyArchive", "theirs"]


def test_the_table_has_a_line_a_daemon(config: PandaConfig, master: MasterStatus) -> None:
    head, first, second = table(merged(config, master, []), time.time())
    assert head.split() == [*"DAEMON STATE LAST START TOOK RESULT NEXT LATE RUNS FAILED LOCK".split()]
    assert first.split()[0::4][0] == "add_main"
    assert "2.5 s" in first
    assert second.split()[:3] == ["copyArchive", "queued", "-"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "the daemon is running"),
        ({"state": "stopped"}, "the daemon was stopped"),
        ({"written": 0.0}, "the daemon is silent"),
    ],
)
def test_a_master_in_a_line(master: MasterStatus, changes: dict[str, object], words: str) -> None:
    assert told(replace(master, **changes), "", time.time()).startswith(words)  # type: ignore[arg-type]


def test_no_master_at_all() -> None:
    assert told(None, "", time.time()) == "no daemon has run on this machine"


# ---- the commands


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "etc/panda").mkdir(parents=True)
    (tmp_path / "etc/panda/panda_server.cfg").write_text(
        f"[server]\nbackend = sqlite\ndbname = {tmp_path}/panda.sqlite3\n"
        "[daemon]\nenable = True\npackage = scripts\n"
        'config = {"add_main": {"period": 60}, "copyArchive": {"period": 600, "sync": true}}\n'
    )
    (tmp_path / "etc/panda/panda_common.cfg").write_text(f"[logger]\nlogdir = {tmp_path}\n")
    return tmp_path


def admin(home: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["daemon", *arguments], env={"PANDA_HOME": str(home), "HOME": str(home)})


def test_status_joins_this_machine_and_the_database(home: Path) -> None:
    database = ConnectionSettings(backend="sqlite", name=str(home / "panda.sqlite3"))
    schema.create_all(database)
    tbuf = TaskBuffer(LocalBridge(database, OperationSettings()))
    tbuf.start_exclusive_run("pandaD.copyArchive", "node7-1-2", 600, 60)
    tbuf.close()
    beating(home / "panda_daemon_status.json")
    done = admin(home, "status", "--json")
    document = json.loads(done.stdout)
    assert (done.exit_code, document["alive"], document["database"]) == (0, True, "")
    assert [(line["name"], line["runs"], line["holder"]) for line in document["daemons"]] == [
        ("add_main", 1, ""),
        ("copyArchive", 0, "node7-1-2"),
    ]


def test_status_without_a_database_tells_the_rest(home: Path) -> None:
    beating(home / "panda_daemon_status.json")
    done = admin(home, "status")
    assert done.exit_code == 0
    assert "the daemon is running" in done.stdout
    assert "locks of other machines are unknown: " in done.stderr


@pytest.mark.parametrize(("state", "code"), [("running", 0), ("stopping", 0), ("stopped", 1)])
def test_alive_tells_by_its_exit_code(home: Path, state: str, code: int) -> None:
    beating(home / "panda_daemon_status.json", state)
    assert admin(home, "alive").exit_code == code


def test_alive_where_no_daemon_ever_ran(home: Path) -> None:
    assert admin(home, "alive").exit_code == 1


def test_alive_with_a_damaged_file(home: Path) -> None:
    (home / "panda_daemon_status.json").write_text("{")
    done = admin(home, "alive")
    assert (done.exit_code, "cannot be read" in done.output) == (1, True)
