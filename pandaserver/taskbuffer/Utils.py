"""Requests that need no database, or little of it: is the server alive, who am I, and files that jobs will need."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Final

from pandaserver.api.answering import JSON, Envelope, Response, Text, plain_answer
from pandaserver.api.registry import REGISTRY, Auth, Call, Door, MaxLength, Upload, Wire, request
from pandaserver.config.settings import ServerSettings
from pandaserver.srvcore.errors import BadRequest, NotFound, PandaError
from pandaserver.srvcore.file_cache import FileCache, StoredFile, is_rewritable, upload_name
from pandaserver.taskbuffer.db_proxy_mods.sandbox import Sandbox

#: Variables of a request's environment that its caller may see. Credentials are not among them.
VISIBLE: Final = re.compile(
    r"(GRST_CRED_|GRST_CONN_|PANDA_OIDC_|SSL_CLIENT_(S_DN|I_DN|V_|VERIFY|M_)|SSL_(PROTOCOL|CIPHER)$|HTTPS$"
    r"|(SERVER|REQUEST|REMOTE|CONTENT)_|(SCRIPT_NAME|PATH_INFO|QUERY_STRING|GATEWAY_INTERFACE)$"
    r"|HTTP_(HOST|USER_AGENT|ACCEPT\w*|ORIGIN|CONTENT_ENCODING|CONNECTION|X_FORWARDED_FOR)$)"
)

VOMS: Final = "GRST_CRED_"

#: How long the database may take to show that it is there.
READY_SECONDS: Final = 3.0

#: Outputs of jobs that go back through this server: never recorded as sandboxes.
OUTPUT_SUFFIX: Final = ".out"
SOURCES_PREFIX: Final = "sources."

MB: Final = 2**20

FileName = Annotated[str, MaxLength(4000), "name of the file; directories in it are ignored"]
FileSize = Annotated[int, Wire("fileSize"), "bytes"]
Checksum = Annotated[int | str, Wire("checkSum"), MaxLength(36), "CRC out of the gzip trailer, in decimal"]


# ---- the server ------------------------------------------------------------------------------------------------------


@request(
    v1="system/is_alive", legacy="isAlive", method="GET", auth=Auth.ANYONE, answer=plain_answer, needs_database=False
)
def is_alive(call: Call) -> Envelope:  # noqa: ARG001
    """Say that the web server works, whatever else does not."""
    return Envelope(message="alive=yes", legacy="alive=yes")


@request(v1="system/is_ready", legacy=None, method="GET", auth=Auth.ANYONE)
def is_ready(call: Call) -> Envelope:
    """Say that this server can serve: its database answers in time. If not, the status is 503.

    For anybody: it tells nothing else. Load balancers ask it, while isAlive is for those who restart processes.
    """
    call.task_buffer.within(READY_SECONDS).check_database()
    return Envelope(message="ready=yes")


@request(v1=None, legacy="getServer", method="GET", auth=Auth.ANYONE, answer=plain_answer, needs_database=False)
def get_server(call: Call) -> str:
    """Return host and port of this server."""
    return f"{call.settings.pserverhost}:{call.settings.pserverport}"


@request(v1="openapi.json", legacy=None, method="GET", auth=Auth.ANYONE, needs_database=False)
def get_openapi(call: Call) -> Response:  # noqa: ARG001
    """Return the description of all requests as an OpenAPI document."""
    from pandaserver.api.openapi import openapi_document  # nobody but a developer asks for it

    return Response(json.dumps(openapi_document(REGISTRY)).encode(), JSON)


# ---- the caller ------------------------------------------------------------------------------------------------------


@request(
    v1="system/get_voms_attributes",
    legacy="getVomsAttr",
    method="GET",
    auth=Auth.ANYONE,
    auth_v1=Auth.USER,
    answer=plain_answer,
    needs_database=False,
)
def get_voms_attributes(call: Call) -> Envelope:
    """Return the VOMS attributes of the caller."""
    attributes = {name: value for name, value in sorted(call.principal.credentials) if name.startswith(VOMS)}
    return Envelope(attributes, legacy=_lines(attributes))


@request(
    v1="system/get_attributes",
    legacy="getAttr",
    method="GET",
    auth=Auth.ANYONE,
    auth_v1=Auth.USER,
    answer=plain_answer,
    needs_database=False,
)
def get_attributes(call: Call, **parameters: str) -> Envelope:
    """Return what the server sees of a request: its parameters and its environment, without credentials."""
    environment = {name: str(value) for name, value in call.environ.items() if VISIBLE.match(name)}
    environment = dict(sorted((environment | dict(call.principal.credentials)).items()))
    shown = "".join(f"{name} = {value}\n" for name, value in parameters.items())
    text = f"===== param =====\n{shown}\n====== env ======\n{_lines(environment)}"
    return Envelope({"parameters": parameters, "environment": environment}, message=text, legacy=text)


@request(v1="system/get_user_attributes", legacy=None, method="GET", auth=Auth.USER, needs_database=False)
def get_user_attributes(call: Call) -> dict[str, Any]:
    """Return the names and roles that the server derives for the caller."""
    principal = call.principal
    return {
        "user_dn_raw": principal.raw_dn,
        "user_dn_clean": principal.name,
        "fqans": list(principal.fqans),
        "is_production_user": principal.has_production_role,
        "production_working_groups": list(principal.production_groups),
        "primary_working_group": principal.working_group,
    }


def _lines(values: Mapping[str, str]) -> str:
    return "".join(f"{name} : {value}\n" for name, value in values.items())


# ---- files -----------------------------------------------------------------------------------------------------------


def largest_upload(settings: ServerSettings) -> int:
    """Return how many bytes a request with a file may have, before the file's name is known."""
    return max(settings.max_sources_upload, settings.max_sandbox_upload, settings.max_v1_upload)


