"""Giving up jobs that nobody moves: found and killed in one transaction, so a job that moves meanwhile is spared."""

from __future__ import annotations

from typing import Final

from pandaserver.taskbuffer.db_proxy_mods.job_kill import kill_jobs
from pandaserver.taskbuffer.db_proxy_mods.job_load import load_jobs
from pandaserver.taskbuffer.expiry import ExpiryRule
from pandaserver.taskbuffer.JobSpec import JobSpec
from pandaserver.taskbuffer.kill import Killer, KillRequest
from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.transaction import Transaction

SYSTEM: Final = Killer(is_system=True)


@operation(timeout=120)
def expire_jobs(tx: Transaction, rule: ExpiryRule, limit: int) -> list[JobSpec]:
    """Kill up to ``limit`` jobs that the rule gives up; return those that were killed, with files, as they were."""
    ids = tx.claim(
        f"ATLAS_PANDA.{rule.table}",
        key="PandaID",
        limit=limit,
        where=rule.conditions,
        binds={"minutes": rule.minutes},
        order="PandaID",
    )
    if not ids:
        return []
    jobs = load_jobs(tx, ids, tables=(rule.table,), parameters=False)
    request = KillRequest(tuple(ids), SYSTEM, rule.code, diag=f"too long without progress: {rule.name}")
    killed = {pid for pid, was_killed in zip(ids, kill_jobs(tx, request), strict=True) if was_killed}
    return [job for job in jobs if job.PandaID in killed]
