"""Asking every server whether it still has the sandboxes that are recorded for it."""

from __future__ import annotations

import ssl
import urllib.request
from collections.abc import Callable, Sequence
from enum import Enum
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Final
from urllib.error import HTTPError
from urllib.parse import quote, urlsplit

from pandacommon.pandalogger.PandaLogger import PandaLogger
from pandaserver.taskbuffer.db_proxy_mods.sandbox_check import SandboxRecord

if TYPE_CHECKING:
    from pandaserver.taskbuffer.TaskBuffer import TaskBuffer

_log = PandaLogger().getLogger("copyArchive")

#: Records that one transaction reads, and how often at most in a run.
PAGE: Final = 1000
PAGES: Final = 100

#: Hours between two looks at a file, days after which nobody waits for one on a server that does not answer.
LOOK_AGAIN: Final = 24.0
OLD_DAYS: Final = 30.0

#: Seconds for one question, and for all of a run.
ANSWER_WITHIN: Final = 10.0
RUN_WITHIN: Final = 600.0

_NOT_FOUND: Final = 404


class Answer(Enum):
    """What a server said about a file."""

    present = "present"
    gone = "gone"
    unclear = "unclear"  # it answers something else
    silent = "silent"


Ask = Callable[[str], Answer]


def check_sandboxes(task_buffer: TaskBuffer, url: str, ask: Ask, seconds: float = RUN_WITHIN) -> int:
    """Look for recorded files that nobody looked for since yesterday; return how many records were removed.

    ``url`` has the places {host} and {file}. A file that its server does not have is forgotten, and so is an old one on
    a server that does not answer; that server is asked once a run only.
    """
    deadline = monotonic() + seconds
    silent: set[str] = set()
    removed = 0
    for _ in range(PAGES):
        records = task_buffer.sandboxesToCheck(LOOK_AGAIN, OLD_DAYS, sorted(silent), PAGE)
        if not records:
            break
        checked, gone, is_done = _look(records, url, ask, silent, deadline)
        task_buffer.recordSandboxCheck(checked, gone)
        removed += len(gone)
        if not is_done:
            _log.info("sandboxes: out of time, the others are looked for next time")
            break
    if silent:
        _log.warning(f"sandboxes: no answer from {', '.join(sorted(silent))}")
    return removed


def _look(
    records: Sequence[SandboxRecord], url: str, ask: Ask, silent: set[str], deadline: float
) -> tuple[list[SandboxRecord], list[SandboxRecord], bool]:
    """Return the records whose files were looked for, those to be forgotten, and whether there was time for all."""
    checked: list[SandboxRecord] = []
    gone: list[SandboxRecord] = []
    for record in records:
        if monotonic() > deadline:
            return checked, gone, False
        answer = Answer.silent if record.host in silent else ask(_address(url, record))
        if answer is Answer.silent:
            silent.add(record.host)
        if answer is Answer.gone or (answer is not Answer.present and record.is_old):
            gone.append(record)
        elif answer is not Answer.silent:
            checked.append(record)
    return checked, gone, True


def _address(url: str, record: SandboxRecord) -> str:
    return url.replace("{host}", record.host).replace("{file}", quote(record.name, safe=""))


def asking(authorities: Path | None = None, seconds: float = ANSWER_WITHIN) -> Ask:
    """Return a function that asks by HEAD. ``authorities`` is a directory of CA certificates to be trusted, too."""
    context = ssl.create_default_context()
    if authorities is not None:
        context.load_verify_locations(capath=authorities)

    def ask(address: str) -> Answer:
        if urlsplit(address).scheme not in ("http", "https"):
            raise ValueError(f"sandbox_check_url: {address} is no address of the web")
        request = urllib.request.Request(address, method="HEAD")
        try:
            with urllib.request.urlopen(request, timeout=seconds, context=context):
                return Answer.present
        except HTTPError as error:
            error.close()
            return Answer.gone if error.code == _NOT_FOUND else Answer.unclear
        except (OSError, ValueError):  # no such host, no route, no answer in time, or not the server it says it is
            return Answer.silent

    return ask


def keep_recent(task_buffer: TaskBuffer, host: str, cache_dir: Path, days: float = 1.0) -> int:
    """Renew the age of files of this machine that were recorded again in the last days; return how many."""
    kept = 0
    for name in task_buffer.recentSandboxes(host, days):
        path = cache_dir / Path(name).name
        if path.is_file():
            path.touch()
            kept += 1
    return kept
