"""Logs that harvesters, tasks and their tools leave in the cache: growing ones by increments, others whole."""

from __future__ import annotations

from typing import Annotated, Final

from pandacommon.pandalogger.LogWrapper import LogWrapper
from pandacommon.pandalogger.PandaLogger import PandaLogger
from pandaserver.api.answering import Envelope, Text, plain_answer
from pandaserver.api.registry import AtLeast, Auth, Call, Door, MaxLength, Upload, Wire, request
from pandaserver.srvcore.errors import BadRequest
from pandaserver.srvcore.file_cache import FileCache, storing, upload_name
from pandaserver.srvcore.log_files import LogFiles, is_increment

_log = PandaLogger().getLogger("file_requests")

#: Where whole logs lie, below the directory of uploads; they are served as compressed.
LOGS: Final = "jedilog"

#: Bytes of a log that one reply has at most; the reader asks for the rest from a later offset.
LARGEST_PIECE: Final = 16 * 2**20

#: What stands in the name of a worker's log, between its harvester and its file.
_OF_HARVESTER: Final = "__"


def _error(message: str) -> Text:
    return Text(f"ERROR: {message}")


@request(
    v1="file_server/update_jedi_log",
    legacy="updateLog",
    method="POST",
    auth=Auth.ANYONE,
    auth_v1=Auth.PRODUCTION,
    answer=plain_answer,
    needs_database=False,
    failed=_error,
)
def update_log(call: Call, file: Annotated[Upload, "zlib stream of the lines to append"]) -> Envelope:
    """Append to a log in the cache directory, made if there is none; a log has at most `max_sandbox_upload` bytes.

    For anybody at the historical door: it appends to nothing that was not made so.
    """
    _append(call, file)
    return Envelope(legacy=True)


@request(
    v1="file_server/download_jedi_log",
    legacy="fetchLog",
    method="GET",
    auth=Auth.ANYONE,
    auth_v1=Auth.USER,
    answer=plain_answer,
    needs_database=False,
    failed=_error,
)
def fetch_log(
    call: Call,
    log_name: Annotated[str, Wire("logName"), MaxLength(4000), "name of the log; directories in it are ignored"],
    offset: Annotated[int, AtLeast(0), "bytes to leave out at the beginning"] = 0,
) -> Text:
    """Return one blank and the text of a log from an offset; the blank alone if there is none.

    For anybody at the historical door, as the files are at `/cache/`. A reply has at most 16 MB; ask again for more.
    """
    data = LogFiles(call.settings.cache_dir, call.settings.max_sandbox_upload).read(log_name, offset, LARGEST_PIECE)
    return Text(" " + data.decode(errors="replace"))


@request(
    v1="file_server/upload_jedi_log",
    legacy="uploadLog",
    method="POST",
    auth=Auth.USER,
    auth_v1=Auth.PRODUCTION,
    answer=plain_answer,
    needs_database=False,
    failed=_error,
)
def upload_log(call: Call, file: Annotated[Upload, "the log, compressed"]) -> Envelope:
    """Keep a log whole, in place of one of the same name, and return its URL.

    At v1 a zlib stream whose name contains two underscores is an increment of a worker's log, as harvesters send them:
    it is appended to the log of that name in the cache directory, expanded.
    """
    if call.door is Door.V1 and _OF_HARVESTER in upload_name(file.filename) and is_increment(file.stream):
        name = _append(call, file)
        return Envelope(_address(call, name))
    limit = call.settings.max_sandbox_upload
    if max(call.content_length, file.size) > limit:
        raise BadRequest(f"the log has more than the {limit} bytes that are allowed")
    name, directory = upload_name(file.filename), call.settings.cache_dir / LOGS
    with storing(f"log {name}"):
        directory.mkdir(exist_ok=True)
    stored = FileCache(directory).store(name, file.stream, replace=True)
    LogWrapper(_log, f"<log={stored.name}>").info(f"stored bytes={stored.size} user={call.principal.name!r}")
    url = _address(call, f"{LOGS}/{stored.name}")
    return Envelope(url, legacy=Text(url))


def _append(call: Call, file: Upload) -> str:
    name = upload_name(file.filename)
    added = LogFiles(call.settings.cache_dir, call.settings.max_sandbox_upload).append(name, file.stream)
    LogWrapper(_log, f"<log={name}>").info(f"appended bytes={added} user={call.principal.name!r}")
    return name


def _address(call: Call, path: str) -> str:
    settings = call.settings
    if settings.disableHTTP:
        return f"https://{settings.pserverhost}:{settings.pserverport}/cache/{path}"
    host = settings.pserverhosthttp or settings.pserverhost
    return f"http://{host}:{settings.pserverporthttp}/cache/{path}"
