"""How many jobs there are: by queue, by cloud, and by what kind of job they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final, TypeVar

from pandaserver.api.answering import Encoder, Envelope, json_answer, pickle_answer
from pandaserver.api.registry import (
    AtLeast,
    AtMost,
    Auth,
    Call,
    Wire,
    comma_separated,
    refuse_anonymous_readers,
    request,
)
from pandaserver.jobdispatcher.harvester_replies import survives_database
from pandaserver.srvcore.errors import BadRequest
from pandaserver.taskbuffer.db_proxy_mods.job_statistics_counts import ENDED_MINUTES
from pandaserver.taskbuffer.job_counts import ALWAYS, ALWAYS_WITH_ENDED, CountedJobs, JobCount, nested
from pandaserver.taskbuffer.labels import ANALYSIS_LABELS, PRODUCTION_LABELS

F = TypeVar("F", bound=Callable[..., Any])

#: What callers name whose jobs they mean; anything else is production.
ANALYSIS: Final = "analysis"
PRODUCTION: Final = "production"

#: Longest window, in minutes.
WEEK: Final = 10080

_BY_TYPE: Final = ("site", "resource_type")
_BY_LABEL: Final = ("site", "label", "resource_type")

Window = Annotated[
    int | None, Wire("timeWindow"), AtLeast(0), AtMost(WEEK), "minutes within which jobs ended that count (720)"
]


def _statistics(*, v1: str, legacy: str, answer: Encoder) -> Callable[[F], F]:
    """Declare a request for numbers of jobs; the historical answer is empty while the database is away."""
    declared = request(v1=v1, legacy=legacy, method="GET", auth=Auth.ANYONE, answer=answer, heavy=True)
    survives = survives_database({})

    def declare(handler: F) -> F:
        return declared(survives(handler))

    return declare


def _live(call: Call) -> list[JobCount]:
    refuse_anonymous_readers(call)
    snapshot = call.task_buffer.within(call.remaining()).getJobCounts()
    return call.task_buffer.within(call.remaining()).refreshJobCounts() if snapshot.is_due else snapshot.counts


def _with_ended(call: Call, minutes: int | None) -> list[JobCount]:
    """Return the jobs that have not ended, and those that ended within so many minutes."""
    window = ENDED_MINUTES if minutes is None else minutes
    return _live(call) + call.task_buffer.within(call.remaining()).getEndedJobCounts(window)


def _answer(found: dict[str, Any]) -> Envelope:
    """Return statistics; v1 calls it no success when there is nothing to tell."""
    return Envelope(found, "" if found else "no jobs", success=bool(found))


# ---- by queue --------------------------------------------------------------------------------------------------------


@request(v1="statistics/active_job_stats_by_site", legacy=None, method="GET", auth=Auth.ANYONE)
def active_jobs_by_site(call: Call) -> Envelope:
    """Count the jobs that have not ended by queue and status.

    For anybody; where `anonymous_reads` is off, for callers with credentials.
    """
    return _answer(nested(_live(call), ("site",), ALWAYS))


@request(v1="statistics/active_job_detailed_stats_by_site", legacy=None, method="GET", auth=Auth.ANYONE)
def active_jobs_by_site_in_detail(call: Call) -> Envelope:
    """Count the jobs that have not ended by queue, resource type, label and status.

    For anybody; where `anonymous_reads` is off, for callers with credentials.
    """
    return _answer(nested(_live(call), ("site", "resource_type", "label")))


@request(
    v1=None,
    legacy="getJobStatisticsPerSite",
    method="GET",
    auth=Auth.ANYONE,
    answer=pickle_answer,
    refused=lambda _: {},
    failed=lambda _: {},
    heavy=True,
)
@survives_database({})
def job_statistics_per_site(
    call: Call,
    predefined: Annotated[str | None, "True: only jobs whose queue was named at submission"] = "False",
    working_group: Annotated[
        list[str] | None, Wire("workingGroup", read=comma_separated), "only jobs of these groups, separated by commas"
    ] = None,
    country_group: Annotated[
        list[str] | None, Wire("countryGroup", read=comma_separated), "only jobs of these groups, separated by commas"
    ] = None,
    job_type: Annotated[str | None, Wire("jobType"), "analysis or production: only these jobs"] = "",
    min_priority: Annotated[int | None, Wire("minPriority"), "only jobs of that priority or a higher one"] = None,
    read_archived: Annotated[str | None, Wire("readArchived"), "True: also jobs that ended within 12 hours"] = None,
) -> dict[str, Any]:
    """Count jobs by queue and status.

    Harvesters of the time cannot read anything but a pickle.

    For anybody; where `anonymous_reads` is off, for callers with credentials.
    """
    wanted = CountedJobs(
        tuple(sorted(_labels(job_type))) if job_type in (ANALYSIS, PRODUCTION) else None,
        tuple(working_group[:1000]) if working_group else None,
        tuple(country_group[:1000]) if country_group else None,
        min_priority,
        only_predefined=predefined == "True",
        with_ended=read_archived == "True",
    )
    if wanted == CountedJobs():
        return nested(_live(call), ("site",), ALWAYS)
    refuse_anonymous_readers(call)
    counts = call.task_buffer.within(call.remaining()).countJobs(wanted)
    return nested(counts, ("site",), ALWAYS_WITH_ENDED if wanted.with_ended else ALWAYS)


@_statistics(
    v1="statistics/job_stats_by_site_and_resource_type", legacy="getJobStatisticsPerSiteResource", answer=json_answer
)
def jobs_by_site_and_resource_type(call: Call, time_window: Window = None) -> Envelope:
    """Count jobs by queue, resource type and status.

    For anybody; where `anonymous_reads` is off, for callers with credentials.
    """
    return _answer(nested(_with_ended(call, time_window), _BY_TYPE, ALWAYS_WITH_ENDED))


@_statistics(
    v1="statistics/job_stats_by_site_share_and_resource_type",
    legacy="get_job_statistics_per_site_label_resource",
    answer=json_answer,
)
def jobs_by_site_label_and_resource_type(
    call: Call,
    time_window: Annotated[
        int | None, AtLeast(0), AtMost(WEEK), "minutes within which jobs ended that count (720)"
    ] = None,
) -> Envelope:
    """Count jobs by queue, label, resource type and status.

    For anybody; where `anonymous_reads` is off, for callers with credentials.
    """
    return _answer(nested(_with_ended(call, time_window), _BY_LABEL, ALWAYS_WITH_ENDED))


# ---- by cloud --------------------------------------------------------------------------------------------------------


@_statistics(v1="statistics/job_stats_by_cloud", legacy="getJobStatistics", answer=pickle_answer)
def jobs_by_cloud(
    call: Call,
    type: Annotated[str | None, Wire("sourcetype"), "analysis or production"] = PRODUCTION,
) -> Envelope:
    """Count the jobs of users, or of production, by cloud and status; those that ended within 12 hours are in it.

    For anybody; where `anonymous_reads` is off, for callers with credentials.
    """
    if type not in (None, "", ANALYSIS, PRODUCTION):
        raise BadRequest(f"'type' must be {PRODUCTION} or {ANALYSIS}, got {type[:40]!r}")
    return _answer(nested(_of(_with_ended(call, None), _labels(type)), ("cloud",)))


@_statistics(
    v1="statistics/production_job_stats_by_cloud_and_processing_type",
    legacy="getJobStatisticsForBamboo",
    answer=pickle_answer,
)
def production_jobs_by_cloud_and_processing_type(
    call: Call,
    use_more_pg: Annotated[str | None, Wire("useMorePG", only="legacy"), "accepted and not used"] = None,  # noqa: ARG001
) -> Envelope:
    """Count the jobs of production by cloud, processing type and status; those that ended within 12 hours are in it.

    For anybody; where `anonymous_reads` is off, for callers with credentials.
    """
    return _answer(nested(_of(_with_ended(call, None), PRODUCTION_LABELS), ("cloud", "processing_type")))


def _labels(kind: str | None) -> frozenset[str]:
    return ANALYSIS_LABELS if kind == ANALYSIS else PRODUCTION_LABELS


def _of(counts: Sequence[JobCount], labels: frozenset[str]) -> list[JobCount]:
    return [count for count in counts if count.label in labels]
