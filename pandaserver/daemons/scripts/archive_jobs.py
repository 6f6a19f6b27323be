"""Move jobs that ended a while ago into the archive, and forget histories that nobody asks for any more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any, Final

from pandacommon.pandalogger.LogWrapper import LogWrapper
from pandacommon.pandalogger.PandaLogger import PandaLogger
from pandaserver.daemons.environment import required
from pandaserver.daemons.sections import run_sections
from pandaserver.taskbuffer.db_proxy_mods.job_archive import MOST_STUCK
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer

_log = PandaLogger().getLogger("archive_jobs")

#: Days that ended jobs stay in the live tables. A job may wait that long for the library of another one.
LIVE_DAYS: Final = 7.0
HISTORY_DAYS: Final = 90.0
ANSWER_DAYS: Final = 1.0
SERVICE_DAYS: Final = 7.0
EVENT_DAYS: Final = 30.0

#: Days after which a machine of which no pilot tells is forgotten.
NODE_DAYS: Final = 365.0

#: Jobs of one transaction, and history rows.
JOBS: Final = 100
EVENT_SETS: Final = 100
ROWS: Final = 1000

#: Seconds that each part works at most; the rest is left to the next run.
STRETCH: Final = 1200.0


def main(argv: Sequence[Any] = (), tbuf: TaskBuffer | None = None, **_: Any) -> None:
    """Do everything. Arguments: days after which ended jobs are moved (7), and others are forgotten (90)."""
    tbuf = required(tbuf)
    live_days = float(argv[1]) if len(argv) > 1 else LIVE_DAYS
    history_days = float(argv[2]) if len(argv) > 2 else HISTORY_DAYS
    run_sections(
        LogWrapper(_log, None),
        {
            "archived": lambda: move_jobs(tbuf, live_days),
            "history": lambda: repeat(lambda: tbuf.forgetHistory(history_days, ROWS)),
            "workers": lambda: repeat(lambda: tbuf.forgetWorkers(history_days, ROWS)),
            "uploads": lambda: tbuf.forgetSandboxes(history_days),
            "answers": lambda: repeat(lambda: tbuf.forgetAnswers(ANSWER_DAYS, ROWS)),
            "nodes": lambda: tbuf.forgetWorkerNodes(NODE_DAYS),
            "events": lambda: tbuf.forgetEvents(EVENT_DAYS, EVENT_SETS),
            "harvesters": lambda: tbuf.forgetServiceWords(SERVICE_DAYS),
        },
    )


def move_jobs(tbuf: TaskBuffer, days: float, stretch: float = STRETCH) -> int:
    """Move batches until none is left or the time is over; jobs that differ from their archived copy stay."""
    total, stuck, until = 0, set[int](), monotonic() + stretch
    while monotonic() < until:
        done = tbuf.archiveJobs(days, JOBS, sorted(stuck))
        total += len(done.moved)
        stuck.update(done.stuck)
        if done.stuck:
            _log.error(f"kept n={len(done.stuck)} jobs that the archive has with other content PandaIDs={done.stuck}")
        if len(done.moved) + len(done.stuck) < JOBS or len(stuck) > MOST_STUCK - JOBS:
            break
    return total


def repeat(forget: Callable[[], int], stretch: float = STRETCH) -> int:
    """Forget rows until less than a batch is found or the time is over."""
    total, until = 0, monotonic() + stretch
    while monotonic() < until:
        deleted = forget()
        total += deleted
        if deleted < ROWS:
            break
    return total
