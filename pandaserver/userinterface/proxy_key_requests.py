"""Users tell under which name a MyProxy server keeps their proxy."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final

from pandacommon.pandalogger.LogWrapper import LogWrapper
from pandacommon.pandalogger.PandaLogger import PandaLogger
from pandaserver.api.answering import Text, pickle_answer, plain_answer
from pandaserver.api.registry import Auth, Call, MaxLength, Wire, request
from pandaserver.taskbuffer.db_proxy_mods.proxy_key import HOST_LIMIT, NAME_LIMIT, ProxyKey

_logger = PandaLogger().getLogger("UserIF")

#: Variable of the web server with the end of the certificate, and its form.
_END: Final = "SSL_CLIENT_V_END"
_END_FORMAT: Final = "%b %d %H:%M:%S %Y GMT"


@request(v1=None, legacy="registerProxyKey", method="POST", auth=Auth.USER, answer=plain_answer)
def register_proxy_key(
    call: Call,
    credname: Annotated[str, Wire("credname"), MaxLength(NAME_LIMIT), "name of the credential"],
    origin: Annotated[str, MaxLength(HOST_LIMIT), "where it was made"],
    myproxy: Annotated[str, MaxLength(HOST_LIMIT), "MyProxy server that keeps it"],
) -> Text:
    """Keep the name of the caller's credential until the caller's certificate ends; an empty answer means failure."""
    log = LogWrapper(_logger, f"<user={call.principal.name}>")
    try:
        end = datetime.strptime(str(call.environ.get(_END, "")), _END_FORMAT)
    except ValueError:
        log.warning("no name of a credential was kept: the web server does not tell the end of the certificate")
        return Text("")
    key = ProxyKey(credname, end, origin, myproxy)
    call.task_buffer.within(call.remaining()).registerProxyKey(call.principal.dn, key)
    log.info(f"registered {credname=} at {myproxy=} until {end}")
    return Text("True")


@request(v1=None, legacy="getProxyKey", method="GET", auth=Auth.USER, answer=pickle_answer)
def get_proxy_key(call: Call) -> dict[str, Any]:
    """Return what the caller registered, or an empty dictionary."""
    dn = call.principal.dn
    found = call.task_buffer.within(call.remaining()).getProxyKeys([dn]).get(dn)
    if found is None:
        return {}
    return {
        "credname": found.credname,
        "expires": str(found.expires),
        "origin": found.origin,
        "myproxy": found.myproxy,
    }
