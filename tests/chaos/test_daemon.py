"""The daemon with real processes and real signals: what is promised about schedules, kills, stops and crashes."""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import signal
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import psutil
import pytest

from pandaserver.daemons.status import BEAT
from pandaserver.taskbuffer.connection_settings import ConnectionSettings
from tests.chaos.daemon_rig import Daemon, gaps, is_gone, wait_until

LATENESS = 0.6  # seconds by which a loaded machine may start a script late, and so make the next gap look short


@pytest.fixture
def daemon(tmp_path: Path, connection: ConnectionSettings) -> Iterator[Daemon]:
    made = Daemon(tmp_path / "home", connection.name, tmp_path / "events")
    yield made
    made.end()


# --- schedule


@pytest.mark.slow
def test_one_worker_runs_two_scripts_each_a_period_after_its_start(daemon: Daemon) -> None:
    daemon.configure({"a": {"period": 2}, "b": {"period": 2}}, n_proc=1)
    daemon.start()
    wait_until(lambda: min(len(daemon.starts("a")), len(daemon.starts("b"))) >= 3)
    for name in ("a", "b"):
        assert min(gaps(daemon.starts(name))) > 2 - LATENESS


@pytest.mark.slow
def test_a_script_longer_than_its_period_never_runs_twice_and_is_warned_about_once_a_run(daemon: Daemon) -> None:
    daemon.configure({"long": {"period": 1, "timeout": 30, "act": ["nap", 3]}}, n_proc=4)
    daemon.start()
    wait_until(lambda: len(daemon.events("long", "end")) == 2)
    wait_until(lambda: daemon.output().count("exceeding its period") == 2)
    kinds = [event.what for event in daemon.events("long")][:4]
    assert kinds == ["start", "end", "start", "end"]


@pytest.mark.slow
def test_a_looping_script_ends_its_stretch_after_the_period_and_nobody_complains(daemon: Daemon) -> None:
    daemon.configure({"loop": {"period": 2, "loop": True, "act": ["again", 0.3]}}, n_proc=1)
    daemon.start()
    wait_until(lambda: daemon.worker_log().count("finish daemon=loop") >= 1)
    stretch = daemon.logged_at("finish daemon=loop") - daemon.logged_at("start daemon=loop")
    assert 2 <= stretch < 2 + 0.3 + LATENESS
    assert len(daemon.starts("loop")) >= 3
    assert "exceeding its period" not in daemon.output()


def test_a_looping_script_that_returns_false_ends_at_once(daemon: Daemon) -> None:
    daemon.configure({"loop": {"period": 60, "loop": True}})
    daemon.start()
    wait_until(lambda: "finish daemon=loop" in daemon.worker_log())
    assert len(daemon.starts("loop")) == 1


# --- kills and crashes


def test_a_script_past_its_timeout_is_killed_with_everything_it_started(daemon: Daemon) -> None:
    daemon.configure({"cling": {"period": 60, "timeout": 2, "act": ["cling", 0]}, "b": {"period": 1}}, n_proc=1)
    daemon.start()
    wait_until(lambda: bool(daemon.events("cling", "orphan")))
    start = daemon.events("cling", "start")[0]
    child = int(next(event.what for event in daemon.events("cling") if "child" in event.what).partition(":")[2])
    everybody = [start.pid, child, daemon.events("cling", "orphan")[0].pid]
    wait_until(lambda: "exceeding its timeout" in daemon.output())
    wait_until(lambda: all(is_gone(pid) for pid in everybody))
    assert 2 - LATENESS < monotonic() - start.time < 3 + LATENESS
    wait_until(lambda: len(daemon.starts("b")) >= 1)


@pytest.mark.slow
@pytest.mark.parametrize("action", ["fail", "leave"])
def test_a_script_that_raises_costs_its_worker_and_runs_again_after_its_period(daemon: Daemon, action: str) -> None:
    daemon.configure({"bad": {"period": 2, "act": [action, 0]}}, n_proc=1)
    daemon.start()
    wait_until(lambda: len(daemon.starts("bad")) >= 2)
    first, second = daemon.events("bad", "start")[:2]
    assert first.pid != second.pid
    assert second.time - first.time > 2 - LATENESS
    assert "Traceback" in daemon.worker_log()
    assert "daemon=bad" in daemon.output()


