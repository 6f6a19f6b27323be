"""Datasets and transfers: close and freeze datasets, let jobs go on whose files have arrived, give up the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from pandacommon.pandalogger.LogWrapper import LogWrapper
from pandacommon.pandalogger.PandaLogger import PandaLogger
from pandaserver.daemons.environment import required
from pandaserver.daemons.sections import Section, run_sections
from pandaserver.dataservice.Activator import Activator
from pandaserver.dataservice.Closer import after_end, blocks_of, cancel_waiting
from pandaserver.dataservice.Finisher import Finisher
from pandaserver.dataservice.RetryRules import apply_retry_rules
from pandaserver.taskbuffer.FileSpec import FileSpec
from pandaserver.taskbuffer.retry_rules import SERVER_SOURCES
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from pandaserver.taskbuffer.time_limits import COMPONENT, transfer_hours

_log = PandaLogger().getLogger("datasetManager")

#: Datasets, and jobs, that one transaction takes at most.
DATASETS: Final = 500
JOBS: Final = 100

#: Seconds between two looks at the input of an assigned job.
LOOK_AGAIN: Final = 3600.0

#: What only a data management system could do; without one, datasets are names in our registry.
WITHOUT_DDM: Final = (
    "erasing empty datasets",
    "erasing dispatch datasets",
    "looking for replicas of outputs and inputs",
    "erasing sub datasets",
)


def main(argv: Sequence[Any] = (), tbuf: TaskBuffer | None = None, **_: Any) -> None:  # noqa: ARG001
    """Do everything once."""
    log = LogWrapper(_log, None)
    run_sections(log, sections(required(tbuf)))
    log.info(f"no DDM is configured, not done: {', '.join(WITHOUT_DDM)}")


def sections(tbuf: TaskBuffer) -> dict[str, Section]:
    """Return what there is to do, each part a bounded number of small transactions."""
    return {
        "settled": lambda: _close_settled(tbuf),
        "closed": lambda: _repeated(lambda: tbuf.completeClosedDatasets(DATASETS)),
        "reopened": lambda: _repeated(lambda: tbuf.reopenStuckDatasets(DATASETS)),
        "frozen": lambda: _searched(lambda: tbuf.freezeDatasets(DATASETS)),
        "served": lambda: _searched(lambda: tbuf.markServedDatasets(DATASETS)),
        "transferred": Finisher(tbuf).run,
        "overdue": lambda: _fail_overdue(tbuf),
        "activated": lambda: _activate(tbuf),
    }


def _repeated(step: Callable[[], int]) -> int:
    """Repeat a step while it finds as much as it can take."""
    total = found = step()
    while found >= DATASETS:
        found = step()
        total += found
    return total


def _searched(step: Callable[[], tuple[int, int]]) -> int:
    """Repeat a step that looks at more than it changes."""
    found, total = step()
    while found >= DATASETS:
        found, changed = step()
        total += changed
    return total


def _close_settled(tbuf: TaskBuffer) -> int:
    """Close datasets whose last job was killed, or whose closer was lost, except those that are not ours to close."""
    total = 0
    last: str | None = " "  # before all names
    while last is not None:
        found = tbuf.findSettledDatasets(DATASETS, last)
        last = found.last
        blocks = {block.name: block for job in found.jobs for block in blocks_of(job)}
        if blocks:
            total += len(tbuf.closeDatasets([blocks[name] for name in sorted(blocks)]))
    return total


def _fail_overdue(tbuf: TaskBuffer) -> int:
    total = 0
    hours, urgent_hours = transfer_hours(tbuf.getConfigValues(COMPONENT))
    while jobs := tbuf.failOverdueTransfers(hours, urgent_hours, JOBS):
        after_end(tbuf, jobs)
        apply_retry_rules(tbuf, [job.PandaID for job in jobs if job.PandaID is not None], SERVER_SOURCES)
        total += len(jobs)
    return total


def _activate(tbuf: TaskBuffer) -> int:
    """Activate assigned jobs whose input is there; settle those whose library was built, or failed to be, meanwhile."""
    total = 0
    while ids := tbuf.takeAssignedJobs(LOOK_AGAIN, JOBS):
        total += len(tbuf.activateJobs(ids))
        for library in tbuf.awaitedLibraries(ids):
            if library.is_there:
                total += len(Activator(tbuf).run(library.name))
            else:
                cancel_waiting(tbuf, [FileSpec(destinationDBlock=library.name)])
    return total
