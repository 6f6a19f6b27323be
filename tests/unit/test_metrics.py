"""What the metrics are."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from pandaserver.dataservice.metrics import (
    MOST_PREFERENCE,
    merge_wait_times,
    share_preferences,
    site_values,
    task_values,
    user_counts,
    user_values,
)
from pandaserver.taskbuffer.db_proxy_mods.metric import NONE, LiveTask, MergeWait, MetricRow, ShareUse, UserJobs

NOW = datetime(2026, 3, 4, 12)


def waited(seconds: float, site: str = "Q", begun: bool = True, status: str = "finished") -> MergeWait:
    creation = NOW - timedelta(seconds=seconds)
    return MergeWait(site, creation, NOW if begun else None, status)


def test_a_share_below_its_target_is_preferred() -> None:
    shares = [ShareUse("a", 75, 50, 5), ShareUse("b", 25, 50, 0), ShareUse("c", 0, 0, 0)]
    rows = {row.share: row.value for row in share_preferences(shares)}
    assert rows["a"]["target_hs"] == 75
    assert rows["a"]["preference"] == pytest.approx(1.5)
    assert rows["b"]["preference"] == pytest.approx(0.5)
    assert rows["c"]["preference"] == 1.0


def test_a_share_with_nothing_running_is_preferred_as_far_as_it_goes() -> None:
    rows = share_preferences([ShareUse("a", 50, 0, 9), ShareUse("b", 50, 10, 0)])
    assert rows[0].value["preference"] == MOST_PREFERENCE


def test_without_jobs_no_share_is_preferred() -> None:
    assert [row.value["preference"] for row in share_preferences([ShareUse("a", 100, 0, 0)])] == [1.0]


def test_waiting_times_count_those_who_wait_still() -> None:
    waits = [waited(10), waited(30), waited(20, begun=False, status="activated"), waited(5, "R")]
    rows = {row.site: row.value for row in merge_wait_times(waits, NOW)}
    assert rows["Q"]["n"] == 3
    assert (rows["Q"]["mean"], rows["Q"]["median"], rows["Q"]["maximum"]) == (20, 20, 30)
    assert (rows["R"]["n"], rows["R"]["stdev"]) == (1, None)


def test_a_job_that_ended_without_a_start_did_not_wait() -> None:
    assert merge_wait_times([waited(10, begun=False, status="closed")], NOW) == []


@pytest.mark.parametrize(
    ("finished", "failed", "wait_hours", "expected"),
    [(10, 1, 0.5, 1), (10, 6, 0.5, 0), (2, 8, 0.5, -1), (10, 0, 5, 0), (10, 0, 13, -1), (0, 0, 0.5, 1)],
)
def test_a_queue_is_as_good_as_its_worse_side(finished: int, failed: int, wait_hours: float, expected: int) -> None:
    waits = [MetricRow({"median": wait_hours * 3600}, "Q")]
    (row,) = site_values([], {"Q": {"finished": finished, "failed": failed}}, waits)
    assert row.value["class"] == expected


JOBS = [
    UserJobs("jane", "Q", "User", "running", 3, 24),
    UserJobs("jane", "Q", "User", "activated", 5, 5),
    UserJobs("jane", "R", "User", "running", 1, 1),
    UserJobs("joe", "Q", "User", "transferring", 7, 7),
]


def test_users_are_counted_by_queue_and_share() -> None:
    rows = {(row.site, row.share): row.value for row in user_counts(JOBS)}
    assert rows["Q", "User"]["jane"] == {"nRunning": 3, "nQueue": 5, "slots": 24}
    assert rows["R", "User"] == {"jane": {"nRunning": 1, "nQueue": 0, "slots": 1}}


def test_users_have_slots_left() -> None:
    (row,) = user_values(JOBS, 20, 30)
    assert (row.site, row.share) == (NONE, NONE)
    assert row.value["jane"] == {"slots": 25, "rem_slots_A": 0, "rem_slots_B": 5}
    assert row.value["joe"]["rem_slots_A"] == 20


@pytest.mark.parametrize(
    ("left", "gshare", "progress", "expected"),
    [
        ((5, 5), "User", None, 1),
        ((0, 5), "User", None, 0),
        ((0, 0), "User", None, -1),
        ((0, 0), "Express Analysis", None, 2),
        ((5, 5), "User", 90, 2),
        ((5, 5), "User", 89, 1),
        ((0, 5), "User", 94, 0),
        ((0, 5), "User", 95, 2),
        ((0, 0), "User", 99, -1),
    ],
)
def test_the_class_of_a_task(left: tuple[int, int], gshare: str, progress: float | None, expected: int) -> None:
    users = {"jane": {"rem_slots_A": left[0], "rem_slots_B": left[1]}}
    done = {} if progress is None else {1: progress}
    assert task_values([LiveTask(1, "jane", gshare)], users, done)[1]["class"] == expected


def test_a_task_of_a_user_that_nobody_counted_is_normal() -> None:
    assert task_values([LiveTask(1, None, None)], {}, {})[1]["class"] == 1
