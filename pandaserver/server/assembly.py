"""The application out of a configuration: what it is given, and which modules declare its requests."""

from __future__ import annotations

import importlib
from typing import Final

from pandacommon.pandalogger.PandaLogger import PandaLogger
from pandaserver.api.registry import REGISTRY
from pandaserver.brokerage.SiteMapper import SiteMapper
from pandaserver.config.panda_config import PandaConfig, default_site
from pandaserver.server.application import Application, Observer
from pandaserver.server.ban_list import PATIENCE, source_of_bans
from pandaserver.server.callers import Callers
from pandaserver.server.web_services import WebServices, make_proxies, make_task_buffer, make_tokens
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer

#: Modules that declare requests. Importing them fills the registry.
HANDLERS: Final = (
    "pandaserver.jobdispatcher.JobDispatcher",
    "pandaserver.userinterface.UserIF",
    "pandaserver.taskbuffer.Utils",
)


def create_application(
    config: PandaConfig, *, task_buffer: TaskBuffer | None = None, observe: Observer | None = None
) -> Application:
    """Return the application for a configuration; tests bring their own task buffer."""
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
