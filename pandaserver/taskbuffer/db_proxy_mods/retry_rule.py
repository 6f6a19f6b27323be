"""Retry rules in the database: reading them, and evaluating them for jobs that have failed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pandaserver.taskbuffer.db_proxy_mods.remembered import remembered
from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.retry_rules import DIAGS, Decision, FailedJob, RetryRule, decide, unreadable
from pandaserver.taskbuffer.transaction import Transaction

#: Seconds for which a connection trusts the rules that it has read.
RULES_LIFETIME: Final = 60.0

RULES: Final = """
    SELECT e.retryError_ID, e.errorSource, e.errorCode, a.retry_action, e.active, a.active, e.errorDiag, e.parameters,
        e.architecture, e.release, e.workQueue_ID, e.expiration_date
    FROM ATLAS_PANDA.RetryErrors e, ATLAS_PANDA.RetryActions a
    WHERE a.retryAction_ID = e.retryAction
    ORDER BY e.retryError_ID
"""

_CODES: Final = tuple(DIAGS)
_TEXTS: Final = tuple(diag for diag in DIAGS.values() if diag)

FAILED: Final = f"""
    SELECT PandaID, jediTaskID, attemptNr, maxAttempt, cmtConfig, AtlasRelease, workQueue_ID,
        {", ".join((*_CODES, *_TEXTS))}
    FROM ATLAS_PANDA.jobsArchived4
    WHERE PandaID IN (:ids[]) AND jobStatus = 'failed'
    ORDER BY PandaID
"""


@operation(timeout=60, repeatable=True)
def evaluate_retry_rules(tx: Transaction, ids: Sequence[int], sources: Sequence[str]) -> list[Decision]:
    """Return what the retry rules want done about those of the jobs that are ``failed``.

    ``sources`` are error columns in the order in which they are asked.
    """
    rules = remembered(tx, "retry rules", RULES_LIFETIME, _read_rules)
    if not rules or not ids:
        return []
    now = tx.now()
    return [
        decision for row in tx.rows(FAILED, ids=list(ids)) for decision in decide(_failed_job(row, sources), rules, now)
    ]


@operation(timeout=30, repeatable=True)
def check_retry_rules(tx: Transaction) -> list[str]:
    """Return what is wrong with the retry rules that can never apply."""
    return unreadable(_read_rules(tx))


def _read_rules(tx: Transaction) -> list[RetryRule]:
    return [
        RetryRule(
            id=row[0],
            source=row[1],
            code=row[2],
            action=row[3],
            active=row[4] == "Y" and row[5] == "Y",
            diag=row[6],
            parameters=row[7],
            architecture=row[8],
            release=row[9],
            work_queue=row[10],
            expires=row[11],
        )
        for row in tx.rows(RULES)
    ]


def _failed_job(row: tuple[object, ...], sources: Sequence[str]) -> FailedJob:
    facts, values = row[:7], dict(zip((*_CODES, *_TEXTS), row[7:], strict=True))
    errors = []
    for source in sources:
        code, diag = _number(values[source]), DIAGS[source]
        if code:
            errors.append((source, code, str(values[diag] or "") if diag else None))
    panda_id, task, attempt, max_attempt, architecture, release, work_queue = facts
    return FailedJob(
        int(str(panda_id)),
        None if task is None else int(str(task)),
        int(str(attempt or 0)),
        None if max_attempt is None else int(str(max_attempt)),
        tuple(errors),
        None if architecture is None else str(architecture),
        None if release is None else str(release),
        None if work_queue is None else int(str(work_queue)),
    )


def _number(value: object) -> int:
    """Return an error code, which one column keeps as text."""
    try:
        return int(str(value or 0))
    except ValueError:
        return 0
