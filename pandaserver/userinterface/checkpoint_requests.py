"""Checkpoints of payloads that try out parameters: a job leaves one, and the next job of the same point takes it up."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

from pandacommon.pandalogger.LogWrapper import LogWrapper
from pandacommon.pandalogger.PandaLogger import PandaLogger
from pandaserver.api.answering import Envelope, json_answer
from pandaserver.api.registry import Auth, Call, MaxLength, Upload, Wire, request
from pandaserver.srvcore.errors import BadRequest
from pandaserver.srvcore.file_cache import FileCache, safe_name

_log = PandaLogger().getLogger("file_requests")

#: What stands before the client's name in the name of a checkpoint, so that neither can be taken for another file.
PREFIX: Final = "hpo_cp_"

#: Name of a checkpoint: task and point, with one underscore between them.
_NAME: Final = re.compile(r"[^_]+_[^_]+")


def _refused(message: str) -> dict[str, Any]:
    return {"status": False, "message": message}


@request(
    v1="file_server/upload_hpo_checkpoint",
    legacy="put_checkpoint",
    method="POST",
    auth=Auth.SIGNED_IN,
    auth_v1=Auth.USER,
    answer=json_answer,
    body_limit=lambda settings: settings.max_checkpoint_upload,
    needs_database=False,
    failed=_refused,
    refused=_refused,
)
def put_checkpoint(call: Call, file: Annotated[Upload, "the checkpoint, with the name <task>_<point>"]) -> Envelope:
    """Keep a checkpoint in place of an earlier one, for jobs to fetch from /cache/hpo_cp_<task>_<point>."""
    if not call.content_length:
        raise BadRequest("the request needs a Content-Length")
    stored = FileCache(call.settings.cache_dir).store(_file_name(file.filename), file.stream, replace=True)
    _tell(call, stored.name, f"stored bytes={stored.size}")
    message = f"stored as {stored.name}"
    path = str(call.settings.cache_dir / stored.name)
    return Envelope(path, message, legacy={"status": True, "message": message})


@request(
    v1="file_server/delete_hpo_checkpoint",
    legacy="delete_checkpoint",
    method="POST",
    auth=Auth.SIGNED_IN,
    auth_v1=Auth.USER,
    answer=json_answer,
    needs_database=False,
    failed=_refused,
    refused=_refused,
)
def delete_checkpoint(
    call: Call,
    task_id: Annotated[str, Wire("task_id"), MaxLength(100), "task"],
    sub_id: Annotated[str, Wire("sub_id"), MaxLength(100), "point"],
) -> Envelope:
    """Remove the checkpoint of one point."""
    name = _file_name(f"{task_id}_{sub_id}")
    if not FileCache(call.settings.cache_dir).remove(name):
        message = f"there is no checkpoint {name}"
        return Envelope(success=False, message=message, legacy=_refused(message))
    _tell(call, name, "removed")
    message = f"removed {name}"
    return Envelope(message=message, legacy={"status": True, "message": message})


def _file_name(given: str) -> str:
    base = given.rpartition("/")[2]
    if not _NAME.fullmatch(base):
        raise BadRequest(f"{base[:100]!r} cannot be the name of a checkpoint: it must be <task>_<point>")
    return safe_name(PREFIX + base)


def _tell(call: Call, name: str, what: str) -> None:
    LogWrapper(_log, f"<checkpoint={name}>").info(f"{what} user={call.principal.name!r}")
