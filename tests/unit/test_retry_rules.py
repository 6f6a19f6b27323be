"""Which retry rules apply to a failed job."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pandaserver.taskbuffer.retry_rules import FailedJob, RetryAction, RetryRule, decide, unreadable

NOW = datetime(2026, 1, 1, 12)


def rule(number: int = 1, action: str = "no_retry", **more: Any) -> RetryRule:
    return RetryRule(number, more.pop("source", "pilotErrorCode"), more.pop("code", 1099), action, **more)


def job(*errors: tuple[str, int, str | None], **more: Any) -> FailedJob:
    return FailedJob(17, 7, 1, 3, errors or (("pilotErrorCode", 1099, "no space left"),), **more)


def applied(failed: FailedJob, *rules: RetryRule) -> list[int]:
    return [d.rule.id for d in decide(failed, rules, NOW) if not d.dry_run]


@pytest.mark.parametrize(
    ("more", "applies"),
    [
        ({}, True),
        ({"code": 1098}, False),
        ({"source": "exeErrorCode"}, False),
        ({"diag": "no space"}, True),
        ({"diag": "space"}, False),  # from the start
        ({"diag": ".*space"}, True),
        ({"diag": "("}, False),
        ({"architecture": "x86_64-el9"}, True),
        ({"architecture": "x86_64"}, False),
        ({"release": "Atlas-22"}, True),
        ({"release": "Atlas-21"}, False),
        ({"work_queue": 4}, True),
        ({"work_queue": 5}, False),
        ({"expires": NOW + timedelta(seconds=1)}, True),  # valid until then
        ({"expires": NOW}, False),
        ({"expires": NOW - timedelta(days=1)}, False),
        ({"action": "dance"}, False),
        ({"action": "limit_retry", "parameters": "maxAttempt=5"}, True),
        ({"action": "limit_retry", "parameters": "maxAttempt=many"}, False),
        ({"action": "limit_retry"}, False),
    ],
)
def test_a_rule_applies_when_all_that_it_names_fits(more: dict[str, Any], applies: bool) -> None:
    failed = job(architecture="x86_64-el9", release="Atlas-22", work_queue=4)
    assert applied(failed, rule(**more)) == ([1] if applies else [])


def test_a_rule_that_is_not_active_is_told_and_does_not_end_the_search() -> None:
    errors = (("pilotErrorCode", 1, None), ("exeErrorCode", 2, None))
    rules = (rule(1, code=1, active=False), rule(2, source="exeErrorCode", code=2))
    found = [(d.rule.id, d.dry_run) for d in decide(job(*errors), rules, NOW)]
    assert found == [(1, True), (2, False)]


def test_the_first_error_with_a_rule_ends_the_search() -> None:
    errors = (("pilotErrorCode", 1, None), ("exeErrorCode", 2, None), ("ddmErrorCode", 3, None))
    rules = (rule(3, source="ddmErrorCode", code=3), rule(2, source="exeErrorCode", code=2))
    assert applied(job(*errors), *rules) == [2]


def test_all_actions_of_one_error_apply_once_each() -> None:
    rules = [rule(n, action, parameters="maxAttempt=2") for n, action in enumerate(RetryAction)]
    again = [rule(n + 10, action, parameters="maxAttempt=2") for n, action in enumerate(RetryAction)]
    assert sorted(applied(job(), *rules, *again)) == list(range(len(RetryAction)))


@pytest.mark.parametrize(
    ("first", "second", "winner"),
    [
        ({"parameters": "maxAttempt=2"}, {"parameters": "maxAttempt=3"}, 1),
        ({"parameters": "maxAttempt=3"}, {"parameters": "maxAttempt=2"}, 2),
        ({"parameters": "maxAttempt=10"}, {"parameters": "maxAttempt=9"}, 2),  # as numbers
        ({"parameters": "maxAttempt=9", "diag": "no"}, {"parameters": "maxAttempt=2"}, 1),  # more conditions first
        ({"parameters": "maxAttempt=2"}, {"parameters": "maxAttempt=9", "work_queue": 4}, 2),
        ({"parameters": "maxAttempt=2"}, {"parameters": "maxAttempt=2"}, 1),
    ],
)
def test_the_strictest_rule_wins(first: dict[str, Any], second: dict[str, Any], winner: int) -> None:
    rules = (rule(1, "limit_retry", **first), rule(2, "limit_retry", **second))
    assert applied(job(work_queue=4), *rules) == applied(job(work_queue=4), *reversed(rules)) == [winner]


def test_what_can_never_apply_is_told() -> None:
    rules = (
        rule(1, source="pilotError"),
        rule(2, "dance"),
        rule(3, diag="("),
        rule(4, "limit_retry", parameters="max=2"),
        rule(5),
    )
    assert [problem.partition(":")[0] for problem in unreadable(rules)] == ["rule 1", "rule 2", "rule 3", "rule 4"]


RULES = st.lists(
    st.builds(
        RetryRule,
        id=st.integers(1, 1000),
        source=st.sampled_from(["pilotErrorCode", "exeErrorCode"]),
        code=st.integers(1, 2),
        action=st.sampled_from([str(action) for action in RetryAction]),
        active=st.booleans(),
        parameters=st.sampled_from(["maxAttempt=1", "maxAttempt=2"]),
        work_queue=st.sampled_from([None, 4, 5]),
        expires=st.sampled_from([None, NOW, NOW + timedelta(hours=1)]),
    ),
    max_size=8,
    unique_by=lambda r: r.id,
)


@given(rules=RULES, seed=st.randoms())
def test_the_order_of_the_rules_does_not_matter(rules: list[RetryRule], seed: Any) -> None:
    failed = job(("pilotErrorCode", 1, None), ("exeErrorCode", 2, None), work_queue=4)
    shuffled = list(rules)
    seed.shuffle(shuffled)
    assert set(applied(failed, *rules)) == set(applied(failed, *shuffled))


@given(rules=RULES)
def test_what_applies_is_active_valid_and_about_one_error(rules: list[RetryRule]) -> None:
    failed = job(("pilotErrorCode", 1, None), ("exeErrorCode", 2, None), work_queue=4)
    chosen = [r for r in rules if r.id in applied(failed, *rules)]
    assert all(r.active and (r.expires is None or r.expires > NOW) and r.work_queue in (None, 4) for r in chosen)
    assert len({(r.source, r.code) for r in chosen}) <= 1
    assert len({r.action for r in chosen}) == len(chosen)
