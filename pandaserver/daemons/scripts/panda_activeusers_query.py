"""Keep delegated proxies fresh of users who asked for that."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from pandacommon.pandalogger.LogWrapper import LogWrapper
from pandacommon.pandalogger.PandaLogger import PandaLogger
from pandaserver.daemons.environment import configuration, required
from pandaserver.srvcore.errors import ExternalError
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer

_log = PandaLogger().getLogger("panda_activeusers_query")


class ProxyCache(Protocol):
    """Where proxies are kept that users have delegated. This server has none yet."""

    def refresh(self, identity: str, role: str) -> None:
        """Renew the proxy of an identity with a VOMS role unless it is fresh; ExternalError: it could not be had."""


def main(
    argv: Sequence[Any] = (),  # noqa: ARG001
    tbuf: TaskBuffer | None = None,
    proxy_cache: ProxyCache | None = None,
    **_: Any,
) -> None:
    """Refresh the proxies of all identities with the letter p in their permissions."""
    identities = required(tbuf).identitiesWithPermission("p")
    log = LogWrapper(_log, None)
    if not identities:
        log.info("nobody asks for delegated proxies")
    elif proxy_cache is None:
        log.warning(
            f"{len(identities)} users ask for delegated proxies, and none was refreshed: "
            "this server has no proxy cache (MyProxy) yet"
        )
    else:
        refresh_all(log, proxy_cache, identities, configuration().server.proxy_cache_roles)


def refresh_all(log: LogWrapper, cache: ProxyCache, identities: Iterable[str], roles: Sequence[str]) -> list[str]:
    """Refresh the proxy of each identity and role; return the identities of which one could not be had."""
    failed: dict[str, str] = {}
    refreshed = 0
    for identity in identities:
        for role in roles:
            try:
                cache.refresh(identity, role)
                refreshed += 1
            except ExternalError as error:
                failed.setdefault(identity, f"{identity} role={role}: {error.message}")
    log.info(f"refreshed proxies={refreshed} users_without={len(failed)}")
    if failed:
        log.warning(f"not refreshed: {'; '.join(failed.values())}")
    return list(failed)
