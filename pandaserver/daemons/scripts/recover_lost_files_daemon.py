"""Requests to make lost files again: files ``recov.*`` in the cache directory of this machine."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pandacommon.pandalogger.LogWrapper import LogWrapper
from pandacommon.pandalogger.PandaLogger import PandaLogger
from pandacommon.pandautils.PandaUtils import naive_utcnow
from pandaserver.config.plugins import plugin_for
from pandaserver.daemons.environment import configuration, required
from pandaserver.daemons.request_scripts import run_requests, tell_by_mail
from pandaserver.dataservice.request_formats import now_text, read_recovery
from pandaserver.dataservice.request_queue import RECOVERY
from pandaserver.dataservice.RequestPluginBase import NoFileRecovery, Outcome
from pandaserver.srvcore.file_cache import safe_name
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer

_log = PandaLogger().getLogger("recover_lost_files")


def main(argv: Sequence[Any] = (), tbuf: TaskBuffer | None = None, **_: Any) -> None:  # noqa: ARG001
    """Try those that are at least five seconds old; give up those that are two hours old."""
    tbuf, log, server = required(tbuf), LogWrapper(_log, None), configuration().server
    layer = (plugin_for(server.file_recovery_plugins, server.main_vo) or NoFileRecovery)(taskBuffer=tbuf, logger=log)
    mail = tell_by_mail(tbuf, read_recovery, "recovery of lost files", log)

    def recover(text: str, _name: str) -> Outcome:
        outcome: Outcome = layer.recover(read_recovery(text))
        return outcome

    def tell(text: str, name: str, outcome: Outcome) -> None:
        log_name = read_recovery(text).options.get("logFilename")
        if log_name:
            write_log(server.cache_dir / "jedilog" / safe_name(str(log_name)), outcome)
        mail(text, name, outcome)

    run_requests(RECOVERY, recover, tell, log)


def write_log(path: Path, outcome: Outcome) -> None:
    """Add a line to what the user sees. The web server announces files there as compressed, so they are."""
    path.parent.mkdir(exist_ok=True)
    with path.open("ab") as file:
        file.write(gzip.compress(f"{now_text(naive_utcnow())} {outcome.fate.value} {outcome.message}\n".encode()))
