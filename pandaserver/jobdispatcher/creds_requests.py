"""Credentials for pilots, harvesters and their plug-ins: key pairs, proxies, access tokens, and what these need.

Who gets what stands in the permissions of users (the column GRIDPREF): ``k`` key pairs, ``p`` proxies and access
tokens, ``t`` the keys by which access tokens are asked for.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Any

from pandacommon.pandalogger.LogWrapper import LogWrapper
from pandacommon.pandalogger.PandaLogger import PandaLogger
from pandaserver.api.answering import Envelope, PilotReply, Text, json_answer, pilot_answer, plain_answer
from pandaserver.api.registry import Auth, Call, MaxLength, Wire, request
from pandaserver.jobdispatcher.Protocol import SC_FAILED, SC_INVALID, SC_KEY, SC_PERMISSION, SC_PROXY, SC_SUCCESS
from pandaserver.srvcore.credential_files import read_key, read_proxy
from pandaserver.srvcore.errors import BadRequest, ExternalError, NotFound

_logger = PandaLogger().getLogger("JobDispatcher")

_KEY_PAIRS, _PROXIES, _TOKEN_KEYS = "k", "p", "t"

Name = Annotated[str, MaxLength(255)]


def _failed(message: str) -> dict[str, Any]:
    """Return what the methods that always speak JSON say about a request that cannot be understood."""
    return {"StatusCode": SC_FAILED, "errorDialog": message}


def _refusal(code: int, message: str) -> Envelope:
    reply = PilotReply(code, {"errorDialog": message})
    return Envelope(success=False, message=message, legacy=reply)


def _handed_out(
    call: Call, what: str, letter: str, code: int, find: Callable[[], dict[str, str]], **spellings: str
) -> Envelope:
    """Return the credential that ``find`` returns to callers with that permission.

    ``spellings`` are the names that v1 has beside the historical ones: some of its clients read those, others these.
    """
    log = LogWrapper(_logger, f"<user={call.principal.name}>")
    if call.principal.is_anonymous:
        return _refusal(SC_PERMISSION, "no credentials came with the request")
    if not call.task_buffer.within(call.remaining()).hasPermission(call.principal.name, letter):
        log.warning(f"refused {what}: GRIDPREF has no {letter}")
        return _refusal(SC_PERMISSION, f"{call.principal.name} may not have this: GRIDPREF has no {letter}")
    try:
        found = find()
    except (NotFound, ExternalError) as problem:
        log.warning(f"no {what}: {problem.message}")
        return _refusal(code, problem.message)
    except BadRequest as problem:
        log.warning(f"refused {what}: {problem.message}")
        return _refusal(SC_INVALID, problem.message)
    log.info(f"handed out {what}")
    data = {name: value for name, value in found.items() if name != "errorDialog"}
    return Envelope(data | {v1: found[name] for name, v1 in spellings.items()}, legacy=PilotReply(SC_SUCCESS, found))


@request(
    v1="creds/get_key_pair",
    legacy="getKeyPair",
    method="GET",
    auth=Auth.ANYONE,
    auth_v1=Auth.USER,
    answer=pilot_answer,
)
def get_key_pair(
    call: Call,
    public_key_name: Annotated[Name, Wire("publicKeyName"), "name of a file in the directory of keys"],
    private_key_name: Annotated[Name, Wire("privateKeyName"), "the same"],
) -> Envelope:
    """Return the key pair of an object store.

    For pilots, harvesters and others whose user has the permission `k`.
    """

    def find() -> dict[str, str]:
        directory = call.settings.keyDir
        return {"publicKey": read_key(directory, public_key_name), "privateKey": read_key(directory, private_key_name)}

    what = f"key pair {public_key_name!r}"
    return _handed_out(call, what, _KEY_PAIRS, SC_KEY, find, publicKey="public_key", privateKey="private_key")


@request(
    v1="creds/get_proxy",
    legacy="getProxy",
    method="GET",
    auth=Auth.ANYONE,
    auth_v1=Auth.USER,
    answer=json_answer,
    failed=_failed,
)
def get_proxy(
    call: Call,
    role: Annotated[str | None, MaxLength(255), "VOMS role that the proxy shall have; empty: none"] = None,
    dn: Annotated[str | None, MaxLength(255), "whose proxy; none: the caller's"] = None,
) -> Envelope:
    """Return a delegated proxy in PEM.

    For pilots, harvesters and others whose user has the permission `p`.
    """

    def find() -> dict[str, str]:
        return {
            "errorDialog": "",
            "userProxy": read_proxy(call.settings.proxy_dir, dn or call.principal.dn, role or ""),
        }

    return _handed_out(call, f"proxy of {dn or 'the caller'!r}", _PROXIES, SC_PROXY, find, userProxy="user_proxy")


@request(
    v1="creds/get_access_token",
    legacy="get_access_token",
    method="GET",
    auth=Auth.ANYONE,
    auth_v1=Auth.USER,
    answer=json_answer,
    failed=_failed,
)
def get_access_token(
    call: Call,
    client_name: Annotated[Name, "client whose token is asked for, such as pilot_server"],
    token_key: Annotated[str | None, MaxLength(255), "current key of the client, if its tokens need one"] = None,
) -> Envelope:
    """Return an access token that the server got for one of its clients.

    For pilots, harvesters and others whose user has the permission `p`.
    """

    def find() -> dict[str, str]:
        tokens = call.services.access_tokens
        client = tokens.client(client_name)
        if client.use_token_key and not (token_key and tokens.is_key(client, token_key)):
            raise BadRequest(f"token_key is no current key of client {client_name}; get_token_key tells it")
        return {"errorDialog": "", "userProxy": tokens.token(client)}

    what = f"access token of {client_name!r}"
    return _handed_out(call, what, _PROXIES, SC_PROXY, find, userProxy="user_proxy")


@request(
    v1="creds/get_token_key",
    legacy="get_token_key",
    method="GET",
    auth=Auth.ANYONE,
    auth_v1=Auth.USER,
    answer=pilot_answer,
)
def get_token_key(call: Call, client_name: Annotated[Name, "client whose tokens need a key"]) -> Envelope:
    """Return the key by which access tokens of a client may be asked for until tomorrow.

    For pilots, harvesters and others whose user has the permission `t`.
    """

    def find() -> dict[str, str]:
        tokens = call.services.access_tokens
        return {"tokenKey": tokens.current_key(tokens.client(client_name))}

    return _handed_out(call, f"token key of {client_name!r}", _TOKEN_KEYS, SC_KEY, find)


@request(v1=None, legacy="getDNsForS3", method="GET", auth=Auth.ANYONE, answer=plain_answer)
def get_dns_for_s3(call: Call) -> Text:
    """List the names of users with the permission `k` as JSON.

    For anybody: it names users and gives nothing away.
    """
    return Text(json.dumps(call.task_buffer.within(call.remaining()).namesWithPermission(_KEY_PAIRS)))


@request(v1=None, legacy="genPilotToken", method="POST", auth=Auth.ANYONE, answer=plain_answer)
def gen_pilot_token(
    call: Call,
    scheduler_id: Annotated[str, Wire("schedulerid"), MaxLength(250), "who submits the pilots"],
    host: Annotated[str | None, MaxLength(128), "machine of the pilots; none: that of the caller"] = None,
) -> Text:
    """Return a token that pilots may show for four days when they ask for jobs.

    For pilots, by role. What is wrong is told as a text that begins with ERROR.
    """
    if not call.principal.has_pilot_role:
        return Text("ERROR : production or pilot role is required")
    if call.principal.is_anonymous:  # roles without a name, from whatever stands before us
        return Text("ERROR : failed to retrive DN")
    where = host or call.remote_host or call.environ.get("REMOTE_ADDR") or None
    made = call.task_buffer.within(call.remaining()).makePilotToken(call.principal.dn, scheduler_id, where)
    created, expires = (f"{instant:%Y-%m-%d %H:%M:%S}" for instant in (made.created, made.expires))
    LogWrapper(_logger, f"<user={call.principal.name}>").info(f"made a pilot token for {scheduler_id=} until {expires}")
    return Text(f"SUCCEEDED : token={made.token},created={created},expires={expires}")
