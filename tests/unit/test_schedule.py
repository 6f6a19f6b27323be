"""A script is due, queued or running, and its period counts from start to start."""

from __future__ import annotations

import pytest

from pandaserver.config.values import DaemonSpec
from pandaserver.daemons.schedule import Schedule, State


def spec(name: str = "add_main", period: int = 60, loop: bool = False) -> DaemonSpec:
    return DaemonSpec(name, f"scripts.{name}", period, timeout=3.0 * period, loop=loop)


def names(specs: list[DaemonSpec]) -> list[str]:
    return [found.name for found in specs]


def run(schedule: Schedule, start: float) -> None:
    """Start what is due at that time."""
    schedule.queue_due(start)
    assert schedule.start_next(start) is not None


@pytest.fixture
def schedule() -> Schedule:
    return Schedule([spec()], now=1000.0)


def test_everything_is_due_at_start_in_the_order_of_the_configuration() -> None:
    assert names(Schedule([spec("b"), spec("a")], 0.0).queue_due(0.0)) == ["b", "a"]


def test_scripts_are_started_in_the_order_in_which_they_were_queued() -> None:
    schedule = Schedule([spec("b"), spec("a")], 0.0)
    schedule.queue_due(0.0)
    assert [found and found.name for found in (schedule.start_next(1.0), schedule.start_next(1.0))] == ["b", "a"]


def test_nothing_is_started_when_nothing_is_queued(schedule: Schedule) -> None:
    assert schedule.start_next(1000.0) is None


def test_a_queued_script_is_not_queued_again(schedule: Schedule) -> None:
    schedule.queue_due(1000.0)
    assert schedule.queue_due(5000.0) == []


def test_a_running_script_is_not_queued_however_late_it_is(schedule: Schedule) -> None:
    run(schedule, 1000.0)
    assert schedule.queue_due(5000.0) == []


def test_a_script_is_due_a_period_after_its_start(schedule: Schedule) -> None:
    run(schedule, 1000.0)
    schedule.ended("add_main")
    assert schedule.next_event() == 1060.0
    assert schedule.queue_due(1059.9) == []
    assert names(schedule.queue_due(1060.0)) == ["add_main"]


def test_a_script_that_overran_many_periods_runs_once(schedule: Schedule) -> None:
    run(schedule, 1000.0)
    schedule.ended("add_main")
    run(schedule, 1500.0)
    schedule.ended("add_main")
    assert schedule.queue_due(1501.0) == []


def test_a_postponed_script_is_due_when_told(schedule: Schedule) -> None:
    run(schedule, 1000.0)
    schedule.postponed("add_main", until=1010.0)
    assert schedule.next_event() == 1010.0


def test_a_queued_script_is_late_after_five_minutes_and_says_so_every_fifteen(schedule: Schedule) -> None:
    run(schedule, 1000.0)
    schedule.ended("add_main")
    schedule.queue_due(1060.0)
    assert schedule.next_event() == 1360.0
    assert schedule.newly_late(1359.0) == []
    assert schedule.newly_late(1360.0) == [(spec(), 300.0)]
    assert schedule.newly_late(2259.0) == []
    assert schedule.newly_late(2260.0) == [(spec(), 1200.0)]


def test_a_script_that_never_ran_is_not_late(schedule: Schedule) -> None:
    schedule.queue_due(1000.0)
    assert schedule.newly_late(9999.0) == []


def test_a_looping_script_may_exceed_its_period_without_being_late() -> None:
    schedule = Schedule([spec(loop=True)], 0.0)
    run(schedule, 0.0)
    assert schedule.newly_late(9999.0) == []


def test_a_reload_keeps_the_last_start_of_a_script(schedule: Schedule) -> None:
    run(schedule, 1000.0)
    schedule.ended("add_main")
    schedule.reload([spec(period=20), spec("added")], now=1010.0)
    assert names(schedule.queue_due(1010.0)) == ["added"]
    assert names(schedule.queue_due(1020.0)) == ["add_main"]


def test_a_reload_does_not_start_a_running_script_again(schedule: Schedule) -> None:
    run(schedule, 1000.0)
    schedule.reload([spec()], now=2000.0)
    assert [entry.state for entry in schedule] == [State.running]


def test_a_script_that_comes_back_while_it_still_runs_is_not_started_again(schedule: Schedule) -> None:
    run(schedule, 1000.0)
    schedule.reload([spec("other")], now=1001.0)
    schedule.reload([spec()], now=1002.0)
    assert schedule.queue_due(1059.0) == []
    schedule.ended("add_main")
    assert names(schedule.queue_due(1060.0)) == ["add_main"]


@pytest.mark.parametrize(("back", "due"), [(1010.0, 1060.0), (9000.0, 9000.0)])
def test_a_script_that_comes_back_keeps_its_period_and_is_not_late(schedule: Schedule, back: float, due: float) -> None:
    run(schedule, 1000.0)
    schedule.ended("add_main")
    schedule.reload([spec("other")], now=1001.0)
    schedule.reload([spec()], now=back)
    assert schedule.next_event() == due


def test_a_script_that_was_queued_when_it_went_is_queued_again_when_it_comes_back(schedule: Schedule) -> None:
    schedule.queue_due(1000.0)
    schedule.reload([], now=1001.0)
    assert schedule.start_next(1001.0) is None
    schedule.reload([spec()], now=1002.0)
    assert names(schedule.queue_due(1002.0)) == ["add_main"]


def test_the_end_of_a_script_that_a_reload_dropped_is_ignored(schedule: Schedule) -> None:
    run(schedule, 1000.0)
    schedule.reload([spec("other")], now=1001.0)
    schedule.ended("add_main")
    assert [entry.spec.name for entry in schedule] == ["other"]
