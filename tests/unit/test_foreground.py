"""Services that live and end together, as real processes."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 20.0
#: The process under test; its arguments are the grace period and one shell command for each service.
FOREGROUND = """
import logging, sys
from signal import SIGHUP, SIGTERM
from pandaserver.deployment.foreground import Foreground, Service
log = logging.getLogger("test")
log.addHandler(logging.StreamHandler(sys.stdout))
log.setLevel("INFO")
services = [Service(f"s{n}", ("sh", "-c", text), SIGTERM, SIGHUP) for n, text in enumerate(sys.argv[2:])]
grace = float(sys.argv[1])
path = {"PATH": "/usr/bin:/bin"}
sys.exit(Foreground(services, path, log, grace=grace, every=60, housekeeping=lambda: None).run())
"""
OBEDIENT = "trap 'echo bye; exit 0' TERM; trap 'echo again' HUP; echo up; while :; do sleep 0.05; done"
STUBBORN = "trap '' TERM; echo up; while :; do sleep 0.05; done"


@contextmanager
def foreground(*commands: str, grace: float = 10.0) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", FOREGROUND, str(grace), *commands],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def read_until(process: subprocess.Popen[str], text: str, times: int = 1) -> None:
    """Read what is printed until a line has come as often as wanted; the time limit of tests ends it in vain."""
    assert process.stdout is not None
    for line in process.stdout:
        times -= line.strip() == text
        if not times:
            return
    raise AssertionError(f"{text!r} never came")


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    output, _ = process.communicate(timeout=PATIENCE)
    return process.returncode, output


def gone(pids: list[int]) -> Callable[[], bool]:
    return lambda: not any(psutil.pid_exists(pid) for pid in pids)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "in vain"
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_all_stop_in_peace_when_told_to(number: signal.Signals) -> None:
    with foreground(OBEDIENT, OBEDIENT) as process:
        read_until(process, "up", 2)
        process.send_signal(number)
        code, output = ended(process)
    assert (code, output.count("bye"), output.count("code=0")) == (0, 2, 2)


def test_a_service_that_is_still_starting_is_told_to_reload_when_it_can_be() -> None:
    with foreground(f"echo early; sleep 0.5; {OBEDIENT}") as process:
        read_until(process, "early")
        process.send_signal(signal.SIGHUP)
        read_until(process, "again")


def test_hangup_reaches_all_and_stops_nobody() -> None:
    with foreground(OBEDIENT, OBEDIENT) as process:
        read_until(process, "up", 2)
        process.send_signal(signal.SIGHUP)
        read_until(process, "again", 2)
        process.terminate()
        assert ended(process)[0] == 0


@pytest.mark.parametrize(
    ("end", "how"), [("exit 0", "code=0"), ("exit 3", "code=3"), ("kill -KILL $$", "signal=SIGKILL")]
)
def test_the_end_of_one_stops_the_others_and_is_a_failure(end: str, how: str) -> None:
    with foreground(OBEDIENT, f"sleep 0.3; {end}") as process:
        code, output = ended(process)
    assert (code, f"ended service=s1 pid={pid_of(output, 's1')} {how}" in output) == (1, True)
    assert "bye" in output


def test_who_does_not_stop_within_the_grace_period_is_killed() -> None:
    with foreground(OBEDIENT, STUBBORN, grace=0.5) as process:
        read_until(process, "up", 2)
        process.terminate()
        code, output = ended(process)
    assert code == 1
    assert "killed service=s1" in output
    assert "killed service=s0" not in output


def test_nothing_stays_behind_wherever_it_moved_itself() -> None:
    runaway = "setsid sh -c 'echo $$; exec sleep 600' & setsid sh -c 'sleep 600 & echo $!' & "
    with foreground(runaway + OBEDIENT) as process:
        assert process.stdout is not None
        lines = [line.strip() for _, line in zip(range(4), process.stdout, strict=False)]
        pids = [int(line) for line in lines if line.isdigit()]
        assert len(pids) == 2, lines
        process.terminate()
        assert ended(process)[0] == 0
    wait_for(gone(pids))


def test_services_die_with_a_killed_foreground() -> None:
    with foreground(OBEDIENT, STUBBORN) as process:
        read_until(process, "up", 2)
        pids = [child.pid for child in psutil.Process(process.pid).children()]
        process.kill()
        wait_for(lambda: all(not psutil.pid_exists(pid) or is_zombie(pid) for pid in pids))


def test_a_reader_that_goes_away_stops_nobody() -> None:
    with foreground(OBEDIENT + " & while :; do echo x; sleep 0.01; done") as process:
        read_until(process, "up")
        assert process.stdout is not None
        process.stdout.close()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        process.stdout = None
        process.terminate()
        process.wait(PATIENCE)


def test_a_service_that_cannot_be_started_leaves_no_other_behind() -> None:
    text = FOREGROUND.replace('("sh", "-c", text)', 'tuple(text.split("|"))')
    command = [sys.executable, "-c", text, "5", "sleep|600", "/nowhere/program"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 1
    assert "/nowhere/program" in done.stderr
    wait_for(gone([int(pid_of(done.stdout, "s0"))]))


def is_zombie(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def pid_of(output: str, service: str) -> str:
    return output.split(f"started service={service} pid=")[1].split()[0]
