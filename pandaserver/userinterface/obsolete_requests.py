"""Historical methods that are no longer supported: each says so, in its own form of reply, and names what to use.

What is sent along is not looked at, and nothing is done.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pandaserver.api.answering import Encoder, Envelope, Text, json_answer, pickle_answer, plain_answer
from pandaserver.api.registry import Auth, Call, request


def _pair(message: str) -> Any:
    return (False, message)


def _list(message: str) -> Any:
    return [False, message]


def _text(message: str) -> Any:
    return Text(f"ERROR : {message}")


@dataclass(frozen=True, slots=True)
class Form:
    """In which form a method answered, and how it says something else in that form."""

    encoder: Encoder
    say: Callable[[str], Any]


PICKLE: Final = Form(pickle_answer, _pair)
JSON: Final = Form(json_answer, _list)
TEXT: Final = Form(plain_answer, _text)

_STATISTICS: Final = "getJobStatisticsPerSite, or statistics/active_job_detailed_stats_by_site"
_DESCRIPTION: Final = "getJobStatus with PandaIDs, or job/get_description"
_TASK: Final = "getPandaIDsWithTaskID, or task/get_job_ids"
_QUEUES: Final = "getSiteSpecs, or metaconfig/get_site_specs"
_RUCIO: Final = "Rucio, which keeps datasets and their files"
_NOBODY: Final = "nothing: it happens by itself"
_SITES: Final = "the list of banned users: every user may use every queue"

#: Name -> who may call it, form of its reply, what to use.
OBSOLETE: Final[Mapping[str, tuple[Auth, Form, str]]] = {
    # jobs
    "resubmitJobs": (Auth.USER, PICKLE, "reassignJobs, or job/reassign"),
    "queryPandaIDs": (Auth.ANYONE, PICKLE, _DESCRIPTION),
    "getPandaIDsSite": (Auth.ANYONE, PICKLE, _STATISTICS),
    "getPandaIDwithJobExeID": (Auth.ANYONE, PICKLE, _DESCRIPTION),
    "getJobIDsInTimeRange": (Auth.USER, PICKLE, _TASK),
    "getPandIDsWithJobID": (Auth.USER, PICKLE, _DESCRIPTION),
    "checkMergeGenerationStatus": (Auth.USER, PICKLE, _TASK),
    "getSlimmedFileInfoPandaIDs": (Auth.USER, PICKLE, _DESCRIPTION),
    "retryFailedJobsInActive": (Auth.SIGNED_IN, TEXT, _NOBODY),
    "getSerialNumberForGroupJob": (Auth.SIGNED_IN, PICKLE, "$GROUPJOBSN in names of files of submitted jobs"),
    "changeJobPriorities": (Auth.PRODUCTION, PICKLE, "changeTaskPriority, or task/change_priority"),
    "getJobsToBeUpdated": (Auth.ANYONE, PICKLE, "the messages about jobs"),
    "updateProdDBUpdateTimes": (Auth.USER, PICKLE, "the messages about jobs"),
    "runTaskAssignment": (Auth.USER, PICKLE, _NOBODY),
    # tasks
    "getRetryHistory": (Auth.USER, PICKLE, "parentID of jobs, in getJobStatus or task/get_job_descriptions"),
    "listTasksInShare": (Auth.PRODUCTION, PICKLE, "task/get_tasks_detailed_info_since with a filter of gshare"),
    # statistics, queues, clouds
    "getJobStatisticsWithLabel": (Auth.ANYONE, PICKLE, "get_job_statistics_per_site_label_resource"),
    "getJobStatisticsPerUserSite": (Auth.ANYONE, PICKLE, _STATISTICS),
    "getHighestPrioJobStat": (Auth.ANYONE, PICKLE, _STATISTICS),
    "getQueuedAnalJobs": (Auth.USER, PICKLE, f"{_STATISTICS}; jobType analysis"),
    "getNUserJobs": (Auth.PILOT, PICKLE, _STATISTICS),
    "getNumPilots": (Auth.ANYONE, PICKLE, "getWorkerStats, or harvester/get_worker_statistics"),
    "getCloudSpecs": (Auth.ANYONE, PICKLE, f"{_QUEUES}; each queue names its cloud"),
    "queryJobInfoPerCloud": (Auth.ANYONE, PICKLE, "getJobStatistics, or statistics/job_stats_by_cloud"),
    "seeCloudTask": (Auth.ANYONE, PICKLE, _NOBODY),
    "getAssigningTask": (Auth.ANYONE, PICKLE, _NOBODY),
    "setCloudTaskByUser": (Auth.PRODUCTION, TEXT, "reassignTask, or task/reassign"),
    "getActiveDatasets": (Auth.ANYONE, TEXT, _RUCIO),
    "getGShareStatus": (Auth.USER, JSON, "statistics/job_stats_by_site_share_and_resource_type"),
    # datasets and files
    "queryLastFilesInDataset": (Auth.ANYONE, PICKLE, _RUCIO),
    "getFilesInUseForAnal": (Auth.ANYONE, PICKLE, _RUCIO),
    "getDisInUseForAnal": (Auth.ANYONE, PICKLE, _RUCIO),
    "getLFNsInUseForAnal": (Auth.ANYONE, PICKLE, _RUCIO),
    "datasetCompleted": (Auth.ANYONE, TEXT, "nothing: arrived input is found by the daemon"),
    "updateFileStatusInDisp": (Auth.USER, TEXT, "nothing: arrived input is found by the daemon"),
    # access of users to queues
    "addSiteAccess": (Auth.USER, PICKLE, _SITES),
    "listSiteAccess": (Auth.USER, PICKLE, _SITES),
    "updateSiteAccess": (Auth.USER, TEXT, _SITES),
}


def no_longer(name: str, replacement: str) -> str:
    """Return what a caller of such a method is told."""
    return f"{name} is no longer supported; use {replacement}"


def _declare(name: str, auth: Auth, form: Form, replacement: str) -> None:
    def answer(call: Call) -> Envelope:  # noqa: ARG001
        return Envelope(legacy=form.say(no_longer(name, replacement)))

    answer.__doc__ = f"No longer supported; use {replacement}.\n\n    For anybody.\n    "
    answer.__qualname__ = answer.__name__ = name
    request(v1=None, legacy=name, method="ANY", auth=auth, answer=form.encoder, needs_database=False)(answer)


for _name, (_auth, _form, _replacement) in OBSOLETE.items():
    _declare(_name, _auth, _form, _replacement)
