"""A worker as plain data: a batch job or the like, submitted by a harvester instance, that runs pilots."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final


@dataclass(slots=True, eq=False)
class WorkerSpec:
    """One worker. Times are naive UTC."""

    harvesterID: str | None = None
    workerID: int | None = None  # unique within the instance
    lastUpdate: datetime | None = None
    status: str | None = None  # missed, submitted, ready, running, idle, finished, failed, cancelled
    batchID: str | None = None
    nodeID: str | None = None
    queueName: str | None = None  # queue of the batch system
    computingSite: str | None = None
    submitTime: datetime | None = None
    startTime: datetime | None = None
    endTime: datetime | None = None
    nCore: int | None = None
    errorCode: int | None = None
    stdOut: str | None = None  # URL
    stdErr: str | None = None  # URL
    batchLog: str | None = None  # URL
    resourceType: str | None = None
    nativeExitCode: int | None = None
    nativeStatus: str | None = None
    diagMessage: str | None = None
    computingElement: str | None = None
    nJobs: int | None = None
    submissionHost: str | None = None
    harvesterHost: str | None = None
    jdl: str | None = None
    jobType: str | None = None  # managed, user, ANY
    pilotStartTime: datetime | None = None
    pilotEndTime: datetime | None = None
    pilotStatus: str | None = None  # started, finished: as the pilot says itself
    pilotStatusSyncTime: datetime | None = None
    minRamCount: int | None = None  # MB


#: Longest text that each column takes, in characters.
WORKER_TEXT_LIMITS: Final[dict[str, int]] = {
    "harvesterID": 50,
    "status": 80,
    "batchID": 80,
    "nodeID": 80,
    "queueName": 80,
    "computingSite": 128,
    "stdOut": 250,
    "stdErr": 250,
    "batchLog": 250,
    "resourceType": 56,
    "nativeStatus": 80,
    "diagMessage": 500,
    "computingElement": 128,
    "submissionHost": 128,
    "harvesterHost": 128,
    "jdl": 250,
    "jobType": 52,
    "pilotStatus": 80,
}
