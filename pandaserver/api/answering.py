"""Results and errors into bytes: pilots, plain text, pickles, JSON and the v1 envelope.

Encoders alone know wire formats, HTTP status and StatusCode. They know nothing of HTTP servers or of routes.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from http import HTTPStatus
from typing import Any, Final, Protocol
from urllib.parse import quote_plus

from pandaserver.srvcore.errors import (
    Busy,
    DatabaseError,
    DuplicateKey,
    Forbidden,
    KeyReused,
    LockLost,
    NotAuthenticated,
    PandaError,
    StillAtWork,
    TooManyRequests,
    Unavailable,
)
from pandaserver.taskbuffer.client_jobs import job_as_mapping
from pandaserver.taskbuffer.JobSpec import JobSpec
from pandaserver.taskbuffer.WrappedPickle import dump_for_clients

#: StatusCode of pilots. The numbers are shared with every pilot.
TIMEOUT: Final = 10
NO_JOBS: Final = 20
FAILED: Final = 30
ROLE_MISSING: Final = 60

#: Seconds after which a caller may try again when nothing was executed.
RETRY_AFTER: Final = "10"

#: Errors after which a pilot shall ask again.
_TRY_LATER: Final = DatabaseError | StillAtWork | TooManyRequests

TEXT: Final = "text/plain; charset=utf-8"
JSON: Final = "application/json"


@dataclass(frozen=True, slots=True)
class Response:
    """What goes back over HTTP."""

    body: bytes
    content_type: str = TEXT
    status: HTTPStatus = HTTPStatus.OK
    headers: tuple[tuple[str, str], ...] = ()


class Text(str):
    """A reply that is this text at both doors, whatever the encoder of the request would make of a value."""

    __slots__ = ()


class PilotReply(dict[str, Any]):
    """A flat map for pilots that begins with StatusCode; v1 finds in ``message`` and ``success`` what pilots do not."""

    def __init__(
        self,
        status_code: int = 0,
        fields: Mapping[str, Any] | None = None,
        *,
        message: str = "",
        success: bool | None = None,
    ) -> None:
        super().__init__(StatusCode=status_code, **(fields or {}))
        self.message = message
        self.success = status_code == 0 if success is None else success


@dataclass(frozen=True, slots=True)
class Envelope:
    """A v1 reply whose message or success flag says more than its data, and what the historical door says instead."""

    data: Any = None
    message: str = ""
    success: bool = True
    legacy: Any = None  # None: the data


class Encoder(Protocol):
    """How one family of requests answers."""

    @property
    def family(self) -> str:
        """The name of the family, for documents."""

    def result(self, value: Any, accepts_json: bool, /) -> Response:
        """Return the reply that carries a handler's result."""

    def error(self, error: PandaError, accepts_json: bool, /) -> Response:
        """Return the reply to an error; callers handle what is the same everywhere, see :func:`answer_error`."""


class _Legacy:
    """What the encoders of the historical door share."""

    def __init__(self, family: str, encode: Callable[[Any], bytes], content_type: str) -> None:
        self.family = family
        self._encode = encode
        self._content_type = content_type

    def result(self, value: Any, _accepts_json: bool, /) -> Response:
        if isinstance(value, Envelope):
            value = value.data if value.legacy is None else value.legacy
        if isinstance(value, Text):
            return Response(value.encode(errors="replace"))
        return Response(self._encode(value), self._content_type)

    def error(self, error: PandaError, _accepts_json: bool, /) -> Response:
        if isinstance(error, Forbidden):
            return Response(b"False")
        return _error_text(error)


class _Pilot:
    """Flat maps with a StatusCode, as form text or as JSON by the request's Accept header."""

    family = "pilot"

    def result(self, value: Any, accepts_json: bool, /) -> Response:
        if isinstance(value, Envelope):
            value = value.data if value.legacy is None else value.legacy
        if isinstance(value, Text) or not isinstance(value, Mapping):
            return Response(str(value).encode(errors="replace"))
        if accepts_json:
            return Response(json.dumps(value, default=_json_for_pilots).encode(), JSON)
        # No newline at the end of either form: the pilot's test for JSON is whether the last character is a brace.
        return Response("&".join([f"{_quoted_name(k)}={_quoted(_form_text(v))}" for k, v in value.items()]).encode())

    def error(self, error: PandaError, accepts_json: bool, /) -> Response:
        code = error.details.get("status_code", _pilot_code(error))
        told = accepts_json or not isinstance(error, Forbidden)  # the form never said why a role is missing
        return self.result(PilotReply(code, {"errorDialog": error.message} if told else {}), accepts_json)


class _Heartbeat(_Pilot):
    """The same, but a heartbeat that the database did not take is never answered in JSON.

    The pilot's second stack, curl, looks at no HTTP status and takes whatever is JSON for success: it would not send
    its final report again. The form is an error to it, and has the code for everybody else.
    """

    def error(self, error: PandaError, accepts_json: bool, /) -> Response:
        return super().error(error, accepts_json and not isinstance(error, _TRY_LATER))


