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
    """Return why the job cannot go to that queue, None if it can. A limit of 0 is no limit."""
    if not site.is_online:
        return f"is {site.status}"
    if not site.runs_label(job.prodSourceLabel):
        return f"is for {site.type}, not {job.prodSourceLabel}"
    cores = 1 if job.coreCount is None else job.coreCount
    if cores > site.corecount:
        return f"has {site.corecount} cores, {cores} wanted"
    return _memory_misfit(job, site) or _size_misfit(job, site)


def _memory_misfit(job: JobSpec, site: SiteSpec) -> str | None:
    wanted = job.minRamCount or 0
    most = site.maxrss or site.memory
    if most and wanted > most:
        return f"has {most} MB memory, {wanted} wanted"
    if wanted and wanted < site.minrss:
        return f"takes from {site.minrss} MB memory, {wanted} wanted"
    return None


def _size_misfit(job: JobSpec, site: SiteSpec) -> str | None:
    disk, time = job.maxDiskCount or 0, job.maxWalltime or job.maxCpuCount or 0
    if site.maxwdir and disk > site.maxwdir:
        return f"has {site.maxwdir} MB disk, {disk} wanted"
    if site.maxtime and time > site.maxtime:
        return f"allows {site.maxtime} s, {time} wanted"
    if time and time < site.mintime:
        return f"takes from {site.mintime} s, {time} wanted"
    return None


def _explained(reasons: Mapping[str, list[str]]) -> str:
    """Say why each queue was left out, in as much text as the column holds."""
    if not reasons:
        return "there is no queue"
    limit = JOB_TEXT_LIMITS["brokerageErrorDiag"]
    parts = [f"{','.join(names)} {reason}" for reason, names in sorted(reasons.items(), key=lambda r: len(r[1]))]
    text = "no queue fits: " + "; ".join(parts)
    if len(text) <= limit:
        return text
    text = "no queue fits: " + "; ".join(f"{len(names)} of them {reason}" for reason, names in reasons.items())
    return text if len(text) <= limit else f"{text[: limit - 3]}..."