@pytest.mark.slow
def test_killed_workers_idle_or_busy_stop_no_script(daemon: Daemon) -> None:
    busy = {"period": 1, "timeout": 60, "act": ["nap", 1]}
    daemon.configure({"busy": busy, "a": {"period": 1}, "b": {"period": 1}}, n_proc=3)
    daemon.start()
    for _ in range(3):
        seen = {name: len(daemon.starts(name)) for name in ("busy", "a", "b")}
        wait_until(lambda seen=seen: all(len(daemon.starts(name)) > seen[name] + 1 for name in seen))  # type: ignore[misc]
        for pid in daemon.workers():
            os.kill(pid, signal.SIGKILL)
    wait_until(lambda: len(daemon.workers()) == 3)


@pytest.mark.slow
def test_an_old_worker_finishes_its_script_and_is_replaced(daemon: Daemon) -> None:
    daemon.configure({"long": {"period": 5, "timeout": 60, "act": ["nap", 4]}}, n_proc=1, proc_lifetime=2)
    daemon.start()
    wait_until(lambda: len(daemon.starts("long")) == 2)
    first, end, second = daemon.events("long")[:3]
    assert (end.what, end.pid) == ("end", first.pid)
    assert second.pid != first.pid
    assert "reached lifetime" in daemon.output()


def test_forked_children_of_scripts_can_be_terminated(daemon: Daemon) -> None:
    daemon.configure({"forks": {"period": 60, "act": ["fork_and_terminate", 30]}})
    daemon.start()
    wait_until(lambda: bool(daemon.events("forks", f"status:{int(signal.SIGTERM)}")))


@pytest.mark.slow
def test_workers_that_cannot_reach_the_database_are_not_forked_in_a_storm(daemon: Daemon) -> None:
    database, daemon.database = daemon.database, "/nonexistent/panda.sqlite3"
    daemon.configure({"a": {"period": 1}}, n_proc=4)
    began = monotonic()
    daemon.start()
    wait_until(lambda: daemon.output().count("worker launched") >= 6)
    assert monotonic() - began > 1.5  # the first four at once, then one by one after growing pauses
    daemon.database = database
    daemon.configure({"a": {"period": 1}}, n_proc=4)
    assert daemon.process is not None
    daemon.process.send_signal(signal.SIGHUP)
    wait_until(lambda: len(daemon.workers()) == 4 and bool(daemon.starts("a")), 40)


# --- configuration


def test_an_unreadable_map_of_daemons_prevents_the_start(daemon: Daemon) -> None:
    daemon.configure('{"a": {"period": 1}')
    done = daemon.run("--foreground")
    assert done.returncode != 0
    assert "not valid JSON" in done.stderr


def test_a_daemon_without_period_is_skipped_with_a_warning_and_the_others_run(daemon: Daemon) -> None:
    daemon.configure({"bad": {}, "good": {"period": 1}})
    daemon.start()
    wait_until(lambda: bool(daemon.starts("good")))
    assert "period must be" in daemon.output()
    assert not daemon.starts("bad")


def test_a_daemon_whose_module_is_missing_is_reported_and_the_others_run(daemon: Daemon) -> None:
    daemon.configure({"bad": {"period": 1, "module": "missing"}, "good": {"period": 1}}, n_proc=1)
    process = daemon.start()
    wait_until(lambda: len(daemon.starts("good")) >= 2)
    assert daemon.output().count("daemon=bad") >= 2  # tried again
    assert "No module named" in daemon.output()
    process.send_signal(signal.SIGUSR1)
    wait_until(lambda: "status daemon=bad" in daemon.output())


def test_a_disabled_daemon_says_so_and_succeeds(daemon: Daemon) -> None:
    daemon.configure({"a": {"period": 1}}, enable=False)
    done = daemon.run()
    assert (done.returncode, "disabled" in done.stdout) == (0, True)


