"""The entry point of the web server: ``application(environ, start_response)`` for mod_wsgi.

Importing this module costs nothing. The first request reads the configuration and imports the handlers; the database
is first asked by the first request that needs it, so Apache starts, and ``isAlive`` answers, while it is down.
"""

from __future__ import annotations

import importlib
import os
import threading
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from pandaserver.srvcore.memory import settle_memory

if TYPE_CHECKING:
    from pandaserver.config.panda_config import PandaConfig
    from pandaserver.server.application import Application, Observer, StartResponse
    from pandaserver.server.metrics_page import Wsgi
    from pandaserver.taskbuffer.TaskBuffer import TaskBuffer

#: Modules that declare requests. Importing them fills the registry.
HANDLERS: Final = (
    "pandaserver.jobdispatcher.JobDispatcher",
    "pandaserver.userinterface.UserIF",
    "pandaserver.taskbuffer.Utils",
)

_application: Wsgi | None = None
_building = threading.Lock()


def application(environ: Mapping[str, Any], start_response: StartResponse) -> Iterable[bytes]:
    """Serve one request. A configuration with mistakes makes every request fail and is read again by the next."""
    global _application  # noqa: PLW0603  one per process, made when the process first serves
    if _application is None:
        with _building:
            if _application is None:
                _application = _from_environment()
                settle_memory()
    return _application(environ, start_response)


def _from_environment() -> Wsgi:
    from pandacommon.pandalogger.PandaLogger import PandaLogger
    from pandaserver.config.panda_config import load

    config = load(os.environ)
    PandaLogger.configure(config.logger)
    logger = PandaLogger.getLogger("Entry")
    logger.info("PID=%d starts with the configuration of %s", os.getpid(), ", ".join(config.files))
    for finding in config.findings:
        logger.log(finding.severity.log_level, "configuration: %s", finding)
    config.require("server", "logger")
    if config.server.metrics_dir is None:
        return create_application(config)
    from pandaserver.server.counted import counted_application  # loads a library

    return counted_application(config)


def create_application(
    config: PandaConfig, *, task_buffer: TaskBuffer | None = None, observe: Observer | None = None
) -> Application:
    """Return the application for a configuration; tests bring their own task buffer."""
    from pandacommon.pandalogger.PandaLogger import PandaLogger
    from pandaserver.api.registry import REGISTRY
    from pandaserver.brokerage.SiteMapper import SiteMapper
    from pandaserver.config.panda_config import default_site
    from pandaserver.server.application import Application
    from pandaserver.server.ban_list import PATIENCE, source_of_bans
    from pandaserver.server.callers import Callers
    from pandaserver.server.web_services import WebServices, make_proxies, make_task_buffer, make_tokens

    for module in HANDLERS:
        importlib.import_module(module)
    settings = config.server
    logger = PandaLogger.getLogger("Entry")
    tbuf = task_buffer or make_task_buffer(config)
    return Application(
        REGISTRY,
        settings,
        tbuf,
        SiteMapper(tbuf.loadSites, default_site(settings), logger=PandaLogger.getLogger("SiteMapper")),
        WebServices(settings),
        Callers(
            settings.production_dns,
            make_tokens(settings),
            source_of_bans(tbuf, settings.ban_list_url, min(PATIENCE, settings.dbtimeout)),
            logger,
            make_proxies(settings),
            settings.pilot_vos,
        ),
        logger=logger,
        pilot_logger=PandaLogger.getLogger("PilotRequests"),
        observe=observe,
    )
