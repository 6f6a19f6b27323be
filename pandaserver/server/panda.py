"""The entry point of the web server: ``application(environ, start_response)`` for mod_wsgi.

Importing this module costs nothing. The first request reads the configuration and imports the handlers; the database
is first asked by the first request that needs it, so Apache starts, and ``isAlive`` answers, while it is down.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from pandaserver.srvcore.memory import settle_memory

if TYPE_CHECKING:
    from pandaserver.server.application import StartResponse
    from pandaserver.server.metrics_page import Wsgi

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
        from pandaserver.server.assembly import create_application

        return create_application(config)
    from pandaserver.server.counted import counted_application  # loads a library

    return counted_application(config)
