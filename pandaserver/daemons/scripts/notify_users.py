"""Mail users whose submissions have ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from pandacommon.pandalogger.LogWrapper import LogWrapper
from pandacommon.pandalogger.PandaLogger import PandaLogger
from pandaserver.daemons.environment import mailer, required
from pandaserver.dataservice.Notifier import Notifier
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer

_log = PandaLogger().getLogger("notify_users")

#: Seconds that a run works at most; what is left waits for the next run.
STRETCH: Final = 100.0


def main(argv: Sequence[Any] = (), tbuf: TaskBuffer | None = None, **_: Any) -> None:  # noqa: ARG001
    """Send what waits."""
    tbuf, log, mail = required(tbuf), LogWrapper(_log, None), mailer()
    if not mail.server:
        log.info("no mail server is configured (emailSMTPsrv), so users are not told")
        return
    log.info(f"sent mails={Notifier(tbuf, mail).run(STRETCH)}")
