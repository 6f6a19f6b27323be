"""Changes that are made once: what a request with an idempotency key did is kept by the transaction that does it.

A request is a row of changes. Each is one call of an operation, known by its name and number; its result is stored in
the transaction of the change. Whoever repeats the request gets the results of the changes that were made, and makes
those that were not. The finished answer has a row, too: bookkeeping, because it could be made again from the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pandaserver.srvcore.errors import Conflict, DuplicateKey, KeyReused, LockLost, StillAtWork, Unavailable
from pandaserver.taskbuffer.kept_values import kept, restored
from pandaserver.taskbuffer.operation import find_operation, operation
from pandaserver.taskbuffer.tickets import Ticket
from pandaserver.taskbuffer.transaction import Transaction

#: What the row of the finished answer has for an operation.
ANSWER: Final = "answer"

#: What stands for a result that is too long to be kept.
TOO_LONG: Final = "-"

FIND: Final = """
    SELECT requestHash, result FROM ATLAS_PANDA.panda_idempotency
    WHERE owner = :owner AND key = :key AND operation = :operation AND step = :step
"""

FINISH: Final = """
    UPDATE ATLAS_PANDA.panda_idempotency SET result = :result
    WHERE owner = :owner AND key = :key AND operation = :operation AND step = :step
"""

FORGET: Final = """
    DELETE FROM ATLAS_PANDA.panda_idempotency
    WHERE owner = :owner AND key = :key AND operation = :operation AND step = :step
"""


#: Seconds that are left of a call when waiting for somebody else has taken the rest.
NOTHING_LEFT: Final = 1.0


@operation(timeout=600)
def once(
    tx: Transaction,
    ticket: Ticket,
    step: int,
    name: str,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    always: bool = False,
) -> tuple[Any, bool]:
    """Run an operation unless it is done; return what it returned, then or now, and whether it changed anything.

    The row comes before the change, so that of two requests at the same moment the second one waits, by the unique key,
    for the end of the first one's transaction. An operation that changes nothing leaves no row, except ``always``.
    """
    place = _place(ticket, name, step)
    row = tx.one(FIND, **place)
    if row is not None:
        return _done(ticket, row), True
    _reserve(tx, ticket, place)
    before = tx.changes
    value = find_operation(name)(tx, *args, **kwargs)
    if tx.changes == before and not always:
        tx.change(FORGET, **place)
        return value, False
    tx.change(FINISH, result=kept(value) or TOO_LONG, **place)
    return value, tx.changes > before + 1


@operation(timeout=60, repeatable=True)
def kept_answer(tx: Transaction, ticket: Ticket) -> Any:
    """Return the finished answer to a request, None if there is none."""
    row = tx.one(FIND, **_place(ticket, ANSWER, 1))
    return None if row is None else _done(ticket, row)


@operation(timeout=60)
def keep_answer(tx: Transaction, ticket: Ticket, answer: Any) -> Any:
    """Keep the finished answer unless it is too long, and return what is kept: another one may have been quicker."""
    text = kept(answer)
    if text is None:
        return answer
    place = _place(ticket, ANSWER, 1)
    row = tx.one(FIND, **place)
    if row is not None:
        return _done(ticket, row)
    _reserve(tx, ticket, place, text)
    return answer


def _place(ticket: Ticket, name: str, step: int) -> dict[str, Any]:
    return {"owner": ticket.owner, "key": ticket.key, "operation": name, "step": step}


def _reserve(tx: Transaction, ticket: Ticket, place: Mapping[str, Any], result: str | None = None) -> None:
    row = {**place, "requestHash": ticket.request_hash, "result": result, "creationTime": tx.now()}
    try:
        tx.insert("ATLAS_PANDA.panda_idempotency", [row])
    except DuplicateKey as error:
        raise LockLost(f"another request with Idempotency-Key {ticket.key} was faster") from error
    except (LockLost, Unavailable) as error:
        if tx.cursor.session.lost or tx.remaining() > NOTHING_LEFT:
            raise
        raise StillAtWork(
            f"the first request with Idempotency-Key {ticket.key} is still at work: repeat it later"
        ) from error


def _done(ticket: Ticket, row: Sequence[Any]) -> Any:
    request_hash, result = row
    if request_hash != ticket.request_hash:
        raise KeyReused(
            f"Idempotency-Key {ticket.key} was used for another request: repeat that one as it was, or use a new key"
        )
    if result == TOO_LONG:
        raise Conflict(
            "this request was executed already, and its result was too long to be kept; nothing was repeated"
        )
    try:
        return restored(result)
    except LookupError as error:
        raise Conflict(
            f"this request was executed already, by another release of this server ({error}); nothing was repeated"
        ) from error
