"""A job as plain data: what clients submit, pilots run and the database keeps.

The order of the fields is the order of the wire format shared with every client (pickle and JSON), so a field is only
ever appended. ``None`` means unset on every floor; the word ``NULL`` exists only in the encoders for old clients.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from operator import attrgetter
from typing import Any, Final

from pandaserver.taskbuffer.FileSpec import FILE_ATTRIBUTES, FileSpec


@dataclass(slots=True, eq=False)
class JobSpec:
    """One job. Times are naive UTC, sizes are in the unit that the field's comment names."""

    PandaID: int | None = None  # unique job id (server sequence)
    jobDefinitionID: int | None = None  # client job number; for analysis the per-user job counter
    schedulerID: str | None = None  # pilot factory / harvester id
    pilotID: str | None = None  # pilot id string, may hold log URLs
    creationTime: datetime | None = None  # insertion time (UTC)
    creationHost: str | None = None  # submitting host
    modificationTime: datetime | None = None  # last update (UTC)
    modificationHost: str | None = None  # host of last update, worker node once running
    AtlasRelease: str | None = None  # software release (several separated by newline)
    transformation: str | None = None  # payload script name or URL
    homepackage: str | None = None  # software cache / package
    prodSeriesLabel: str | None = None  # series tag, `pandatest` for JEDI jobs
    prodSourceLabel: str | None = None  # activity: user, panda (build), managed, test, ptest, install, ...
    prodUserID: str | None = None  # submitter DN
    assignedPriority: int | None = None  # requested priority
    currentPriority: int | None = None  # effective priority
    attemptNr: int | None = None  # attempt number
    maxAttempt: int | None = None  # retry limit
    jobStatus: str | None = None  # see states.py
    jobName: str | None = None  # free name
    maxCpuCount: int | None = None  # expected CPU/wall seconds
    maxCpuUnit: str | None = None  # unit of it
    maxDiskCount: int | None = None  # work disk
    maxDiskUnit: str | None = None  # usually MB
    ipConnectivity: str | None = None  # network need
    minRamCount: int | None = None  # memory need
    minRamUnit: str | None = None  # usually MB
    startTime: datetime | None = None  # payload start (UTC)
    endTime: datetime | None = None  # payload end (UTC)
    cpuConsumptionTime: int | None = None  # CPU seconds used
    cpuConsumptionUnit: str | None = None  # CPU model text
    commandToPilot: str | None = None  # pending command, e.g. tobekilled
    transExitCode: str | None = None  # payload exit code (text)
    pilotErrorCode: int | None = None  # pilot error
    pilotErrorDiag: str | None = None  # text
    exeErrorCode: int | None = None  # payload error
    exeErrorDiag: str | None = None  # text
    supErrorCode: int | None = None  # supervisor error
    supErrorDiag: str | None = None  # text
    ddmErrorCode: int | None = None  # data management error
    ddmErrorDiag: str | None = None  # text
    brokerageErrorCode: int | None = None  # brokerage error
    brokerageErrorDiag: str | None = None  # text
    jobDispatcherErrorCode: int | None = None  # dispatcher error
    jobDispatcherErrorDiag: str | None = None  # text
    taskBufferErrorCode: int | None = None  # server error (100 kill, 102 expire, ...)
    taskBufferErrorDiag: str | None = None  # text
    computingSite: str | None = None  # queue name
    computingElement: str | None = None  # CE
    jobParameters: str | None = None  # payload arguments; kept in a side table; may end with a multi-step block
    metadata: str | None = None  # payload metadata XML/JSON; side table
    prodDBlock: str | None = None  # input dataset
    dispatchDBlock: str | None = None  # dispatch dataset
    destinationDBlock: str | None = None  # output dataset
    destinationSE: str | None = None  # output storage
    nEvents: int | None = None  # events processed
    grid: str | None = None  # grid flavour
    cloud: str | None = None  # cloud/region
    cpuConversion: float | None = None  # CPU conversion factor
    sourceSite: str | None = None  # input source
    destinationSite: str | None = None  # output site
    transferType: str | None = None  # input access mode (direct, ...)
    taskID: int | None = None  # task id; for non-JEDI analysis nBuild + (nRun<<1)
    cmtConfig: str | None = None  # platform
    stateChangeTime: datetime | None = None  # last status change; set automatically when jobStatus changes
    prodDBUpdateTime: datetime | None = None  # last export time
    lockedby: str | None = None  # `jedi` for task jobs
    relocationFlag: int | None = None  # 1 site fixed by submitter, 2 merge
    jobExecutionID: int | None = None  # external execution id / backgroundable flag
    VO: str | None = None  # virtual organisation
    pilotTiming: str | None = None  # setup` seconds
    workingGroup: str | None = None  # group
    processingType: str | None = None  # sub-activity
    prodUserName: str | None = None  # clean user name
    nInputFiles: int | None = None  # files read
    countryGroup: str | None = None  # country
    batchID: str | None = None  # batch system id
    parentID: int | None = None  # PandaID of the job this one retries
    specialHandling: str | None = None  # comma list of flags (C7)
    jobsetID: int | None = None  # job set id
    coreCount: int | None = None  # cores requested
    nInputDataFiles: int | None = None  # input files
    inputFileType: str | None = None  # input data types
    inputFileProject: str | None = None  # input project
    inputFileBytes: int | None = None  # input size
    nOutputDataFiles: int | None = None  # output files
    outputFileBytes: int | None = None  # output size
    jobMetrics: str | None = None  # `key=value` words
    workQueue_ID: int | None = None  # work queue
    jediTaskID: int | None = None  # task id
    jobSubStatus: str | None = None  # sub-status
    actualCoreCount: int | None = None  # cores used
    reqID: int | None = None  # request id
    maxRSS: int | None = None  # kB
    maxVMEM: int | None = None  # kB
    maxSWAP: int | None = None  # kB
    maxPSS: int | None = None  # kB
    avgRSS: int | None = None  # kB
    avgVMEM: int | None = None  # kB
    avgSWAP: int | None = None  # kB
    avgPSS: int | None = None  # kB
    maxWalltime: int | None = None  # wall limit s
    nucleus: str | None = None  # assigned nucleus
    eventService: int | None = None  # 0/none normal, 1 event service, 2 merge, 3 cloning, 4 jumbo, 5 co-jumbo, 6 fine
    failedAttempt: int | None = None  # failures of inputs so far
    hs06sec: int | None = None  # HS06 seconds
    gshare: str | None = None  # global share name
    hs06: int | None = None  # core count x core power
    totRCHAR: int | None = None  # kB
    totWCHAR: int | None = None  # kB
    totRBYTES: int | None = None  # kB
    totWBYTES: int | None = None  # kB
    rateRCHAR: int | None = None  # kB/s
    rateWCHAR: int | None = None  # kB/s
    rateRBYTES: int | None = None  # kB/s
    rateWBYTES: int | None = None  # kB/s
    resource_type: str | None = None  # SCORE, MCORE, SCORE_HIMEM, ...
    diskIO: int | None = None  # kB/s
    memory_leak: int | None = None  # fit slope
    memory_leak_x2: float | None = None  # fit chi2
    container_name: str | None = None  # container image
    job_label: str | None = None  # user or managed
    gco2_regional: float | None = None  # g CO2
    gco2_global: float | None = None  # g CO2
    cpu_architecture_level: str | None = None  # e.g. x86-64-v3
    outputFileType: str | None = None  # output data types (2026)

    # Kept by the database but not part of the wire format of clients.
    meanCoreCount: float | None = None  # cores used on average

    Files: list[FileSpec] = field(default_factory=list)

    def add_file(self, spec: FileSpec) -> None:
        """Append a file to this job."""
        self.Files.append(spec)

    # In one environment with this package, the client library uses this class in place of its own.

    addFile = add_file

    def dump_to_json_serializable(self) -> list[Any]:
        """Return the values in wire order, and those of the files at the end."""
        values = [getattr(self, name) for name in JOB_ATTRIBUTES]
        return [*values, [file.dump_to_json_serializable() for file in self.Files]]

    def load_from_json_serializable(self, state: Sequence[Any]) -> None:
        """Take over such values; the list of an older release is shorter."""
        for name, value in zip(JOB_ATTRIBUTES, state[:-1], strict=False):
            setattr(self, name, value)
        self.Files = [FileSpec(*values[: len(FILE_ATTRIBUTES)]) for values in state[-1]]

    def load_from_dict(self, values: Mapping[str, Any]) -> None:
        """Take over a job as replies of v1 describe it."""
        for name in JOB_ATTRIBUTES:
            setattr(self, name, values.get(name))
        files: Iterable[Mapping[str, Any]] = values.get("Files") or ()
        self.Files = [FileSpec(*(file.get(name) for name in FILE_ATTRIBUTES)) for file in files]

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as one tuple: frames carry many jobs, and a dictionary of 128 names costs more than the values."""
        return JobSpec, _values_of(self)


_STORED: Final = tuple(f.name for f in fields(JobSpec))
_values_of: Final = attrgetter(*_STORED)

#: Attribute names in wire order: what clients exchange.
JOB_ATTRIBUTES: Final = tuple(name for name in _STORED if name not in ("meanCoreCount", "Files"))

#: Columns of the four live job tables, in the order in which statements name them. The two texts live in side tables.
JOB_COLUMNS: Final = tuple(name for name in _STORED if name not in ("jobParameters", "metadata", "Files"))

#: Numbers that the database keeps as 0 when a submission leaves them out.
ZERO_WHEN_UNSET: Final = frozenset(
    """
    PandaID jobDefinitionID assignedPriority currentPriority attemptNr maxAttempt maxCpuCount maxDiskCount
    minRamCount cpuConsumptionTime pilotErrorCode exeErrorCode supErrorCode ddmErrorCode brokerageErrorCode
    jobDispatcherErrorCode taskBufferErrorCode nEvents
    """.split()
)

#: Longest text that each column takes, in characters.
JOB_TEXT_LIMITS: Final[dict[str, int]] = {
    "schedulerID": 128,
    "pilotID": 200,
    "creationHost": 128,
    "modificationHost": 128,
    "AtlasRelease": 64,
    "transformation": 250,
    "homepackage": 80,
    "prodSeriesLabel": 20,
    "prodSourceLabel": 20,
    "prodUserID": 250,
    "jobStatus": 15,
    "jobName": 256,
    "maxCpuUnit": 32,
    "maxDiskUnit": 4,
    "ipConnectivity": 5,
    "minRamUnit": 2,
    "cpuConsumptionUnit": 128,
    "commandToPilot": 250,
    "transExitCode": 128,
    "pilotErrorDiag": 500,
    "exeErrorDiag": 500,
    "supErrorDiag": 250,
    "ddmErrorDiag": 700,
    "brokerageErrorDiag": 250,
    "jobDispatcherErrorDiag": 250,
    "taskBufferErrorDiag": 300,
    "computingSite": 128,
    "computingElement": 128,
    "prodDBlock": 255,
    "dispatchDBlock": 255,
    "destinationDBlock": 255,
    "destinationSE": 250,
    "grid": 50,
    "cloud": 50,
    "sourceSite": 36,
    "destinationSite": 36,
    "transferType": 10,
    "cmtConfig": 250,
    "lockedby": 128,
    "VO": 32,
    "pilotTiming": 100,
    "workingGroup": 20,
    "processingType": 64,
    "prodUserName": 60,
    "countryGroup": 20,
    "batchID": 80,
    "specialHandling": 80,
    "inputFileType": 32,
    "inputFileProject": 64,
    "jobMetrics": 500,
    "jobSubStatus": 80,
    "nucleus": 52,
    "gshare": 32,
    "resource_type": 56,
    "container_name": 200,
    "job_label": 20,
    "cpu_architecture_level": 20,
    "outputFileType": 32,
}
