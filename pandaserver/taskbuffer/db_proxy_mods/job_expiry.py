"""Giving up jobs that nobody moves: found and ended in one transaction, so a job that moves meanwhile is spared."""

from __future__ import annotations

from typing import Any, Final

from pandaserver.taskbuffer.db_proxy_mods.job_kill import kill_jobs
from pandaserver.taskbuffer.db_proxy_mods.job_load import load_jobs
from pandaserver.taskbuffer.db_proxy_mods.job_reassign import reset_jobs
from pandaserver.taskbuffer.expiry import SET_UP_AGAIN, ExpiryRule
from pandaserver.taskbuffer.JobSpec import JobSpec
from pandaserver.taskbuffer.kill import Killer, KillRequest
from pandaserver.taskbuffer.lost_jobs import LONGEST_LIST, batched
from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.transaction import Transaction

SYSTEM: Final = Killer(is_system=True)


@operation(timeout=120)
def expire_jobs(tx: Transaction, rule: ExpiryRule, limit: int) -> list[JobSpec]:
    """End up to ``limit`` jobs that the rule gives up, or set them up again; return them, with files, as they were.

    A job that somebody else holds at that moment, such as a heartbeat, is spared.
    """
    where = list(rule.where)
    binds: dict[str, Any] = {"minutes": rule.minutes, **dict(rule.binds)}
    for n, names in enumerate(batched(rule.except_sites, LONGEST_LIST)):
        where.append(f"(computingSite IS NULL OR computingSite NOT IN (:except_sites{n}[]))")
        binds[f"except_sites{n}"] = list(names)
    ids = tx.claim(f"ATLAS_PANDA.{rule.table}", key="PandaID", limit=limit, where=where, binds=binds, order="PandaID")
    if not ids:
        return []
    jobs = load_jobs(tx, ids, tables=(rule.table,), parameters=False)
    if rule.code is SET_UP_AGAIN:
        done = set(reset_jobs(tx, ids))
    else:
        request = KillRequest(
            tuple(ids),
            SYSTEM,
            rule.code,
            diag=f"too long without progress: {rule.name}",
            sub_status=rule.sub_status,
            keep_unmerged=rule.keep_unmerged,
        )
        done = {pid for pid, was_killed in zip(ids, kill_jobs(tx, request), strict=True) if was_killed}
    return [job for job in jobs if job.PandaID in done]
