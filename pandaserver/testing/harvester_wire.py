"""How a stock harvester reads replies, and which of them end one of its threads for good.

Three generations are in use: 2019 and 0.5 speak the historical methods in forms, 2026 speaks v1 in JSON. What ends a
thread, or is outside of what its family of replies may be, raises :class:`Stopped` here.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

Generation = Literal["2019", "0.5", "2026"]
GENERATIONS: Final[tuple[Generation, ...]] = ("2019", "0.5", "2026")

#: Keys of every job map; without one, the thread that fetches jobs ends and the batch is lost.
JOB_KEYS: Final = (
    "PandaID",
    "taskID",
    "attemptNr",
    "jobsetID",
    "currentPriority",
    "inFiles",
    "GUID",
    "fsize",
    "checksum",
    "scopeIn",
    "realDatasetsIn",
    "ddmEndPointIn",
    "outFiles",
    "scopeOut",
    "realDatasets",
    "ddmEndPointOut",
    "logFile",
    "logGUID",
    "scopeLog",
)
#: What is added up over jobs: a text here blocks all jobs of a submission.
NUMBER_KEYS: Final = ("coreCount", "minRamCount", "maxDiskCount", "maxWalltime", "ioIntensity")


class Stopped(Exception):
    """The reply ends a thread of the harvester, which looks alive afterwards."""


@dataclass(frozen=True, slots=True)
class Method:
    """One call: its names, the family of its historical reply, and the verb at v1."""

    legacy: str | None
    v1: str | None
    family: Literal["map", "pair", "pickle", "json"]
    verb: Literal["GET", "POST"] = "POST"


METHODS: Final[Mapping[str, Method]] = {
    "heartbeat": Method("harvesterIsAlive", "harvester/heartbeat", "pair"),
    "worker_id": Method("get_max_worker_id", "harvester/get_current_worker_id", "json", "GET"),
    "jobs": Method("getJob", "pilot/acquire_jobs", "map"),
    "update_jobs": Method("updateJobsInBulk", "pilot/update_jobs_bulk", "pair"),
    "check_jobs": Method("checkJobStatus", "job/get_status", "map", "GET"),
    "job_statistics": Method("getJobStatisticsPerSite", "statistics/active_job_stats_by_site", "pickle", "GET"),
    "detailed_statistics": Method(None, "statistics/active_job_detailed_stats_by_site", "json", "GET"),
    "update_workers": Method("updateWorkers", "harvester/update_workers", "pair"),
    "old_worker_statistics": Method("reportWorkerStats", None, "pair"),
    "report_worker_statistics": Method("reportWorkerStats_jobtype", "harvester/report_worker_statistics", "pair"),
    "worker_statistics": Method("getWorkerStats", "harvester/get_worker_statistics", "json", "GET"),
    "dialogs": Method("addHarvesterDialogs", "harvester/add_dialogs", "pair"),
    "metrics": Method("updateServiceMetrics", "harvester/update_service_metrics", "pair"),
    "commands": Method("getCommands", "harvester/acquire_commands", "map"),
    "acknowledge": Method("ackCommands", "harvester/acknowledge_commands", "map"),
    "resource_types": Method("getResourceTypes", "metaconfig/get_resource_types", "map", "GET"),
}


@dataclass(frozen=True, slots=True)
class Heard:
    """What a harvester makes of a reply that stops nothing. Without success it tries again later."""

    success: bool
    data: Any = None
    message: str = ""


def understand(generation: Generation, name: str, status: int, body: bytes) -> Heard:
    """Return what a harvester makes of a reply; :class:`Stopped` if that is the last thing that its thread does."""
    if status != 200:
        return Heard(False, message=f"HTTP {status}")
    try:
        heard = _understand_v1(name, body) if generation == "2026" else _understand_legacy(name, body)
        if heard.success and name == "jobs":
            _check_jobs(heard.data, generation)
    except (KeyError, TypeError, ValueError, IndexError, pickle.UnpicklingError) as problem:
        raise Stopped(f"{generation} {name}: {problem!r} in {body[:200]!r}") from problem
    return heard


def _understand_v1(name: str, body: bytes) -> Heard:
    reply = json.loads(body)
    if not isinstance(reply, dict):
        raise TypeError("no object")
    success, data = reply["success"], reply["data"]
    message: str = reply["message"]
    if not success:
        # A harvester keeps what it knew about jobs only if there is no data at all.
        return Heard(False, data, message)
    match name:
        case "commands":
            _check_commands(data)
        case "jobs":
            data = data["jobs"] if data["StatusCode"] == 0 else []
        case "update_jobs":
            return Heard(True, [_job_reply(item) for item in data], message)
        case "check_jobs":
            _check_objects(data)
        case "update_workers":
            _check_flags(data)
    return Heard(True, data, message)


def _job_reply(item: Any) -> dict[str, Any]:
    """Return what a harvester takes from one item: 999 and the message for an item without data."""
    if not item["data"]:
        return {"StatusCode": 999, "ErrorDiag": item["message"]}
    _ = item["data"]["StatusCode"]
    found: dict[str, Any] = item["data"]
    return found


def _understand_legacy(name: str, body: bytes) -> Heard:
    match METHODS[name].family:
        case "pickle":
            found = pickle.loads(body)  # noqa: S301  as they do; the bytes are our own
            _check_statistics(found)
            return Heard(True, found)
        case "json":
            return Heard(True, json.loads(body))
        case "pair":
            success, data = json.loads(body)
            if not isinstance(success, bool):
                raise TypeError("the first of the pair is no truth")
            return _pair(name, success, data)
        case "map":
            return _map(name, json.loads(body))


def _pair(name: str, success: bool, data: Any) -> Heard:
    if not success:
        return Heard(False, message=str(data))
    if name == "update_jobs":
        data = [json.loads(item["content"]) if item["type"] == "json" else {"StatusCode": 999} for item in data]
        _check_objects(data)
    if name == "update_workers":
        _check_flags(data)
    return Heard(True, data)


def _map(name: str, found: Any) -> Heard:
    if not isinstance(found["StatusCode"], int):
        raise TypeError("StatusCode is no number")
    if found["StatusCode"] != 0:
        return Heard(False, message=found["errorDialog"])
    match name:
        case "jobs":
            return Heard(True, found["jobs"])
        case "commands":
            _check_commands(found["Commands"])
            return Heard(found["Returns"] == 0, found["Commands"])
        case "check_jobs":
            _check_objects(found["data"])
            return Heard(True, found["data"])
        case "resource_types":
            _check_objects(found["ResourceTypes"])
            return Heard(True, found["ResourceTypes"])
    return Heard(True)


def _check_jobs(jobs: Sequence[Mapping[str, Any]], generation: Generation) -> None:
    for job in jobs:
        lists = {key: job[key] for key in JOB_KEYS}
        outputs = lists["outFiles"].split(",")
        if lists["logFile"] not in outputs and (lists["logFile"] or generation == "2019"):
            raise ValueError(f"logFile {lists['logFile']!r} is none of {outputs}")
        for key in NUMBER_KEYS:
            if not isinstance(job.get(key), int | float | None):
                raise TypeError(f"{key} is {job[key]!r}")


def _check_commands(commands: Any) -> None:
    if not isinstance(commands, list):
        raise TypeError("commands are no list")
    for command in commands:
        _ = [command[key] for key in ("command_id", "command", "params", "ack_requested")]


def _check_objects(items: Any) -> None:
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise TypeError("no list of objects")


def _check_flags(items: Any) -> None:
    if not isinstance(items, list) or not all(isinstance(item, bool) for item in items):
        raise TypeError("no list of truths")


def _check_statistics(found: Any) -> None:
    if not isinstance(found, dict) or not all(isinstance(n, int) for queue in found.values() for n in queue.values()):
        raise TypeError("no numbers by queue and status")
