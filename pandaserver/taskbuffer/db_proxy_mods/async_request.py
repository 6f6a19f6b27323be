"""Requests of operators to machines: asked by one transaction, carried out by the daemon of each machine."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from typing import Any, Final

from pandaserver.srvcore.errors import BadRequest, Conflict, DuplicateKey, Forbidden, NotFound
from pandaserver.taskbuffer.async_requests import (
    FAILED,
    GREP,
    LOG_PERMISSION,
    MOST_ATTEMPTS,
    MOST_ERROR,
    MOST_TEXT,
    RUNNING,
    AsyncRequest,
    AsyncState,
    MachineAnswer,
    Order,
)
from pandaserver.taskbuffer.db_proxy_mods import audit
from pandaserver.taskbuffer.db_proxy_mods.user import has_permission
from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.transaction import Transaction

#: Minutes within which a machine must have been seen to be expected to answer.
ALIVE_MINUTES: Final = 10

#: Minutes within which a machine begins with a request; later nobody waits any more.
FRESH_MINUTES: Final = 60

#: Minutes after which a machine that began and did not end is thought to have died of it.
LOST_MINUTES: Final = 10

#: Requests within ten minutes, of all callers together: each costs every machine some work.
MOST_REQUESTS: Final = 100

MACHINES: Final = """
    SELECT machine_name, service_name FROM ATLAS_PANDA.Machine_Heartbeat
    WHERE last_seen > CURRENT_TIMESTAMP - :minutes * INTERVAL '1' MINUTE
    ORDER BY machine_name FETCH FIRST 1000 ROWS ONLY
"""

RECENT: Final = """
    SELECT COUNT(*) FROM ATLAS_PANDA.Async_Requests
    WHERE created_at > CURRENT_TIMESTAMP - :minutes * INTERVAL '1' MINUTE
"""

WAITING: Final = """
    SELECT q.request_id, q.request_type, q.parameters, q.expected_machines, r.status, COALESCE(r.attempts, 0)
    FROM ATLAS_PANDA.Async_Requests q
    LEFT JOIN ATLAS_PANDA.Async_Results r ON r.request_id = q.request_id AND r.machine_name = :machine
    WHERE q.created_at > CURRENT_TIMESTAMP - :fresh * INTERVAL '1' MINUTE
      AND (r.status IS NULL
           OR (r.status = 'running' AND r.started_at < CURRENT_TIMESTAMP - :lost * INTERVAL '1' MINUTE))
    ORDER BY q.created_at, q.request_id FETCH FIRST 1000 ROWS ONLY
"""

REQUEST: Final = """
    SELECT parameters, expected_machines FROM ATLAS_PANDA.Async_Requests WHERE request_id = :request_id
"""

RESULTS: Final = """
    SELECT machine_name, status, result, return_code, truncated, error_msg, started_at, finished_at
    FROM ATLAS_PANDA.Async_Results WHERE request_id = :request_id ORDER BY machine_name
"""

STORE: Final = """
    UPDATE ATLAS_PANDA.Async_Results
    SET status = :status, result = :result, return_code = :return_code, truncated = :truncated,
        error_msg = :error_msg, finished_at = CURRENT_TIMESTAMP
    WHERE request_id = :request_id AND machine_name = :machine AND status = 'running'
"""

AGAIN: Final = """
    UPDATE ATLAS_PANDA.Async_Results SET attempts = attempts + 1, started_at = CURRENT_TIMESTAMP
    WHERE request_id = :request_id AND machine_name = :machine AND status = 'running' AND attempts = :attempts
"""

OLD: Final = """
    SELECT request_id FROM ATLAS_PANDA.Async_Requests
    WHERE created_at < CURRENT_TIMESTAMP - :days * INTERVAL '1' DAY
    ORDER BY created_at, request_id FETCH FIRST 1000 ROWS ONLY
"""

FORGET_MACHINES: Final = """
    DELETE FROM ATLAS_PANDA.Machine_Heartbeat WHERE last_seen < CURRENT_TIMESTAMP - :days * INTERVAL '1' DAY
