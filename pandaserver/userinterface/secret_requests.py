"""Secrets that users leave for their jobs, at both doors."""

from __future__ import annotations

import json
from typing import Annotated, Any, Final

from pandacommon.pandalogger.LogWrapper import LogWrapper
from pandacommon.pandalogger.PandaLogger import PandaLogger
from pandaserver.api.answering import Envelope, json_answer
from pandaserver.api.registry import Auth, Call, MaxLength, Wire, comma_separated, request
from pandaserver.srvcore.errors import Conflict

_logger = PandaLogger().getLogger("UserIF")

#: Characters of one secret; clients send at most 1000 kB, which base64 makes a third longer.
LARGEST: Final = 2 * 2**20


def _pair(message: str) -> list[Any]:
    return [False, message]


@request(
    v1="creds/set_user_secrets",
    legacy="set_user_secret",
    method="POST",
    auth=Auth.SIGNED_IN,
    auth_v1=Auth.USER,
    answer=json_answer,
    refused=_pair,
    failed=_pair,
)
def set_user_secret(
    call: Call,
    key: Annotated[str | None, MaxLength(255), "name of the secret; none: delete all"] = None,
    value: Annotated[str | None, MaxLength(LARGEST), "the secret; none: delete the one of that name"] = None,
) -> Envelope:
    """Set or delete secrets of the caller. Jobs that use secrets get all that their owner has."""
    call.task_buffer.within(call.remaining()).changeUserSecret(call.principal.name, key, value)
    done = "set" if key is not None and value is not None else "deleted"
    LogWrapper(_logger, f"<user={call.principal.name}>").info(f"{done} secret {key=}")
    return Envelope(message="OK", legacy=[True, "OK"])


@request(
    v1="creds/get_user_secrets",
    legacy="get_user_secrets",
    method="GET",
    auth=Auth.SIGNED_IN,
    auth_v1=Auth.USER,
    answer=json_answer,
    refused=_pair,
    failed=_pair,
)
def get_user_secrets(
    call: Call,
    keys: Annotated[list[str] | None, Wire(read=comma_separated), "names of the secrets; none: all"] = None,
    get_json: Annotated[bool, Wire(only="legacy"), "answer with an object instead of its text"] = False,
) -> Envelope:
    """Return secrets of the caller, as the JSON text of an object of values by name."""
    name = call.principal.name
    found = _as_object(name, call.task_buffer.within(call.remaining()).get_user_secrets(name))
    if keys:
        found = {key: value for key, value in found.items() if key in keys}
    text = json.dumps(found)
    return Envelope(text, legacy=[True, found if get_json else text])


def _as_object(owner: str, data: str | None) -> dict[str, Any]:
    try:
        found = json.loads(data or "{}")
    except ValueError as problem:
        raise Conflict(f"the stored secrets of {owner} are no JSON; delete all of them and set them again") from problem
    if not isinstance(found, dict):
        raise Conflict(f"the stored secrets of {owner} are no JSON object; delete all of them and set them again")
    return found
