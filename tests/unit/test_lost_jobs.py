"""Which rules the Watcher applies, and what a lost job is told."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from pandaserver.daemons.scripts.copyArchive import lost_rules
from pandaserver.taskbuffer.lost_jobs import LostRule, heartbeat_rules, reason_of_loss, workflow_rules
from pandaserver.taskbuffer.SiteSpec import SiteSpec
from pandaserver.taskbuffer.time_limits import limits, unusable
from tests.factories import make_job

NOON = datetime(2026, 1, 1, 12)


def sites(*specs: SiteSpec) -> dict[str, SiteSpec]:
    return {spec.sitename: spec for spec in specs}


def named(rules: list[LostRule], name: str) -> LostRule:
    (found,) = (rule for rule in rules if rule.name == name)
    return found


@pytest.mark.parametrize(
    ("attributes", "code"),
    [
        ({"jobStatus": "sent"}, 102),
        ({"jobStatus": "running"}, 100),
        ({"jobStatus": "running", "endTime": NOON}, 105),
        ({"jobStatus": "holding", "endTime": NOON}, 103),
        ({"jobStatus": "holding", "endTime": NOON, "jobDispatcherErrorDiag": "set by the pilot"}, 103),
        ({"jobStatus": "transferring", "endTime": NOON}, 104),
        ({"jobStatus": "holding", "endTime": NOON, "pilotErrorDiag": "lost"}, 101),
        ({"jobStatus": "running", "exeErrorDiag": "lost"}, 101),
    ],
)
def test_every_loss_has_a_code_and_a_sentence(attributes: dict[str, Any], code: int) -> None:
    job = make_job(modificationTime=NOON, **attributes)
    found, diag = reason_of_loss(job, LostRule("a rule", (), 120))
    assert (found, bool(diag)) == (code, True)


def test_a_lost_heartbeat_names_the_last_one() -> None:
    job = make_job(jobStatus="running", modificationTime=NOON)
    assert reason_of_loss(job, LostRule("a rule", (), 120))[1] == "heartbeat lost; last one at 2026-01-01 12:00:00"


def test_the_table_of_parameters_changes_the_limits() -> None:
    rules = lost_rules({"TIMEOUT_holding_hours": 24}, {"HEARTBEAT_TIMEOUT_analysis": 5}, {})
    assert named(rules, "holding").minutes == 24 * 60
    assert named(rules, "analysis heartbeat").minutes == 5 * 60
    assert named(rules, "production heartbeat").minutes == 2 * 60


def test_paused_queues_and_those_with_a_limit_of_their_own_leave_the_general_rule() -> None:
    queues = sites(
        SiteSpec("A"),
        SiteSpec("B", status="paused"),
        SiteSpec("C", workflow="push"),
        SiteSpec("D", workflow="pull_ups"),
    )
    rules = lost_rules({}, {"HEARTBEAT_TIMEOUT_push": 9}, queues)
    assert named(rules, "production heartbeat").except_sites == ("B", "C")
    assert (named(rules, "push heartbeat").sites, named(rules, "push heartbeat").minutes) == (("C",), 540)


def test_a_heartbeat_limit_of_nothing_does_not_count() -> None:
    zero = {"HEARTBEAT_TIMEOUT_analysis": 0, "HEARTBEAT_TIMEOUT_push": 0}
    rules = lost_rules({}, zero, sites(SiteSpec("C", workflow="push")))
    assert named(rules, "analysis heartbeat").minutes == 2 * 60
    assert not any(rule.name == "push heartbeat" for rule in rules)
    assert unusable(zero) == ["HEARTBEAT_TIMEOUT_analysis", "HEARTBEAT_TIMEOUT_push"]


def test_many_queues_of_a_workflow_make_several_rules() -> None:
    rules = workflow_rules("push", 1, [str(n) for n in range(2001)])
    assert [len(rule.sites or ()) for rule in rules] == [1000, 1000, 1]


def test_nobody_who_has_reported_is_lost() -> None:
    waiting = [rule for rule in heartbeat_rules(2, 48) if rule.name.startswith("holding")]
    assert len(waiting) == 3
    assert all(any("Job_Output_Report" in condition for condition in rule.conditions) for rule in waiting)


@pytest.mark.parametrize(
    ("stored", "limit"),
    [({}, 4), ({"TIMEOUT_defined": 6}, 6), ({"TIMEOUT_defined_hours": 5, "TIMEOUT_defined": 360}, 5)],
)
def test_a_limit_without_unit_is_in_hours_and_loses_against_one_with(stored: dict[str, Any], limit: float) -> None:
    assert limits(stored)["defined"] == limit * 60


@pytest.mark.parametrize("value", [0, -1, "soon", True, float("nan"), float("inf")])
def test_a_limit_that_is_none_leaves_the_default_and_is_told(value: object) -> None:
    assert limits({"TIMEOUT_sent": value})["sent"] == 30
    assert unusable({"TIMEOUT_sent": value, "TIMEOUT_ddm": 3, "TIMEOUT_of_somebody_else": value}) == ["TIMEOUT_sent"]
