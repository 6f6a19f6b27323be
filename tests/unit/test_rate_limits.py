"""Token buckets: a burst passes, then so many a second, whoever counts."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from pathlib import Path
from time import monotonic

import pytest

from pandaserver.config.settings import ServerSettings
from pandaserver.server import rate_limits
from pandaserver.server.heavy_questions import HeavyQuestions
from pandaserver.server.rate_limits import BURST, RateLimits, TokenBuckets, network_of
from pandaserver.srvcore.errors import Busy, TooManyRequests
from pandaserver.srvcore.principal import ANONYMOUS, Principal

JANE = Principal.of("/CN=Jane Doe")
PILOT = Principal.of("/CN=Pat Pilot", ["/testvo/Role=pilot"])
PRODUCTION = Principal.of("/CN=Paula Prod", ["/testvo/Role=production"])
SITE = "192.0.2.1"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def allowed(buckets: TokenBuckets, name: str, rate: float, tries: int = 1000) -> int:
    return sum(buckets.wait(name, rate) == 0 for _ in range(tries))


@pytest.mark.parametrize("rate", [1, 7, 100])
def test_ten_seconds_worth_may_come_at_once_and_then_the_rate(clock: Clock, rate: int) -> None:
    buckets = TokenBuckets(None, clock)
    assert allowed(buckets, "a", rate, 2000) == rate * BURST
    clock.now += 3
    assert allowed(buckets, "a", rate, 2000) in (3 * rate, 3 * rate + 1)  # of fractions
    clock.now += 1000
    assert allowed(buckets, "a", rate, 2000) == rate * BURST


def test_a_refusal_says_how_long_to_wait(clock: Clock) -> None:
    buckets = TokenBuckets(None, clock)
    assert allowed(buckets, "a", 2) == 20
    wait = buckets.wait("a", 2)
    assert wait == pytest.approx(0.5)
    clock.now += wait + 1e-6
    assert buckets.wait("a", 2) == 0


def test_names_do_not_hurt_each_other(clock: Clock) -> None:
    buckets = TokenBuckets(None, clock)
    assert [allowed(buckets, f"user {n}", 1, 15) for n in range(500)] == [10] * 500


def test_a_full_table_is_generous(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limits, "BUCKETS", 8)
    buckets = TokenBuckets(None, clock)
    assert all(buckets.wait(f"user {n}", 1) == 0 for n in range(100))


def test_a_table_from_before_the_machine_started_again_refuses_nobody(tmp_path: Path, clock: Clock) -> None:
    clock.now = 10**6
    allowed(TokenBuckets(tmp_path / "t", clock), "a", 1)
    clock.now = 5.0
    assert allowed(TokenBuckets(tmp_path / "t", clock), "a", 1) == 10


def test_processes_count_together(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from pandaserver.server.rate_limits import TokenBuckets\n"
        "b = TokenBuckets(Path(sys.argv[1]), lambda: 1000.0)\n"
        "print(sum(b.wait('a', 10) == 0 for _ in range(60)))"
    )
    counts = [
        int(subprocess.run([sys.executable, "-c", script, tmp_path / "t"], capture_output=True, check=True).stdout)
        for _ in range(3)
    ]
    assert counts == [60, 40, 0]


def limits(tmp_path: Path, **rates: int) -> RateLimits:
    chosen = {"max_user_rate": 0, "max_address_rate": 0, "max_pilot_rate": 0} | rates
    return RateLimits(ServerSettings(logdir=tmp_path, **chosen), logging.getLogger("tests"))


def passed(counter: RateLimits, who: Principal, address: str, tries: int = 100) -> int:
    count = 0
    for _ in range(tries):
        try:
            counter.count(who, address)
        except TooManyRequests:
            continue
        count += 1
    return count


def test_without_limits_nothing_is_counted(tmp_path: Path) -> None:
    assert passed(limits(tmp_path), JANE, SITE) == 100
    assert list(tmp_path.iterdir()) == []


def test_pilots_and_production_are_not_counted_by_address(tmp_path: Path) -> None:
    counter = limits(tmp_path, max_user_rate=1, max_address_rate=1)
    assert [passed(counter, who, SITE) for who in (PILOT, PRODUCTION)] == [100, 100]
    assert passed(counter, JANE, SITE) in (10, 11)
    assert passed(counter, ANONYMOUS, SITE) in (0, 1)


def test_pilots_can_have_a_limit_of_their_own(tmp_path: Path) -> None:
    counter = limits(tmp_path, max_pilot_rate=1)
    assert passed(counter, PILOT, SITE) in (10, 11)
    assert passed(counter, JANE, SITE) == 100


def test_a_limit_names_whom_it_counts_and_the_rate(tmp_path: Path) -> None:
    counter = limits(tmp_path, max_user_rate=1)
    assert passed(counter, JANE, SITE) >= 10
    with pytest.raises(TooManyRequests, match=r"you may ask 1 times a second; try again in [01]\.\d s"):
        counter.count(JANE, SITE)


def test_a_directory_that_cannot_be_written_costs_the_sharing_only(tmp_path: Path) -> None:
    assert passed(limits(tmp_path / "missing", max_user_rate=1), JANE, SITE) in (10, 11)


def test_what_counts_as_one_address() -> None:
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff:1")
    assert network_of("2001:db8::1") != network_of("2001:db8:0:1::1")
    assert network_of("::ffff:192.0.2.1") == network_of("192.0.2.1") == "192.0.2.1"
    assert network_of("somewhere") == "somewhere"


# ---- heavy questions


def heavy(tmp_path: Path, most: int) -> HeavyQuestions:
    return HeavyQuestions(tmp_path, most, logging.getLogger("tests"), patience=0.1)


def test_so_many_turns_are_given_at_once(tmp_path: Path) -> None:
    one, other = heavy(tmp_path, 2), heavy(tmp_path, 2)  # as two web processes
    far = monotonic() + 60
    with one.turn(far), other.turn(far), pytest.raises(Busy, match="2 questions of this kind"), one.turn(far):
        pass
    with other.turn(far):
        pass


def test_who_waits_gets_the_turn_that_ends(tmp_path: Path) -> None:
    patient = HeavyQuestions(tmp_path, 1, logging.getLogger("tests"), patience=20)
    got = threading.Event()

    def wait() -> None:
        with patient.turn(monotonic() + 20):
            got.set()

    with heavy(tmp_path, 1).turn(monotonic() + 60):
        thread = threading.Thread(target=wait)
        thread.start()
        assert not got.wait(0.1)
    assert got.wait(20)
    thread.join(20)


def test_a_turn_of_a_dead_process_is_free(tmp_path: Path) -> None:
    script = (
        "import logging, os, sys, time; from pathlib import Path\n"
        "from pandaserver.server.heavy_questions import HeavyQuestions\n"
        "turn = HeavyQuestions(Path(sys.argv[1]), 1, logging.getLogger()).turn(time.monotonic() + 5)\n"
        "turn.__enter__(); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", script, tmp_path], check=False).returncode == -9
    with heavy(tmp_path, 1).turn(monotonic() + 60):
        pass


def test_any_number_may_be_served(tmp_path: Path) -> None:
    with heavy(tmp_path, 0).turn(monotonic()), heavy(tmp_path, 0).turn(monotonic()):
        assert list(tmp_path.iterdir()) == []