"""

FORGET: Final = (
    "DELETE FROM ATLAS_PANDA.Async_Results WHERE request_id IN (:ids[])",
    "DELETE FROM ATLAS_PANDA.Async_Requests WHERE request_id IN (:ids[])",
)


@operation(timeout=60)
def submit_async_request(tx: Transaction, request: AsyncRequest, is_production: bool) -> str:
    """Ask machines to do something and return the identifier under which their answers are found.

    Logs are searched for users whose permissions say so, the rest is for production. A machine or service that has
    not been seen lately is refused, because nobody would answer.
    """
    allowed = has_permission(tx, request.requester, LOG_PERMISSION) if request.kind == GREP else is_production
    if not allowed:
        raise Forbidden(f"{request.requester} may not ask machines for {request.kind}")
    if tx.value(RECENT, minutes=10) >= MOST_REQUESTS:
        raise Conflict(f"there were {MOST_REQUESTS} requests within ten minutes; try again later")
    request_id = secrets.token_hex(16)
    row = {
        "request_id": request_id,
        "request_type": request.kind,
        "service_name": request.service,
        "machine_name": request.machine,
        "parameters": json.dumps({**request.parameters, "requester": request.requester}),
        "expected_machines": json.dumps(_expected(tx, request)),
        "created_at": tx.now(),
    }
    tx.insert("ATLAS_PANDA.Async_Requests", [row])
    target = request.service or request.machine or ""
    audit.record(tx, request.requester, "submitAsyncRequest", "machine", target, kind=request.kind, request=request_id)
    return request_id


def _expected(tx: Transaction, request: AsyncRequest) -> list[str]:
    alive = tx.rows(MACHINES, minutes=ALIVE_MINUTES)
    found = [machine for machine, service in alive if request.machine == machine or request.service == service]
    if not found:
        known = ", ".join(f"{machine} ({service})" for machine, service in alive[:20]) or "none"
        raise BadRequest(f"no machine of that name or service was seen within {ALIVE_MINUTES} minutes; seen: {known}")
    return found


@operation(timeout=60)
def take_async_orders(tx: Transaction, machine: str, service: str, limit: int = 10) -> list[Order]:
    """Say that a machine lives, and return what it has to do; nobody else on that machine is given the same.

    What a machine began and did not end in time is given to it once more, and then counts as failed.
    """
    tx.upsert(
        "ATLAS_PANDA.Machine_Heartbeat",
        {"machine_name": machine},
        {"service_name": service, "last_seen": tx.now()},
    )
    orders: list[Order] = []
    for request_id, kind, parameters, expected, status, attempts in tx.rows(
        WAITING, machine=machine, fresh=FRESH_MINUTES, lost=LOST_MINUTES
    ):
        if machine not in json.loads(expected or "[]") or len(orders) >= limit:
            continue
        if attempts >= MOST_ATTEMPTS:
            _store(tx, request_id, machine, MachineAnswer(FAILED, return_code=2, error="began and never ended"))
        elif _begin(tx, request_id, machine, status, attempts):
            orders.append(Order(request_id, kind, json.loads(parameters or "{}")))
    return orders


def _begin(tx: Transaction, request_id: str, machine: str, status: str | None, attempts: int) -> bool:
    if status is not None:
        return tx.change(AGAIN, request_id=request_id, machine=machine, attempts=attempts) == 1
    row = {
        "request_id": request_id,
        "machine_name": machine,
        "status": RUNNING,
        "attempts": 1,
        "truncated": 0,
        "started_at": tx.now(),
    }
    try:
        with tx.savepoint():
            tx.insert("ATLAS_PANDA.Async_Results", [row])
    except DuplicateKey:
        return False  # another worker of this machine was faster
    return True


@operation(timeout=60)
def store_async_answer(tx: Transaction, request_id: str, machine: str, answer: MachineAnswer) -> bool:
    """Keep what a machine answers; return False if it was not asked, or has answered."""
    return _store(tx, request_id, machine, answer)


def _store(tx: Transaction, request_id: str, machine: str, answer: MachineAnswer) -> bool:
    changed = tx.change(
        STORE,
        request_id=request_id,
        machine=machine,
        status=answer.status,
        result=answer.text[:MOST_TEXT] or None,
        return_code=answer.return_code,
        truncated=int(answer.truncated or len(answer.text) > MOST_TEXT),
        error_msg=answer.error[:MOST_ERROR] or None,
    )
    return changed == 1


@operation(timeout=60, repeatable=True)
def get_async_state(tx: Transaction, request_id: str, caller: str, is_production: bool) -> AsyncState:
    """Return what machines answered so far, to the requester and to production.

    For anybody else there is no such request.
    """
    row = tx.one(REQUEST, request_id=request_id[:64])
    requester = json.loads(row[0] or "{}").get("requester", "") if row else ""
    if row is None or not (is_production or (caller and caller == requester)):
        raise NotFound(f"there is no request {request_id[:64]!r} of {caller}")
    results: Sequence[dict[str, Any]] = tx.dicts(RESULTS, request_id=request_id)
    return AsyncState(requester, tuple(json.loads(row[1] or "[]")), tuple(results))


@operation(timeout=60)
def forget_async_requests(tx: Transaction, days: float) -> int:
    """Delete some requests of that many days ago, with their answers, and machines not seen since; return how many."""
    tx.change(FORGET_MACHINES, days=days)
    ids = [row[0] for row in tx.rows(OLD, days=days)]
    for text in FORGET if ids else ():
        tx.change(text, ids=ids)
    return len(ids)