def _failed(message: str) -> Envelope:
    text = f"ERROR : {message}"
    return Envelope(success=False, message=text, legacy=text)


@request(
    v1="file_server/upload_cache_file",
    legacy="putFile",
    method="POST",
    auth=Auth.USER,
    answer=plain_answer,
    body_limit=largest_upload,
    failed=_failed,
    failed_v1=_failed,
)
def put_file(call: Call, file: Annotated[Upload, "the file"]) -> Envelope:
    """Keep a file for jobs to fetch from /cache/. A file that exists is not replaced, only kept longer.

    A name that ends in .__ow__ is replaced. What a user has here is limited by `max_user_cache`.
    """
    name = upload_name(file.filename)
    size, limit = max(call.content_length, file.size), _limit(call, name)
    if size > limit:
        raise BadRequest(f"upload of {name} has {size} bytes, and at most {limit} are allowed for such a name")
    cache = FileCache(call.settings.cache_dir)
    is_recorded = call.settings.record_sandbox_info and not name.endswith(OUTPUT_SUFFIX)
    quota = call.settings.max_user_cache * MB if is_recorded else 0
    if quota and (is_rewritable(name) or not cache.has(name)):
        call.task_buffer.checkCacheQuota(Sandbox(call.principal.name, _own_host(call), name, file.size, None), quota)
    compress = any(re.search(pattern, name) for pattern in call.settings.compress_file_names)
    stored = cache.store(name, file.stream, compress=compress)
    if is_recorded:
        _record(call, cache, stored, quota)
    return Envelope(legacy=True)


@request(
    v1="file_server/delete_cache_file",
    legacy="deleteFile",
    method="POST",
    auth=Auth.SIGNED_IN,
    auth_v1=Auth.USER,
    answer=plain_answer,
    needs_database=False,
)
def delete_file(call: Call, file_name: Annotated[FileName, Wire("file")]) -> Envelope:  # noqa: ARG001
    """Do nothing: another task may use the same file, and unused ones are removed after a week."""
    return Envelope(legacy=True)