def test_an_unknown_account_prevents_the_start(daemon: Daemon) -> None:
    daemon.configure({"a": {"period": 1}}, uname="nobody-knows-me")
    daemon.account_changes = True
    done = daemon.run("--foreground")
    assert done.returncode != 0
    assert "nobody-knows-me" in done.stderr


@pytest.mark.slow
def test_hup_reads_the_configuration_again_and_stops_nothing(daemon: Daemon) -> None:
    daemon.configure({"a": {"period": 1}, "long": {"period": 60, "act": ["nap", 2]}})
    process = daemon.start()
    wait_until(lambda: bool(daemon.starts("a")) and bool(daemon.starts("long")))
    daemon.configure({"b": {"period": 1}, "long": {"period": 60, "act": ["nap", 2]}})
    process.send_signal(signal.SIGHUP)
    wait_until(lambda: bool(daemon.starts("b")) and bool(daemon.events("long", "end")))
    assert daemon.starts("a")[-1] < daemon.starts("b")[0]
    assert len(daemon.starts("long")) == 1


def test_hup_with_a_broken_configuration_changes_nothing(daemon: Daemon) -> None:
    daemon.configure({"a": {"period": 1}})
    process = daemon.start()
    wait_until(lambda: bool(daemon.starts("a")))
    daemon.configure("{")
    process.send_signal(signal.SIGHUP)
    wait_until(lambda: "configuration not reloaded" in daemon.output())
    seen = len(daemon.starts("a"))
    wait_until(lambda: len(daemon.starts("a")) > seen)


# --- stop and start


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_daemon_leaves_nothing_and_can_be_started_again(daemon: Daemon, number: signal.Signals) -> None:
    daemon.configure({"a": {"period": 1}})
    for times in (1, 2):
        process = daemon.start()
        wait_until(lambda times=times: len(daemon.starts("a")) >= times)  # type: ignore[misc]
        assert daemon.pidfile.read_text() == str(process.pid)
        workers = daemon.workers()
        process.send_signal(number)
        assert process.wait(20) == 0
        assert all(is_gone(pid) for pid in workers)
        assert not daemon.pidfile.exists()


def test_a_running_script_may_finish_within_stop_timeout(daemon: Daemon) -> None:
    daemon.configure({"long": {"period": 60, "act": ["nap", 1]}}, stop_timeout=30)
    daemon.start()
    wait_until(lambda: bool(daemon.starts("long")))
    assert daemon.stop() == 0
    assert daemon.events("long", "end")


def test_a_looping_script_is_not_repeated_when_the_daemon_stops(daemon: Daemon) -> None:
    daemon.configure({"loop": {"period": 60, "loop": True, "act": ["again", 0.2]}}, stop_timeout=30)
    daemon.start()
    wait_until(lambda: len(daemon.starts("loop")) >= 2)
    asked = monotonic()
    assert daemon.stop() == 0
    assert monotonic() - asked < 3
    assert daemon.events("loop")[-1].what == "end"


def test_a_running_script_is_killed_after_stop_timeout(daemon: Daemon) -> None:
    daemon.configure({"long": {"period": 60, "act": ["cling", 0]}}, stop_timeout=1)
    daemon.start()
    wait_until(lambda: bool(daemon.events("long", "orphan")))
    asked = monotonic()
    assert daemon.stop() == 0
    assert 1 <= monotonic() - asked < 4
    assert all(is_gone(event.pid) for event in daemon.events("long"))


def test_a_signal_for_the_whole_service_does_not_interrupt_a_script(daemon: Daemon) -> None:
    daemon.configure({"long": {"period": 60, "act": ["nap", 1]}}, stop_timeout=30)
    daemon.start()
    wait_until(lambda: bool(daemon.starts("long")))
    for pid in daemon.workers():
        os.kill(pid, signal.SIGTERM)
    assert daemon.stop() == 0
    assert daemon.events("long", "end")


