"""Which queue a job goes to, when its submitter names none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from pandaserver.taskbuffer.JobSpec import JOB_TEXT_LIMITS, JobSpec
from pandaserver.taskbuffer.SiteSpec import QueueLoad, SiteSpec

_IDLE: Final = QueueLoad()


@dataclass(frozen=True, slots=True)
class Choice:
    """The queue that was chosen, or why there is none."""

    site: SiteSpec | None = None
    reason: str = ""


class Broker:
    """Chooses queues for jobs one after the other, and counts what it has chosen."""

    def __init__(self, sites: Iterable[SiteSpec], load: Mapping[str, QueueLoad]) -> None:
        self._sites = sorted(sites, key=lambda site: site.sitename)
        self._load = load
        self._chosen: Counter[str] = Counter()

    def choose(self, job: JobSpec) -> Choice:
        """Return the queue with the fewest jobs waiting among those that fit; of equals the one that runs most."""
        reasons: dict[str, list[str]] = {}
        fitting = []
        for site in self._sites:
            reason = misfit(job, site)
            if reason is None:
                fitting.append(site)
            else:
                reasons.setdefault(reason, []).append(site.sitename)
        if not fitting:
            return Choice(reason=_explained(reasons))
        site = min(fitting, key=self._rank)
        self._chosen[site.sitename] += 1
        return Choice(site)

    def _rank(self, site: SiteSpec) -> tuple[int, int, str]:
        load = self._load.get(site.sitename, _IDLE)
        return load.queued + self._chosen[site.sitename], -load.running, site.sitename


def misfit(job: JobSpec, site: SiteSpec) -> str | None:
    """Return why the job cannot go to that queue, None if it can: offered < wanted. A limit of 0 is no limit."""
    if not site.is_online:
        return site.status
    if not site.runs_label(job.prodSourceLabel):
        return f"type {site.type}, label {job.prodSourceLabel}"
    cores = 1 if job.coreCount is None else job.coreCount
    if cores > site.corecount:
        return f"cores {site.corecount} < {cores}"
    return _memory_misfit(job, site) or _size_misfit(job, site)


def _memory_misfit(job: JobSpec, site: SiteSpec) -> str | None:
    wanted = job.minRamCount or 0
    most = site.maxrss or site.memory
    if most and wanted > most:
        return f"memory {most} < {wanted} MB"
    if wanted and wanted < site.minrss:
        return f"memory {wanted} < minimum {site.minrss} MB"
    return None


def _size_misfit(job: JobSpec, site: SiteSpec) -> str | None:
    disk, time = job.maxDiskCount or 0, job.maxWalltime or job.maxCpuCount or 0
    if site.maxwdir and disk > site.maxwdir:
        return f"disk {site.maxwdir} < {disk} MB"
    if site.maxtime and time > site.maxtime:
        return f"time {site.maxtime} < {time} s"
    if time and time < site.mintime:
        return f"time {time} < minimum {site.mintime} s"
    return None


def _explained(reasons: Mapping[str, list[str]]) -> str:
    """Say why each queue was left out, in as much text as the column holds."""
    if not reasons:
        return "there is no queue"
    limit = JOB_TEXT_LIMITS["brokerageErrorDiag"]
    parts = [f"{','.join(names)}: {reason}" for reason, names in sorted(reasons.items(), key=lambda r: len(r[1]))]
    text = "no queue fits: " + "; ".join(parts)
    if len(text) <= limit:
        return text
    text = "no queue fits: " + "; ".join(f"{len(names)} queues: {reason}" for reason, names in reasons.items())
    return text if len(text) <= limit else f"{text[: limit - 3]}..."
