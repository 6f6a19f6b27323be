"""What the entry point makes for the application out of the configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pandacommon.pandalogger.PandaLogger import PandaLogger
from pandaserver.config.panda_config import PandaConfig, connection_settings, operation_settings
from pandaserver.config.plugins import plugin_class
from pandaserver.config.settings import ServerSettings
from pandaserver.config.values import TokenAuth
from pandaserver.dataservice.setupper_child import SetupperChild
from pandaserver.srvcore.access_tokens import AccessTokens
from pandaserver.srvcore.voms import VomsTrust
from pandaserver.srvcore.x509 import ProxyReader
from pandaserver.taskbuffer.DBProxyPool import OraDBProxyPool
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer

if TYPE_CHECKING:
    from pandaserver.srvcore.token_decisions import TokenDecisions


class WebServices:
    """Plug-ins and helper processes of this web process, made when first needed."""

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        self._setupper = SetupperChild(PandaLogger.getLogger("Setupper"))

    @cached_property
    def setupper_plugins(self) -> Mapping[str, type[Any]]:
        """Setupper plug-in class by VO, "any" for the rest."""
        return {entry.vo: plugin_class(entry) for entry in self._settings.setupper_plugins}

    @cached_property
    def access_tokens(self) -> AccessTokens:
        """Access tokens of the clients in token_cache_config."""
        return AccessTokens(self._settings.token_cache_config)

    def nudge_setupper(self, ids: Sequence[int]) -> None:
        """Tell the Setupper child about new jobs. Only a hint: losing it costs a delay."""
        self._setupper.nudge(ids)


def make_task_buffer(config: PandaConfig) -> TaskBuffer:
    """Return a task buffer on a pool of database children, or of connections in this process."""
    return TaskBuffer(make_pool(config))


def make_pool(config: PandaConfig) -> OraDBProxyPool:
    """Return that pool."""
    server = config.server
    connection, operations = connection_settings(server), operation_settings(server)

    def local() -> Any:
        from pandaserver.taskbuffer.local_bridge import LocalBridge  # the web process needs it only in this mode

        return LocalBridge(connection, operations)

    return OraDBProxyPool(
        server.nDBConForFastCGIWSGI,
        connection,
        operations,
        logger=config.logger,
        max_memory=server.max_child_memory,
        make_bridge=None if server.usedbtimeout else local,
    )


def make_proxies(settings: ServerSettings) -> ProxyReader:
    """Return what reads proxy certificates and their attributes."""
    return ProxyReader(VomsTrust(settings.vomsdir, settings.ca_certificates, PandaLogger.getLogger("voms")))


def make_tokens(settings: ServerSettings) -> TokenDecisions | None:
    """Return what decides about bearer tokens, None if they are not looked at."""
    if settings.token_authType is TokenAuth.none:
        return None
    from pandaserver.srvcore.key_store import KeyStore
    from pandaserver.srvcore.oidc_keys import IssuerKeys

    keys = IssuerKeys(store=KeyStore(settings.logdir, PandaLogger.getLogger("oidc")))
    if settings.token_authType is TokenAuth.scitokens:
        from pandaserver.srvcore.sci_tokens import SciTokens, issuers_of

        issuers = issuers_of(settings.token_issuers)
        return SciTokens(settings.token_audience, issuers, settings.production_dns, keys=keys)
    from pandaserver.srvcore.oidc_utils import OidcTokens

    return OidcTokens(
        settings.auth_config,
        PandaLogger.getLogger("oidc"),
        policy_file=settings.auth_policies,
        production_dns=settings.production_dns,
        keys=keys,
    )