def test_a_killed_master_takes_its_workers_along_and_a_new_one_can_start(daemon: Daemon) -> None:
    daemon.configure({"a": {"period": 1}, "long": {"period": 60, "act": ["nap", 60]}})
    process = daemon.start()
    wait_until(lambda: bool(daemon.starts("a")) and bool(daemon.starts("long")))
    workers = daemon.workers()
    process.kill()
    process.wait()
    wait_until(lambda: all(is_gone(pid) for pid in workers), 2)
    seen = len(daemon.starts("a"))
    daemon.start()
    wait_until(lambda: len(daemon.starts("a")) > seen)


def test_a_second_daemon_is_refused_while_the_first_runs(daemon: Daemon) -> None:
    daemon.configure({"a": {"period": 1}})
    process = daemon.start()
    wait_until(lambda: bool(daemon.starts("a")))
    done = daemon.run("--foreground")
    assert done.returncode != 0
    assert f"held by process {process.pid}" in done.stderr


def test_a_detached_daemon_returns_and_runs_until_it_is_stopped(daemon: Daemon) -> None:
    daemon.configure({"a": {"period": 1}})
    master = daemon.detach()
    wait_until(lambda: bool(daemon.starts("a")))
    assert master.terminal() is None
    master.terminate()
    wait_until(lambda: is_gone(master.pid) and not daemon.pidfile.exists())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give itself up")
@pytest.mark.parametrize("foreground", [True, False])
def test_root_becomes_the_service_account(connection: ConnectionSettings, foreground: bool) -> None:
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        root.chmod(0o755)
        (root / "open").mkdir()
        (root / "open").chmod(0o777)
        database = str(shutil.copy(connection.name, root / "open" / "panda.sqlite3"))
        os.chmod(database, 0o666)
        daemon = Daemon(root / "home", database, root / "open" / "events")
        daemon.logs.chmod(0o777)
        daemon.configure({"a": {"period": 1}}, uname="nobody", gname="nogroup", umask="027")
        daemon.account_changes = True
        try:
            master = psutil.Process(daemon.start().pid) if foreground else daemon.detach()
            wait_until(lambda: bool(daemon.starts("a")))
            nobody, nogroup = pwd.getpwnam("nobody").pw_uid, grp.getgrnam("nogroup").gr_gid
            everybody = [master, *map(psutil.Process, daemon.workers_of(master))]
            assert {one.uids() for one in everybody} == {(nobody,) * 3}
            assert {one.gids() for one in everybody} == {(nogroup,) * 3}
            groups = Path(f"/proc/{master.pid}/status").read_text().partition("Groups:")[2].splitlines()[0].split()
            assert "0" not in groups
            assert stat.S_IMODE(daemon.events_path.stat().st_mode) == 0o640
            master.terminate()
            wait_until(lambda: is_gone(master.pid))
            assert not daemon.pidfile.exists() or daemon.pidfile.read_text() == ""  # its directory belongs to root
        finally:
            daemon.end()


# --- what it tells its machine


def test_the_status_file_follows_a_daemon_from_its_start_to_its_end(daemon: Daemon) -> None:
    daemon.configure({"good": {"period": 100}, "bad": {"period": 100, "act": ["fail", 0]}}, n_proc=1)
    daemon.start()
    wait_until(lambda: results(daemon) == {"good": "done", "bad": "failed"})
    running = daemon.status()
    assert running is not None
    assert (running.pid, running.state) == (daemon.process_info().pid, "running")
    assert {script.name: script.history.last_error for script in running.scripts}["bad"] == "RuntimeError: out of luck"
    daemon.stop()
    stopped = daemon.status()
    assert stopped is not None
    assert stopped.state == "stopped"


@pytest.mark.slow
def test_a_daemon_that_has_nothing_to_do_gives_signs_of_life(daemon: Daemon) -> None:
    daemon.configure({"rare": {"period": 1000}}, n_proc=1)
    daemon.start()
    wait_until(lambda: results(daemon) == {"rare": "done"})
    before = daemon.status()
    assert before is not None
    wait_until(lambda: (daemon.status() or before).written > before.written + 1, BEAT + 5)
    after = daemon.status()
    assert after is not None
    assert after.scripts[0].history == before.scripts[0].history


def results(daemon: Daemon) -> dict[str, str]:
    status = daemon.status()
    return {} if status is None else {script.name: script.history.last_result for script in status.scripts}
