"""Metrics for brokerage, each in its own period, into the table METRICS."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pandacommon.pandalogger.LogWrapper import LogWrapper
from pandacommon.pandalogger.PandaLogger import PandaLogger
from pandacommon.pandautils.PandaUtils import naive_utcnow
from pandaserver.daemons.environment import required
from pandaserver.daemons.metric_locks import is_due
from pandaserver.daemons.sections import Section, run_sections
from pandaserver.dataservice import metrics
from pandaserver.taskbuffer.db_proxy_mods.metric import MetricRow
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer

_log = PandaLogger().getLogger("metric_collector")

_LOCK: Final = "pandaMetr"

#: Hours of ended jobs that are looked at.
RESULT_HOURS: Final = 24.0
WAIT_HOURS: Final = 24.0 * 7

PMERGE_WAIT: Final = "analy_pmerge_jobs_wait_time"
USER_EVAL: Final = "analy_user_eval"


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric: minutes between two computations, and how it is made."""

    minutes: float
    make: Callable[[TaskBuffer], list[MetricRow]]


def _shares(tbuf: TaskBuffer) -> list[MetricRow]:
    return metrics.share_preferences(tbuf.getShareUse())


def _merge_waits(tbuf: TaskBuffer) -> list[MetricRow]:
    return metrics.merge_wait_times(tbuf.getMergeWaits(WAIT_HOURS), naive_utcnow())


def _sites(tbuf: TaskBuffer) -> list[MetricRow]:
    return metrics.site_values(tbuf.getUserJobs(), tbuf.getSiteResults(RESULT_HOURS), tbuf.getMetric(PMERGE_WAIT))


def _user_jobs(tbuf: TaskBuffer) -> list[MetricRow]:
    return metrics.user_counts(tbuf.getUserJobs())


def _users(tbuf: TaskBuffer) -> list[MetricRow]:
    limits = tbuf.getConfigValues("analy_eval")
    slots_a = float(limits.get("USER_USAGE_THRESHOLD_A", metrics.SLOTS_A))
    slots_b = float(limits.get("USER_USAGE_THRESHOLD_B", metrics.SLOTS_B))
    return metrics.user_values(tbuf.getUserJobs(), slots_a, slots_b)


#: In the order in which they are computed: a metric may read one before it.
METRICS: Final = {
    "gshare_preference": Metric(5, _shares),
    PMERGE_WAIT: Metric(30, _merge_waits),
    "analy_site_eval": Metric(30, _sites),
    "users_jobs_stats": Metric(5, _user_jobs),
    USER_EVAL: Metric(10, _users),
}


def main(argv: Sequence[Any] = (), tbuf: TaskBuffer | None = None, **_: Any) -> None:  # noqa: ARG001
    """Compute those that are due."""
    tbuf = required(tbuf)
    due = {name: metric for name, metric in METRICS.items() if is_due(tbuf, _LOCK, name, metric.minutes)}
    run_sections(LogWrapper(_log, None), {name: _section(tbuf, name, metric) for name, metric in due.items()})


def _section(tbuf: TaskBuffer, name: str, metric: Metric) -> Section:
    return lambda: tbuf.storeMetric(name, metric.make(tbuf))