class _V1:
    """The envelope ``{"success", "message", "data"}``, always JSON."""

    family = "envelope"

    def result(self, value: Any, _accepts_json: bool, /) -> Response:
        match value:
            case Text():
                return Response(value.encode(errors="replace"))
            case Envelope():
                return _enveloped(value.success, value.message, value.data)
            case PilotReply():
                return _enveloped(value.success, value.message or value.get("errorDialog", ""), value)
            case _:
                return _enveloped(True, "", value)

    def error(self, error: PandaError, _accepts_json: bool, /) -> Response:
        return _enveloped(False, error.message, error.details.get("data"))


def _enveloped(success: bool, message: str, data: Any) -> Response:
    body = {"success": success, "message": message, "data": data}
    return Response(json.dumps(body, default=_json_for_v1).encode(), JSON)


def _pilot_code(error: PandaError) -> int:
    if isinstance(error, Forbidden):
        return ROLE_MISSING
    return TIMEOUT if isinstance(error, _TRY_LATER) else FAILED


#: Text that means itself in a form: most values of a job are words and numbers, and asking is cheaper than quoting.
_PLAIN_TEXT: Final = re.compile(r"[A-Za-z0-9_.~-]*")


#: How each ASCII character stands in a form; looking it up is twice as quick as the standard library's quoting.
_IN_FORMS: Final = {chr(code): quote_plus(chr(code)) for code in range(128)}


def _quoted(text: str) -> str:
    if _PLAIN_TEXT.fullmatch(text):
        return text
    return "".join(map(_IN_FORMS.__getitem__, text)) if text.isascii() else quote_plus(text)


@lru_cache(1000)
def _quoted_name(name: str) -> str:
    return quote_plus(name)


def _form_text(value: Any) -> str:
    # Pilots evaluate the text of a mapping as a Python literal, and read a list as JSON.
    if type(value) is str:  # most are, and asking for two types costs more than all the rest
        return value
    return json.dumps(value, default=_json_for_pilots) if isinstance(value, (list, tuple)) else str(value)


def _json_for_pilots(value: Any) -> Any:
    if isinstance(value, datetime):
        return str(value)
    return _plain(value)


def _json_for_v1(value: Any) -> Any:
    if isinstance(value, datetime):
        return {"__datetime__": value.isoformat()}
    return _plain(value)


def _plain(value: Any) -> Any:
    if isinstance(value, JobSpec):
        return job_as_mapping(value)
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, set | frozenset):
        return sorted(value)
    raise TypeError(f"a reply cannot carry {type(value).__name__}")


pilot_answer: Final[Encoder] = _Pilot()
heartbeat_answer: Final[Encoder] = _Heartbeat()
plain_answer: Final[Encoder] = _Legacy("plain", lambda value: str(value).encode(errors="replace"), TEXT)
pickle_answer: Final[Encoder] = _Legacy("pickle", dump_for_clients, TEXT)
json_answer: Final[Encoder] = _Legacy("json", lambda value: json.dumps(value, default=_json_for_pilots).encode(), JSON)
envelope_answer: Final[Encoder] = _V1()


# ---- errors ----------------------------------------------------------------------------------------------------------


def answer_error(error: PandaError, encoder: Encoder, accepts_json: bool) -> Response:
    """Return the reply to an error that was raised on purpose: the table of errors in one place."""
    if isinstance(error, NotAuthenticated):
        return _error_text(error, HTTPStatus.FORBIDDEN)
    reply = encoder.error(error, accepts_json)
    if not isinstance(error, DatabaseError):
        return _with_status(reply, error, at_v1=encoder is envelope_answer)
    safe = isinstance(error, Busy | Unavailable | LockLost)
    headers = (("Retry-After", RETRY_AFTER),) if safe else ()
    return Response(reply.body, reply.content_type, HTTPStatus.SERVICE_UNAVAILABLE, headers)


def _with_status(reply: Response, error: PandaError, *, at_v1: bool) -> Response:
    """Return the reply with the HTTP status of those few errors that have one, and with when to come again.

    The historical door has one for callers who ask too often only: clients there read the text, whatever the status.
    """
    match error:
        case TooManyRequests():
            wait = str(max(1, math.ceil(error.details.get("wait", 1))))
            return replace(reply, status=HTTPStatus.TOO_MANY_REQUESTS, headers=(("Retry-After", wait),))
        case StillAtWork() if at_v1:
            return replace(reply, status=HTTPStatus.CONFLICT, headers=(("Retry-After", RETRY_AFTER),))
        case KeyReused() if at_v1:
            return replace(reply, status=HTTPStatus.UNPROCESSABLE_ENTITY)
    return reply


def is_bug(error: Exception) -> bool:
    """Return whether an error was not meant to reach a caller."""
    return not isinstance(error, PandaError) or isinstance(error, DuplicateKey)


def answer_bug(request_id: str) -> Response:
    """Return the reply to an error that nobody foresaw; the log has the rest under the request's id."""
    text = f"internal error, request id {request_id}"
    return Response(text.encode(), status=HTTPStatus.INTERNAL_SERVER_ERROR)


def unknown_method(name: str, *, at_v1: bool) -> Response:
    """Return the reply to a name that no request has."""
    shown = name[:200]
    if at_v1:
        return Response(f"ERROR : method {shown} is forbidden".encode(errors="replace"), status=HTTPStatus.FORBIDDEN)
    return Response(f"False : {shown} is forbidden".encode(errors="replace"))


def _error_text(error: PandaError, status: HTTPStatus = HTTPStatus.OK) -> Response:
    return Response(f"ERROR : {error.message}".encode(errors="replace"), status=status)
