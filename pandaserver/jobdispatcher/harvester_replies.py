"""How harvesters of the historical door are answered: pairs of success and what to say, and never a surprise.

A harvester whose thread meets a reply that it does not expect loses the thread for good, so a database that is away is
an ordinary answer here.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import wraps
from typing import Any, Final, TypeVar

from pandacommon.pandalogger.PandaLogger import PandaLogger
from pandaserver.api.answering import Envelope, json_answer
from pandaserver.api.registry import (
    Auth,
    Call,
    Door,
    largest_body,
    request,
)
from pandaserver.srvcore.errors import BadRequest, DatabaseError
from pandaserver.srvcore.json_size import refuse_many_values

F = TypeVar("F", bound=Callable[..., Any])

_logger = PandaLogger().getLogger("HarvesterRequests")

#: What a harvester is told about a field that is no JSON of the right kind.
UNREADABLE: Final = "failed to load JSON"

#: What most methods say when the database is away.
NO_DATABASE: Final = "database error in the panda server"


def json_of(kind: type | tuple[type, ...]) -> Callable[[Any], Any]:
    """Return a reader of JSON text, or of what a JSON body had there already, that must be of that kind."""

    def read(raw: Any) -> Any:
        if isinstance(raw, str):
            refuse_many_values(raw)
        try:
            value = json.loads(raw) if isinstance(raw, str) else raw
        except (ValueError, RecursionError) as problem:
            raise BadRequest(UNREADABLE) from problem
        if not isinstance(value, kind):
            raise BadRequest(UNREADABLE)
        return value

    return read


def optional_json_of(kind: type) -> Callable[[Any], Any]:
    """Return the same for a field that may say nothing."""
    read = json_of(kind)
    return lambda raw: None if raw in ("", "null", "None") else read(raw)


def require_name(harvester_id: str) -> None:
    """Refuse an instance without a name: its rows would be nobody's."""
    if not harvester_id:
        raise BadRequest("the name of the harvester instance is empty")


def pair(message: str) -> list[Any]:
    """Return how a method of the pair family says that something is wrong."""
    return [False, UNREADABLE if message.endswith(UNREADABLE) else message]


def survives_database(answer: Any) -> Callable[[F], F]:
    """Let a handler answer the historical door with that value, under status 200, while the database is away."""

    def decorate(handler: F) -> F:
        @wraps(handler)
        def served(call: Call, *args: Any, **kwargs: Any) -> Any:
            try:
                return handler(call, *args, **kwargs)
            except DatabaseError as error:
                if call.door is not Door.LEGACY:
                    raise
                _logger.warning(f"{handler.__name__} failed: {type(error).__name__} {error.message}")
                return Envelope(legacy=answer)

        return served  # type: ignore[return-value]

    return decorate


def pair_request(*, v1: str | None, legacy: str, auth: Auth, away: str = NO_DATABASE) -> Callable[[F], F]:
    """Declare a request of the pair family, whose historical answer is ``[success, what there is to say]``.

    ``away`` is what it says while the database is away.
    """
    declared = request(
        v1=v1,
        legacy=legacy,
        method="POST",
        auth=auth,
        answer=json_answer,
        refused=pair,
        failed=pair,
        body_limit=largest_body,
    )
    survives = survives_database([False, away])

    def declare(handler: F) -> F:
        return declared(survives(handler))

    return declare
