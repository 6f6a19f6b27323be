"""Looking for jobs among many: what is looked up beside each of them is found by a key, never read as a whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import pytest

from pandaserver.taskbuffer.connection_settings import ConnectionSettings
from pandaserver.taskbuffer.db_proxy_mods import event_jumbo, job_archive, job_expiry, job_watch, transfer
from pandaserver.taskbuffer.dialects.postgres import PostgresSession
from pandaserver.taskbuffer.expiry import old_rules
from pandaserver.taskbuffer.lost_jobs import heartbeat_rules, too_old_rule
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from pandaserver.taskbuffer.time_limits import DEFAULTS

#: Operations that look at reports, or at ranges, of many jobs, and what they are asked.
SEARCHES: Final[Sequence[tuple[Any, tuple[Any, ...]]]] = (
    *((job_expiry.expire_jobs, (rule, 100)) for rule in old_rules(DEFAULTS)),
    *((job_watch.fail_lost_jobs, (rule, 100)) for rule in (*heartbeat_rules(2, 48), too_old_rule(30_000))),
    (transfer.fail_overdue_transfers, (48, 24, 100)),
    (job_archive.archive_jobs, (3, 100)),
    (event_jumbo.finish_co_jumbo_jobs, (30, 100)),
    (event_jumbo.cleanup_jumbo_jobs, (100,)),
)

#: Tables that may be long, and those of few rows that are read as a whole at a glance.
LONG: Final = ("job_output_report", "jedi_events")


@pytest.mark.parametrize(("operation", "args"), SEARCHES, ids=lambda value: getattr(value, "name", None))
def test_a_long_queue_beside_jobs_is_not_read_again_for_each_of_them(
    tbuf: TaskBuffer,
    database: ConnectionSettings,
    monkeypatch: pytest.MonkeyPatch,
    operation: Any,
    args: tuple[Any, ...],
) -> None:
    if database.backend != "postgres":
        pytest.skip("only PostgreSQL reads a long list again for each row")
    plans: list[str] = []
    execute = PostgresSession.execute

    def explain(session: PostgresSession, text: str, values: Mapping[str, Any] | Sequence[Any]) -> Any:
        if text.lstrip().startswith("SELECT"):
            plans.append("\n".join(row[0] for row in execute(session, f"EXPLAIN {text}", values).fetchall()))
        return execute(session, text, values)

    monkeypatch.setattr(PostgresSession, "execute", explain)
    tbuf.caller.call(operation, args, {})
    assert plans
    assert not [plan for plan in plans if "SubPlan" in plan and any(f" on {name}" in plan for name in LONG)]
