"""Who is calling, and whether the caller is banned: certificate, then token, then the list of banned users."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Protocol

from pandaserver.srvcore.caching import CachedObject
from pandaserver.srvcore.errors import ExternalError, NotAuthenticated, Unavailable
from pandaserver.srvcore.principal import Principal
from pandaserver.srvcore.x509 import ProxyReader, principal_from_environ
from pandaserver.taskbuffer.db_proxy_mods.user import NAME_LIMIT

#: Seconds that a list of banned users serves.
BAN_LIFETIME: Final = 600.0

_SCHEME: Final = "bearer "


class TokenChecker(Protocol):
    """Decides about bearer tokens; ``OidcTokens`` is one."""

    def principal(self, token: str, origin: str, certificate: Principal) -> Principal:
        """Return the caller whom a token names, or raise :class:`NotAuthenticated`."""


class Callers:
    """Turns the environment of a request into a principal."""

    def __init__(
        self,
        production_dns: Sequence[str],
        tokens: TokenChecker | None,
        banned: Callable[[], Collection[str]],
        logger: logging.Logger,
        proxies: ProxyReader | None = None,
        pilot_vos: Sequence[str] = (),
    ) -> None:
        self._production_dns = production_dns
        self._proxies = proxies or ProxyReader()
        self._pilot_groups = tuple(f"/{vo}/" for vo in pilot_vos)
        self._tokens = tokens
        self._banned: CachedObject[Collection[str]] = CachedObject(
            banned, BAN_LIFETIME, on_failure=lambda e: logger.warning("the list of banned users is kept: %s", e)
        )

    def authenticate(self, environ: Mapping[str, Any]) -> Principal:
        """Return the caller. A token that came is valid or refused, also beside a certificate."""
        principal = self._credentials(environ)
        is_member = any(f"{fqan}/".startswith(self._pilot_groups) for fqan in principal.fqans)
        return replace(principal, in_pilot_vo=True) if self._pilot_groups and is_member else principal

    def _credentials(self, environ: Mapping[str, Any]) -> Principal:
        principal = principal_from_environ(environ, self._production_dns, self._proxies)
        offered = environ.get("HTTP_AUTHORIZATION", "")
        if self._tokens is None or not offered.lower().startswith(_SCHEME):
            return principal
        # A harvester sends the newline at the end of its token file along.
        token = offered[len(_SCHEME) :].strip()
        try:
            return self._tokens.principal(token, environ.get("HTTP_ORIGIN", "").strip(), principal)
        except NotAuthenticated as error:
            raise NotAuthenticated(f"Token authentication failed. {error.message}") from error
        except ExternalError as error:  # nobody's fault here: the same request can succeed in a minute
            raise Unavailable(f"Token authentication failed. {error.message}") from error

    def refuse_banned(self, principal: Principal, *, may_load: bool) -> None:
        """Refuse a banned user. Without ``may_load`` only a list that is already here counts."""
        if not principal.name:
            return
        try:
            banned = self._banned.get() if may_load else self._banned.peek()
        except ExternalError as error:
            raise Unavailable(f"the list of banned users cannot be had: {error.message}") from error
        # The table of users keeps the beginning of a long name only.
        if banned and (principal.name in banned or principal.name[:NAME_LIMIT] in banned):
            raise NotAuthenticated(f"{principal.name} is banned")
