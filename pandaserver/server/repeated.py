"""Requests with an idempotency key: a repeated one gets the first answer, byte for byte, and changes nothing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

from pandaserver.api.answering import Envelope, PilotReply, Response
from pandaserver.api.casting import Upload
from pandaserver.srvcore.errors import BadRequest, PandaError
from pandaserver.taskbuffer.keyed_caller import KeyedCaller
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from pandaserver.taskbuffer.tickets import Ticket

#: Header of an answer that was given before.
REPLAYED: Final = ("Idempotent-Replayed", "true")

#: Header of an answer to somebody without credentials, whose keys cannot be told from those of others.
NOT_KEPT: Final = ("Idempotency-Status", "not kept: anonymous")

_CHUNK: Final = 2**20

#: Serves the request with a task buffer; returns what the handler returned, and its answer.
Serve = Callable[[TaskBuffer], tuple[Any, Response]]


def answer_once(
    task_buffer: TaskBuffer, ticket: Ticket, seconds: Callable[[], float], serve: Serve, *, writes: bool
) -> Response:
    """Return the kept answer, or serve the request and keep its answer if it changed something.

    An answer that tells of a failure and changed nothing is not kept, nor is that to a question. ``writes`` says that
    the request may change what is not in the database, such as files.
    """
    kept = task_buffer.within(seconds()).keptAnswer(ticket)
    if kept is not None:
        return _restored(kept)
    caller = KeyedCaller(task_buffer.caller, ticket)
    value, response = serve(TaskBuffer(caller))
    if not (caller.changed or (writes and _succeeded(value, response))):
        return response
    mine = _plain(response)
    try:
        kept = task_buffer.within(max(1.0, seconds())).keepAnswer(ticket, mine)
    except PandaError:  # the proxy has logged it; the changes are kept, and make the same answer again
        return response
    return response if kept == mine else _restored(kept)


def request_digest(verb: str, path: str, fields: Mapping[str, Any]) -> str:
    """Return what tells a request from others: SHA-256 of verb, path, and parameters in any order."""
    try:
        text = json.dumps([verb, path, fields], sort_keys=True, default=_digest_of)
    except RecursionError as problem:
        raise BadRequest("the parameters are nested too deeply") from problem
    return hashlib.sha256(text.encode()).hexdigest()


def _digest_of(value: Any) -> Any:
    if not isinstance(value, Upload):
        raise TypeError(f"a request cannot carry {type(value).__name__}")
    digest = hashlib.sha256()
    while chunk := value.stream.read(_CHUNK):
        digest.update(chunk)
    value.stream.seek(0)
    return [value.filename, value.size, digest.hexdigest()]


def _succeeded(value: Any, response: Response) -> bool:
    if response.status is not HTTPStatus.OK:
        return False
    if isinstance(value, Envelope | PilotReply):
        return value.success
    first = value[0] if isinstance(value, tuple) and value else value
    if isinstance(first, str):  # historical methods say what went wrong in their text
        return not first.startswith("ERROR")
    return first is not False and not (isinstance(first, list) and first and all(item is False for item in first))


def _plain(response: Response) -> dict[str, Any]:
    return {
        "body": response.body,
        "type": response.content_type,
        "status": response.status.value,
        "headers": [list(one) for one in response.headers],
    }


def _restored(kept: Mapping[str, Any]) -> Response:
    headers = tuple((name, value) for name, value in kept["headers"])
    return Response(kept["body"], kept["type"], HTTPStatus(kept["status"]), (*headers, REPLAYED))
