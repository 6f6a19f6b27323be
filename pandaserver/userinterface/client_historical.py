"""Calls of the historical interface: encoding what is sent, and reading pickles, JSON and text."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from pandaserver.srvcore.errors import BadRequest, ExternalError
from pandaserver.taskbuffer.client_jobs import job_from_state
from pandaserver.taskbuffer.WrappedPickle import Record, loads
from pandaserver.userinterface.client_connection import Connection

#: Status of a call that went well, and of one that did not; the second element of the reply tells why.
OK: Final = 0
FAILED: Final = 255

#: What every historical function returns: a status and the reply, or what went wrong.
Reply = tuple[int, Any]


class Unreadable(Exception):
    """The reply is not of the form that the method has."""


def pickled(body: bytes) -> Any:
    """Read a pickle of plain values and jobs; nothing else in it is run."""
    try:
        return _with_jobs(loads(body))
    except BadRequest as problem:
        raise Unreadable from problem


def _with_jobs(value: Any) -> Any:
    if isinstance(value, Record):
        return job_from_state(value.state)
    if isinstance(value, list) and any(isinstance(entry, Record) for entry in value):
        return [_with_jobs(entry) for entry in value]
    return value


def jsoned(body: bytes) -> Any:
    """Read JSON."""
    try:
        return json.loads(body)
    except ValueError as problem:
        raise Unreadable from problem


def plain(body: bytes) -> str:
    """Read text; one that begins with ERROR is no reply."""
    if body.startswith(b"ERROR"):
        raise Unreadable
    return body.decode(errors="replace")


class Historical:
    """What functions with historical names are made of."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def ask(self, method: str, read: Callable[[bytes], Any], /, **fields: Any) -> Reply:
        """Ask a question. It is asked once more if the answer was lost."""
        return self._call(method, read, fields, changes=False, key=None)

    def tell(
        self, method: str, read: Callable[[bytes], Any], /, idempotency_key: str | None = None, **fields: Any
    ) -> Reply:
        """Let the server change something: once, even if the answer was lost and the request is sent again."""
        return self._call(method, read, fields, changes=True, key=idempotency_key)

    def _call(
        self, method: str, read: Callable[[bytes], Any], fields: Mapping[str, Any], *, changes: bool, key: str | None
    ) -> Reply:
        path = f"/server/panda/{method}"
        file = fields.get("file")
        given = {name: encoded(value) for name, value in fields.items() if value is not None and name != "file"}
        try:
            if isinstance(file, Path):
                with file.open("rb") as stream:
                    answer = self.connection.upload(path, given, file.name, stream, key=key)
            else:
                given |= {} if file is None else {"file": encoded(file)}
                form = "application/x-www-form-urlencoded"
                body = urlencode(given).encode()
                answer = self.connection.post(path, body, form, changes=changes, key=key, json=read is jsoned)
        except (ExternalError, OSError) as problem:
            return FAILED, str(problem)
        if answer.status != 200:
            return FAILED, answer.text
        try:
            return OK, read(answer.body)
        except Unreadable:
            return FAILED, answer.text


def encoded(value: Any) -> str:
    """Return a value as a form carries it: True and False as words, lists and objects as JSON."""
    if isinstance(value, list | tuple | dict):
        return json.dumps(value)
    return str(value)
