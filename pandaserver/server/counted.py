"""The application where ``metrics_dir`` is set: what it does is counted, and ``/metrics`` shows it."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Final

from pandacommon.pandalogger.PandaLogger import PandaLogger
from pandaserver.config.panda_config import PandaConfig
from pandaserver.daemons.locations import status_file
from pandaserver.daemons.status import MasterStatus, read_status
from pandaserver.server.assembly import create_application
from pandaserver.server.metrics_page import WithMetrics, Wsgi
from pandaserver.server.web_services import make_pool
from pandaserver.srvcore.caching import CachedObject
from pandaserver.srvcore.errors import PandaError
from pandaserver.taskbuffer.db_proxy_mods.inspection import JobCounts
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer

#: Seconds for which counts of jobs serve, and which reading them may take: a page without them comes in time.
COUNTS_LIFETIME: Final = 60.0
COUNTS_SECONDS: Final = 2.0


def counted_application(config: PandaConfig) -> Wsgi:
    """Return the application with its page of metrics; without the page if that cannot be had."""
    logger = PandaLogger.getLogger("Entry")
    try:
        from pandaserver.server.metrics import Metrics

        metrics = Metrics(config.server.metrics_dir or Path(), logger)
    except (ImportError, OSError) as problem:  # jobs are worth more than numbers about them
        logger.error("nothing is counted for /metrics: %s", problem)
        return create_application(config)
    pool = make_pool(config)
    tbuf = TaskBuffer(metrics.counting(pool, pool.size, lambda: pool.transactions))
    counts = CachedObject(tbuf.within(COUNTS_SECONDS).count_jobs_by_state, COUNTS_LIFETIME)
    status = status_file(os.environ, config.logger)

    def page() -> bytes:
        return metrics.page(known_counts(counts, logger), known_status(status, logger))

    return WithMetrics(
        create_application(config, task_buffer=tbuf, observe=metrics.request),
        page,
        config.server.metrics_networks,
        logger,
    )


def known_counts(counts: CachedObject[JobCounts], logger: logging.Logger) -> JobCounts | None:
    """Return the counts of jobs, None when the database does not tell."""
    try:
        return counts.get()
    except PandaError as error:
        logger.warning("the jobs are not counted for /metrics: %s", error)
        return None


def known_status(path: Path, logger: logging.Logger) -> MasterStatus | None:
    """Return what the daemon of this machine told last, None when that cannot be read."""
    try:
        return read_status(path)
    except (OSError, ValueError) as error:
        logger.warning("the daemon is missing from /metrics: %s", error)
        return None
