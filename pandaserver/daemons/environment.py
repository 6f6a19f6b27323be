"""What the scripts of the daemon share: the configuration, the queues, who they are."""

from __future__ import annotations

import os
import secrets
from functools import cache

from pandacommon.pandautils.PandaUtils import process_identity
from pandaserver.brokerage.SiteMapper import SiteMapper
from pandaserver.config.panda_config import PandaConfig, default_site, load
from pandaserver.dataservice.MailUtils import Mailer
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer


@cache
def configuration() -> PandaConfig:
    """Return the configuration, read once in the life of a process: workers are replaced often enough."""
    config = load(os.environ)
    config.require("server")
    return config


@cache
def site_mapper(tbuf: TaskBuffer) -> SiteMapper:
    """Return the queues; a worker keeps them from one run of a script to the next."""
    return SiteMapper(tbuf.loadSites, default_site(configuration().server))


def mailer() -> Mailer:
    """Return the configured mail server."""
    server = configuration().server
    return Mailer(server.emailSMTPsrv, server.emailSender)


def owner() -> str:
    """Return the name under which this process takes locks in the database.

    It is nobody else's, not even that of a process which gets our number later, or has it in another container.
    """
    return _owner_of(os.getpid())


@cache
def _owner_of(_pid: int) -> str:
    """Draw a name once a process: a forked one has another number."""
    return f"{process_identity()}-{secrets.token_hex(4)}"


def is_alive(name: str) -> bool:
    """Tell whether the process of this machine lives that gave itself such a name; in doubt it does."""
    *_, pid, _drawn = name.split("-")
    if not pid.isdecimal():
        return True
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def required(tbuf: TaskBuffer | None) -> TaskBuffer:
    """Return the task buffer that the caller passed, or say how to run a script by hand."""
    if tbuf is None:
        raise ValueError("a daemon script needs a task buffer; run it with `panda-admin script NAME`")
    return tbuf