@request(
    v1="file_server/touch_cache_file",
    legacy="touchFile",
    method="POST",
    auth=Auth.SIGNED_IN,
    auth_v1=Auth.USER,
    answer=plain_answer,
    needs_database=False,
)
def touch_file(call: Call, file_name: Annotated[FileName, Wire("filename")]) -> Envelope:
    """Keep a file for another week."""
    try:
        FileCache(call.settings.cache_dir).touch(file_name)
    except NotFound as problem:
        return Envelope(success=False, message=problem.message, legacy=False)
    return Envelope(legacy=True)


@request(
    v1="file_server/validate_cache_file",
    legacy="checkSandboxFile",
    method="POST",
    auth=Auth.SIGNED_IN,
    auth_v1=Auth.USER,
    answer=plain_answer,
    refused=_failed,
)
def check_sandbox_file(call: Call, file_size: FileSize, checksum: Checksum) -> Envelope:
    """Tell where the caller's file of that size and checksum lies, so that it need not be uploaded again."""
    found = call.task_buffer.checkSandboxFile(call.principal.name, file_size, str(checksum))
    if found is None or not _is_kept(call, *found):
        return Envelope(success=False, message="NOTFOUND", legacy="NOTFOUND")
    text = "FOUND:{}:{}".format(*found)
    return Envelope(message=text, legacy=text)


@request(
    v1="file_server/register_cache_file",
    legacy="insertSandboxFileInfo",
    method="POST",
    auth=Auth.PRODUCTION,
    answer=plain_answer,
    refused=_failed,
)
def register_file(
    call: Call,
    user_name: Annotated[str, Wire("userName"), MaxLength(128), "clean name of the owner"],
    file_name: Annotated[str, Wire("fileName"), MaxLength(256), "name of the file"],
    file_size: FileSize,
    checksum: Checksum,
) -> Envelope:
    """Record a file that another server received."""
    host = call.settings.sandboxHostname or call.remote_host
    if not host:
        raise BadRequest("the host of the file is unknown: set sandboxHostname")
    sandbox = Sandbox(user_name, host, upload_name(file_name), file_size, str(checksum))
    if call.task_buffer.insertSandboxFileInfo(sandbox, actor=call.principal.name):
        return Envelope(legacy=Text("OK"))
    return Envelope(success=False, message="file exist", legacy=Text("WARNING: file exist"))


def _limit(call: Call, name: str) -> int:
    settings = call.settings
    if name.startswith(SOURCES_PREFIX):
        return settings.max_sources_upload
    if call.door is Door.V1 and not name.endswith(OUTPUT_SUFFIX):
        return settings.max_v1_upload
    return settings.max_sandbox_upload


def _own_host(call: Call) -> str:
    return call.settings.sandboxHostname or call.settings.pserverhost


def _is_kept(call: Call, host: str, name: str) -> bool:
    """Say whether a recorded file is still there, and let it stay, as far as this machine can tell."""
    if call.settings.sandboxHostname or host != call.settings.pserverhost:
        return True  # that name may be one of many machines
    try:
        FileCache(call.settings.cache_dir).touch(name)
    except (NotFound, BadRequest):
        return False
    return True


def _record(call: Call, cache: FileCache, stored: StoredFile, quota: int) -> None:
    checksum = None if stored.checksum is None else str(stored.checksum)
    sandbox = Sandbox(call.principal.name, _own_host(call), stored.name, stored.size, checksum)
    is_new = not is_rewritable(stored.name)
    try:
        call.task_buffer.insertSandboxFileInfo(sandbox, replace=True, quota=quota if is_new else 0)
    except PandaError:
        # Nobody would know of the file, and the client's next attempt would meet it as somebody else's.
        if is_new:
            cache.remove(stored.name)
        raise
