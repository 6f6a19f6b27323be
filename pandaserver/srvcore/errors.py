"""The error taxonomy: what can go wrong, in terms a caller can act on.

Encoders (``pandaserver.api.answering``) alone know how each door reports an error; dialects map driver exceptions to
the database errors once. Anything that is not a :class:`PandaError` is a bug.
"""

from __future__ import annotations

from typing import Any, ClassVar


class PandaError(Exception):
    """Root of the errors that this program raises on purpose. ``details`` are facts for the log and the caller."""

    code: ClassVar[str] = "error"

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details = details


class RequestError(PandaError):
    """The caller asked for something that cannot be done as asked."""

    code = "request"


class BadRequest(RequestError):
    """A parameter is missing, of a wrong type, too large or unreadable; the message names it and the fix."""

    code = "bad_request"


class NotAuthenticated(RequestError):
    """A credential was offered and is not valid."""

    code = "not_authenticated"


class Forbidden(RequestError):
    """The caller is known (or anonymous) and may not do this."""

    code = "forbidden"


class NotFound(RequestError):
    """The named thing does not exist."""

    code = "not_found"


class Conflict(RequestError):
    """The thing exists but its state does not allow this."""

    code = "conflict"


class StorageError(RequestError):
    """This machine could not keep a file, and nothing of it is left: the disk is full, or cannot be written."""

    code = "storage"


class KeyReused(Conflict):
    """The idempotency key of a request stands for another request of the same caller."""

    code = "key_reused"


class StillAtWork(Conflict):
    """The first request with the same idempotency key has not ended yet; asking again later is safe."""

    code = "still_at_work"


class TooManyRequests(RequestError):
    """The caller asks more often than the configuration allows; ``details`` has the seconds to wait as ``wait``."""

    code = "too_many_requests"


class DatabaseError(PandaError):
    """The database could not do its part."""

    code = "database"


class Unavailable(DatabaseError):
    """The call was not executed, so repeating it is safe."""

    code = "unavailable"


class OutcomeUnknown(DatabaseError):
    """The deadline passed or the child was lost after sending: the call may have been executed."""

    code = "outcome_unknown"


class Busy(DatabaseError):
    """A row or a bridge was in use for longer than the caller could wait. Nothing was executed."""

    code = "busy"


class DuplicateKey(DatabaseError):
    """An insert met a row with the same key. Operations that expect it wrap the insert in ``tx.savepoint()``."""

    code = "duplicate_key"


class LockLost(DatabaseError):
    """Deadlock, serialisation failure or lost lock race: everything was rolled back, so running it again is safe."""

    code = "lock_lost"


class ExternalError(PandaError):
    """Another service failed: Rucio, IAM, mail."""

    code = "external"


def _all_errors(root: type[PandaError]) -> dict[str, type[PandaError]]:
    found = {root.code: root}
    for child in root.__subclasses__():
        found |= _all_errors(child)
    return found


#: Error class by its code: how errors travel through the bridge.
ERROR_BY_CODE: dict[str, type[PandaError]] = _all_errors(PandaError)
