"""Every rule of copyArchive has a test: the list is the field's, by hand, and each test module names what it covers."""

from __future__ import annotations

from pandaserver.taskbuffer.expiry import ExpiryRule, expiry_rules, old_rules
from pandaserver.taskbuffer.lost_jobs import LostRule, heartbeat_rules, production_rule, too_old_rule, workflow_rules
from pandaserver.taskbuffer.time_limits import DEFAULTS
from tests.db import (
    test_job_expiry,
    test_job_watch,
    test_rebrokerage,
    test_retry_rules,
    test_sandbox_check,
    test_time_limits,
)

MODULES = (
    test_job_expiry,
    test_job_watch,
    test_rebrokerage,
    test_retry_rules,
    test_sandbox_check,
    test_time_limits,
)

#: Rules about heartbeats, then rules about jobs that nobody moves, then chores.
RULES = """
    analysis heartbeat; analysis transferring; sent; holding analysis; holding high priority; holding;
    production heartbeat; per workflow;
    old defined; old activated; fast rebrokerage; inactive queue; defined stuck; long in defined; long activated;
    long starting; old analysis; pending; waiting merge; waiting; long event service; long event service merge;
    old waiting; analysis rebrokerage; too old; ddm; throttled; invalid merge; stuck merging; finalizer; jumbo clean-up;
    files; sandbox; retry rules
"""


def test_every_rule_has_a_test() -> None:
    wanted = {name.strip() for name in RULES.split(";")}
    covered = set[str]().union(*(module.COVERS for module in MODULES))
    assert covered == wanted


def test_every_rule_that_is_applied_is_one_of_the_field() -> None:
    """A rule that somebody adds has to appear in the list, and with it in a test."""
    applied: list[ExpiryRule | LostRule] = [
        *expiry_rules(DEFAULTS),
        *old_rules(DEFAULTS),
        *heartbeat_rules(2, 48),
        production_rule(2, ()),
        too_old_rule(1),
    ]
    assert {rule.name for rule in applied} <= {name.strip() for name in RULES.split(";")}
    assert {rule.name for rule in workflow_rules("push", 1, ["A"])} == {"push heartbeat"}
