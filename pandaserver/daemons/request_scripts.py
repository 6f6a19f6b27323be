"""What the scripts that work through request files share: the plug-in, and telling the user."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from pandacommon.pandalogger.LogWrapper import LogWrapper
from pandaserver.daemons.environment import configuration, mailer
from pandaserver.dataservice.request_queue import Handle, RequestKind, Tell, work_through
from pandaserver.dataservice.RequestPluginBase import Fate, Outcome
from pandaserver.srvcore.principal import clean_name
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer


class Request(Protocol):
    """What every kind of request can say of itself."""

    @property
    def user(self) -> str:
        """DN of who asked."""

    @property
    def about(self) -> str:
        """What it is about."""


def run_requests(kind: RequestKind, handle: Handle, tell: Tell, log: LogWrapper) -> dict[Fate, int]:
    """Work through the requests of that kind on this machine."""
    counts = work_through(configuration().server.cache_dir, kind, handle, tell, log)
    log.info(" ".join(["requests", *(f"{fate.value}={counts[fate]}" for fate in Fate)]))
    return counts


def tell_by_mail(tbuf: TaskBuffer, read: Callable[[str], Request], subject: str, log: LogWrapper) -> Tell:
    """Return a function that leaves a mail for the user of a request; notify_users sends it."""

    def tell(text: str, name: str, outcome: Outcome) -> None:
        request = read(text)
        user = clean_name(request.user)
        if not mailer().server:
            log.warning(f"<file={name}> user={user!r} is not told: no mail server is configured (emailSMTPsrv)")
            return
        verdict = "has been carried out" if outcome.fate is Fate.done else "could not be carried out"
        body = f"Your request ({request.about}) {verdict}.\n\n{outcome.message}\n\nRequest: {name}\n"
        tbuf.leaveUserMail(user, f"PANDA notification for {subject}", body)

    return tell
