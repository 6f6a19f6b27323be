"""What the metrics are: from counts of jobs to the values that brokerage reads. No database, no clock."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from pandaserver.taskbuffer.db_proxy_mods.metric import LiveTask, MergeWait, MetricRow, ShareUse, UserJobs

#: Slots that a user may have before tasks lose their first class, and before they lose the second.
SLOTS_A: Final = 1000
SLOTS_B: Final = 8000

#: Percent of a task that must be done for it to go before others: of users in the first class, and of the others.
BOOST_A: Final = 90.0
BOOST_B: Final = 95.0

#: Share whose tasks go before others.
EXPRESS_SHARE: Final = "Express Analysis"

#: A share that has nothing running where it should have something is this many times below its target.
MOST_PREFERENCE: Final = 10.0

#: Queues are good below these, and bad above those: fraction of failed jobs, and hours that merge jobs wait.
GOOD: Final = (0.3, 4.0)
BAD: Final = (0.7, 12.0)

_RUNNING: Final = frozenset({"sent", "starting", "stagein", "running", "stageout"})
_QUEUED: Final = frozenset({"activated", "throttled"})


def share_preferences(shares: Iterable[ShareUse]) -> list[MetricRow]:
    """Return by share how far it is below its target: 1 has what it should, 2 half of it."""
    shares = list(shares)
    total = sum(share.running for share in shares)
    rows = []
    for share in shares:
        target = total * share.percent / 100
        ratio = target / share.running if share.running else MOST_PREFERENCE if target else 1.0
        value = {
            "running_hs": share.running,
            "queued_hs": share.queued,
            "target_hs": target,
            "usage_perc": share.running / target if target else None,
            "preference": min(ratio, MOST_PREFERENCE),
        }
        rows.append(MetricRow(value, share=share.name))
    return rows


def merge_wait_times(waits: Iterable[MergeWait], now: datetime) -> list[MetricRow]:
    """Return by queue how many seconds merge jobs waited, those that still wait included."""
    by_site: defaultdict[str, list[float]] = defaultdict(list)
    for wait in waits:
        if wait.start is not None or wait.status in _QUEUED:
            by_site[wait.site].append(max(0.0, ((wait.start or now) - wait.creation).total_seconds()))
    return [
        MetricRow(
            {
                "n": len(seconds),
                "mean": statistics.fmean(seconds),
                "median": statistics.median(seconds),
                "maximum": max(seconds),
                "stdev": statistics.stdev(seconds) if len(seconds) > 1 else None,
            },
            site,
        )
        for site, seconds in sorted(by_site.items())
    ]


def site_values(
    jobs: Iterable[UserJobs], results: Mapping[str, Mapping[str, int]], waits: Iterable[MetricRow]
) -> list[MetricRow]:
    """Return by queue how good it is for users' jobs: class 1 good, 0 neither, -1 bad."""
    running: defaultdict[str, int] = defaultdict(int)
    queued: defaultdict[str, int] = defaultdict(int)
    for group in jobs:
        if group.site and group.status in _RUNNING:
            running[group.site] += group.jobs
        elif group.site and group.status in _QUEUED:
            queued[group.site] += group.jobs
    hours = {row.site: row.value["median"] / 3600 for row in waits}
    rows = []
    for site in sorted({*running, *queued, *results, *hours}):
        finished, failed = (results.get(site, {}).get(status, 0) for status in ("finished", "failed"))
        failures = failed / (finished + failed) if finished + failed else None
        marks = (failures or 0.0, hours.get(site, 0.0))
        value = {
            "running": running[site],
            "queued": queued[site],
            "finished": finished,
            "failed": failed,
            "failure_rate": failures,
            "merge_wait_hours": hours.get(site),
            "class": -1 if _any_above(marks, BAD) else 0 if _any_above(marks, GOOD) else 1,
        }
        rows.append(MetricRow(value, site))
    return rows


def user_counts(jobs: Iterable[UserJobs]) -> list[MetricRow]:
    """Return by queue and share what each user has there."""
    found: defaultdict[tuple[str, str], dict[str, dict[str, int]]] = defaultdict(dict)
    for group in jobs:
        if group.site and group.gshare:
            of_user = found[group.site, group.gshare].setdefault(group.user, {"nRunning": 0, "nQueue": 0, "slots": 0})
            if group.status in _RUNNING:
                of_user["nRunning"] += group.jobs
                of_user["slots"] += group.cores
            elif group.status in _QUEUED:
                of_user["nQueue"] += group.jobs
    return [MetricRow(users, site, share) for (site, share), users in sorted(found.items())]


def user_values(jobs: Iterable[UserJobs], slots_a: float, slots_b: float) -> list[MetricRow]:
    """Return how many slots each user has, and how many are left in both classes."""
    slots: defaultdict[str, int] = defaultdict(int)
    for group in jobs:
        slots[group.user] += group.cores if group.status in _RUNNING else 0
    users = {
        user: {"slots": used, "rem_slots_A": max(0.0, slots_a - used), "rem_slots_B": max(0.0, slots_b - used)}
        for user, used in sorted(slots.items())
    }
    return [MetricRow(users)] if users else []


def task_values(
    tasks: Iterable[LiveTask],
    users: Mapping[str, Mapping[str, float]],
    progress: Mapping[int, float],
    boost_a: float = BOOST_A,
    boost_b: float = BOOST_B,
) -> dict[int, dict[str, Any]]:
    """Return the class of each task: 2 before others, 1 normal, 0 and -1 of users who have much already.

    ``progress`` is the percentage of a task that is done; a task that is not in it is judged without.
    """
    values: dict[int, dict[str, Any]] = {}
    for task in tasks:
        left = users.get(task.user or "", {})
        base = 1 if left.get("rem_slots_A", 1) > 0 else 0 if left.get("rem_slots_B", 1) > 0 else -1
        done = progress.get(task.id)
        boosted = done is not None and ((base == 1 and done >= boost_a) or (base == 0 and done >= boost_b))
        chosen = 2 if boosted or task.gshare == EXPRESS_SHARE else base
        values[task.id] = {"class": chosen, "user": task.user, "gshare": task.gshare, "progress": done}
    return values


def _any_above(marks: Iterable[float], limits: Iterable[float]) -> bool:
    return any(mark > limit for mark, limit in zip(marks, limits, strict=True))
