"""metric_collector and task_evaluator as the daemon runs them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pandaserver.daemons.scripts import metric_collector, task_evaluator
from pandaserver.taskbuffer.db_proxy_mods.metric import MetricRow
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from tests.db.completion import age, change, insert, read
from tests.db.stages import put_job


def values(tbuf: TaskBuffer, metric: str) -> dict[tuple[str, str], Any]:
    return {(row.site, row.share): row.value for row in tbuf.getMetric(metric)}


def locks(tbuf: TaskBuffer) -> list[str]:
    return [row[0] for row in read(tbuf, "SELECT component FROM ATLAS_PANDA.JEDI_Process_Lock ORDER BY component")]


def unlock(tbuf: TaskBuffer, minutes: float) -> None:
    """As if every lock had been taken so many minutes ago."""
    change(
        tbuf,
        "UPDATE ATLAS_PANDA.JEDI_Process_Lock SET lockedTime = CURRENT_TIMESTAMP - :n * INTERVAL '1' MINUTE",
        n=minutes,
    )


def test_every_metric_is_collected(tbuf: TaskBuffer) -> None:
    put_job(tbuf, "running", gshare="User", coreCount=8)
    merge = put_job(tbuf, "running", gshare="User", processingType="pmerge")
    age(tbuf, "jobsActive4", merge, creationTime=10, startTime=5)
    put_job(tbuf, "finished")
    tbuf.refreshShareStatistics()
    metric_collector.main(tbuf=tbuf)
    assert values(tbuf, "users_jobs_stats")["TEST_PQ", "User"]["Jane Doe"] == {"nRunning": 2, "nQueue": 0, "slots": 9}
    assert values(tbuf, "analy_pmerge_jobs_wait_time")["TEST_PQ", "NULL"]["mean"] == pytest.approx(300, abs=5)
    site = values(tbuf, "analy_site_eval")["TEST_PQ", "NULL"]
    assert (site["running"], site["finished"], site["class"]) == (2, 1, 1)
    assert values(tbuf, "analy_user_eval")["NULL", "NULL"]["Jane Doe"]["rem_slots_A"] == 991
    assert values(tbuf, "gshare_preference")


def test_each_metric_has_a_lock_of_its_own_and_keeps_its_period(
    tbuf: TaskBuffer, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    for name, metric in metric_collector.METRICS.items():
        faked = metric_collector.Metric(metric.minutes, lambda _tbuf, name=name: made.append(name) or [])
        monkeypatch.setitem(metric_collector.METRICS, name, faked)
    metric_collector.main(tbuf=tbuf)
    metric_collector.main(tbuf=tbuf)
    assert sorted(made) == sorted(metric_collector.METRICS)
    assert all(lock.startswith("pandaMetr.") and len(lock) <= 56 for lock in locks(tbuf))
    assert "pandaMetr.gshare_preference." in " ".join(locks(tbuf))
    for minutes, due in ((5, set()), (10, {"analy_user_eval"})):
        made.clear()
        unlock(tbuf, minutes)
        metric_collector.main(tbuf=tbuf)
        assert set(made) == due | {"gshare_preference", "users_jobs_stats"}


def test_a_metric_that_fails_does_not_stop_the_others(tbuf: TaskBuffer, monkeypatch: pytest.MonkeyPatch) -> None:
    put_job(tbuf, "running", gshare="User")
    broken = metric_collector.Metric(5, lambda _tbuf: [MetricRow({"x": 1 // 0})])
    monkeypatch.setitem(metric_collector.METRICS, "gshare_preference", broken)
    metric_collector.main(tbuf=tbuf)
    assert values(tbuf, "users_jobs_stats")


def test_what_has_no_value_any_more_goes(tbuf: TaskBuffer) -> None:
    tbuf.storeMetric("m", [MetricRow({"v": 1}, "A"), MetricRow({"v": 2}, "B")])
    tbuf.storeMetric("other", [MetricRow({"v": 9}, "A")])
    tbuf.storeMetric("m", [MetricRow({"v": 3}, "B")])
    assert values(tbuf, "m") == {("B", "NULL"): {"v": 3}}
    assert values(tbuf, "other") == {("A", "NULL"): {"v": 9}}


def evaluations(tbuf: TaskBuffer) -> dict[int, Any]:
    sql = "SELECT jediTaskID, value_json FROM ATLAS_PANDA.Task_Evaluation ORDER BY jediTaskID"
    return {task: json.loads(text) for task, text in read(tbuf, sql)}


def test_tasks_of_users_are_evaluated(tbuf: TaskBuffer) -> None:
    put_job(tbuf, "running", jediTaskID=7, gshare="User")
    put_job(tbuf, "activated", jediTaskID=8, gshare="Express Analysis")
    put_job(tbuf, "running", jediTaskID=9, prodSourceLabel="managed")
    tbuf.storeMetric("analy_user_eval", [MetricRow({"Jane Doe": {"rem_slots_A": 0, "rem_slots_B": 4}})])
    task_evaluator.main(tbuf=tbuf)
    assert {task: value["class"] for task, value in evaluations(tbuf).items()} == {7: 0, 8: 2}
    assert [lock.split(".")[:2] for lock in locks(tbuf)] == [["pandaTaskEval", "analy_task_eval"]]


def test_tasks_are_evaluated_every_ten_minutes(tbuf: TaskBuffer) -> None:
    task_evaluator.main(tbuf=tbuf)
    put_job(tbuf, "running", jediTaskID=7)
    task_evaluator.main(tbuf=tbuf)
    assert evaluations(tbuf) == {}
    unlock(tbuf, 10)
    task_evaluator.main(tbuf=tbuf)
    assert list(evaluations(tbuf)) == [7]


def test_tasks_without_jobs_are_forgotten_after_two_hours(tbuf: TaskBuffer) -> None:
    for task, minutes in ((1, 119), (2, 121)):
        row = {"jediTaskID": task, "metric": "analy_task_eval", "value_json": "{}"}
        insert(tbuf, "Task_Evaluation", minutes_ago={"timestamp": minutes}, **row)
    task_evaluator.main(tbuf=tbuf)
    assert list(evaluations(tbuf)) == [1]
