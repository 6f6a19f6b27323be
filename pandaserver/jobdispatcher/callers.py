"""Who may act as a pilot."""

from __future__ import annotations

from typing import Final

from pandaserver.api.registry import Call
from pandaserver.jobdispatcher.Protocol import SC_INVALID
from pandaserver.srvcore.errors import Forbidden
from pandaserver.taskbuffer.SiteSpec import SiteSpec
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer

NO_ROLE: Final = "no production/pilot role in VOMS FQANs or non pilot owner"

#: Seconds that a caller may ask for at most.
LONGEST: Final = 300


def is_pilot(call: Call, site: SiteSpec) -> bool:
    """Tell whether the caller runs pilots: by role, or as an owner of pilots of that queue."""
    return call.principal.may_run_pilots or (not call.principal.is_anonymous and call.principal.dn in site.pilot_owners)


def require_pilot(call: Call, site_name: str | None) -> str | None:
    """Refuse callers who do not run pilots, and return the queue whose pilots a caller may only speak for."""
    site = call.sites.get(site_name or "")
    if not is_pilot(call, site):
        raise Forbidden(NO_ROLE, status_code=60)
    return only_queue(call, site)


def only_queue(call: Call, site: SiteSpec) -> str | None:
    """Return the queue that an owner of pilots is limited to; None for a role, which holds at every queue."""
    return None if call.principal.may_run_pilots else site.sitename


def require_valid_token(call: Call, token: str | None, seconds: int | None) -> None:
    """Refuse a pilot that shows a token of ``genPilotToken`` which is none, or has expired; most show none."""
    if token and not task_buffer_for(call, seconds).isPilotToken(token):
        raise Forbidden("the pilot token is unknown or has expired", status_code=SC_INVALID)


def task_buffer_for(call: Call, seconds: int | None) -> TaskBuffer:
    """Return the task buffer with the time that the caller is willing to wait, within our own limits."""
    wanted = float(seconds) if seconds and seconds > 0 else 60.0
    return call.task_buffer.within(max(1.0, min(wanted, LONGEST, call.remaining())))
