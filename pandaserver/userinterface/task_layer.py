"""What requests about tasks share: how they refuse at the historical door, and that there is no task layer yet."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final, NoReturn

from pandaserver.api.answering import Text
from pandaserver.api.casting import WrongType
from pandaserver.srvcore.errors import BadRequest, Conflict

#: What every request says that needs the task layer.
NOT_INSTALLED: Final = "the task layer is not installed at this server: there are no tasks, submit jobs with submitJobs"

#: Codes of commands that all clients share.
SERVER_ERROR: Final = 1
SUBMISSION_ERROR: Final = 4
NOT_SECURE: Final = 100
ROLE_MISSING: Final = 101
NOT_AN_INTEGER: Final = 101
DATABASE_ERROR: Final = -1

_BAD_TASK: Final = "'jediTaskID' must be of type int"


def without_task_layer(code: Any = SERVER_ERROR) -> NoReturn:
    """Refuse for want of a task layer; ``code`` is the data of the v1 reply."""
    raise Conflict(NOT_INSTALLED, data=code)


def said(code: Any) -> Callable[[str], tuple[Any, str]]:
    """Return how a historical method refuses: a pair of that code and the message."""
    return lambda message: (code, message)


def command_failed(message: str) -> tuple[Any, str]:
    """Return what a command says that always answers with an integer code."""
    return NOT_AN_INTEGER if _BAD_TASK in message else SERVER_ERROR, message


def of_role(code: int) -> Callable[[str], tuple[int, str]]:
    """Return how a method refuses that has a code for a missing role: that one, or the code of no credentials."""
    return lambda message: (code if "production role" in message else NOT_SECURE, message)


def unless_installed(code: int, otherwise: Any) -> Callable[[str], tuple[Any, str]]:
    """Return how a method refuses a bad argument, with that code, and says that there is no task layer, otherwise."""
    return lambda message: (otherwise if message == NOT_INSTALLED else code, message)


def as_list(say: Callable[[str], tuple[Any, str]]) -> Callable[[str], list[Any]]:
    """Return the same for replies in JSON."""
    return lambda message: list(say(message))


def listed(code: Any) -> Callable[[str], list[Any]]:
    """Return the same as a list, for replies in JSON."""
    return lambda message: [code, message]


def text_failed(message: str) -> Text:
    """Return what the method says that answers in plain text when something is wrong."""
    return Text(f"Failed : {message}")


def json_object(raw: Any) -> Any:
    """Read JSON text of an object, or take what a JSON body had there already."""
    try:
        value = json.loads(raw) if isinstance(raw, str) else raw
    except (ValueError, RecursionError) as problem:
        raise BadRequest(f"is not JSON: {str(problem)[:200]}") from problem
    if not isinstance(value, dict):
        raise WrongType(type(value).__name__)
    return value


def optional_json_object(raw: Any) -> Any:
    """Read the same where nothing may stand."""
    return None if raw in (None, "", "None", "null") else json_object(raw)
