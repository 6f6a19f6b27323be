"""The four live job tables, which share their columns, and the tables beside them."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Column, Index, Table
from sqlalchemy.sql.schema import SchemaItem

from pandaserver.taskbuffer.requests import Selection
from pandaserver.taskbuffer.schema.declare import (
    EPOCH,
    big,
    check,
    clob,
    counted,
    decimal,
    index,
    number,
    table,
    time,
    word,
)
from pandaserver.taskbuffer.selections import GROUPS, OF_SELECTION, OTHER_LABELS, WAITING
from pandaserver.taskbuffer.states import JobStatus, states_of

#: PostgreSQL settings of tables whose rows change and die fast: room on the page for updates that touch no index
#: (heartbeats), and cleaning up early enough that a claim does not wade through dead entries.
QUEUE_STORAGE: Final = {
    "fillfactor": 70,
    "autovacuum_vacuum_scale_factor": 0.01,
    "autovacuum_analyze_scale_factor": 0.02,
    "autovacuum_vacuum_cost_delay": 0,
}

#: Backends whose indexes can be limited to the rows of one status.
PARTIAL: Final = ("postgresql", "sqlite")
WHOLE: Final = ("mysql", "mariadb", "oracle")


def jobs_table(
    name: str,
    meaning: str,
    initial: JobStatus,
    *items: SchemaItem,
    schema: str = "ATLAS_PANDA",
    states_like: str | None = None,
    **options: Any,
) -> Table:
    """Declare one of the job tables: the same columns, in the greatest width that any of them ever had.

    It holds the states that live in it, or those of the table ``states_like``.
    """
    states = ", ".join(f"'{state}'" for state in states_of(states_like or name))
    # No state lives in a table that only monitors read, so no row may.
    home = check(f"ck_{name.lower()}_jobstatus", f"jobstatus IN ({states})" if states else "jobstatus IS NULL")
    return table(f"{schema}.{name}", meaning, *_job_columns(initial), home, *items, **options)


def _job_columns(initial: JobStatus) -> list[Column[Any]]:
    return [
        big(
            "PandaID", "job id, from JOBSDEFINED4_PANDAID_SEQ; key kept when the row moves between job tables", key=True
        ),
        big(
            "jobDefinitionID",
            "groups jobs of one submission: the user's counter, or the task id",
            required=True,
            default=0,
        ),
        word("schedulerID", 128, "name of pilot factory / worker provider that asked for the job"),
        word("pilotID", 200, "log/stdout URLs and pilot version string, pipe separated"),
        time("creationTime", "UTC; set once at insert", required=True, default=EPOCH),
        word("creationHost", 128, "host that submitted"),
        time("modificationTime", "UTC; set on every status change and every heartbeat", required=True, default=EPOCH),
        word("modificationHost", 128, "last writer: server host or worker node"),
        word("AtlasRelease", 64, "software release tag (generic)"),
        word("transformation", 250, "payload executable or URL"),
        word("homepackage", 80, "software cache/project tag"),
        word("prodSeriesLabel", 20, "legacy", default="Rome"),
        word(
            "prodSourceLabel",
            20,
            "activity class: managed, user, panda, test, ptest, rc_test, rc_test2, rc_alrb, prod_test, install, ddm",
            default="managed",
        ),
        word("prodUserID", 250, "owner identity (certificate DN or OIDC id)"),
        number("assignedPriority", "priority at submission", required=True, default=0),
        number("currentPriority", "effective priority used for dispatch ordering", required=True, default=0),
        number(
            "attemptNr", "attempt counter; a pilot report carrying another value is rejected", required=True, default=0
        ),
        number("maxAttempt", "upper limit of attempts", required=True, default=0),
        word("jobStatus", 15, "see states", required=True, default=initial),
        word("jobName", 256, "free name"),
        big("maxCpuCount", "CPU time limit", required=True, default=0),
        word("maxCpuUnit", 32, "unit for previous column"),
        big("maxDiskCount", "scratch disk requirement", required=True, default=0),
        word("maxDiskUnit", 4, "usually MB"),
        word("ipConnectivity", 5, "legacy yes/no"),
        big("minRamCount", "memory requirement (MB, whole job)", required=True, default=0),
        word("minRamUnit", 2, "usually MB"),
        time("startTime", "UTC; payload start", default=EPOCH),
        time("endTime", "UTC; payload end", default=EPOCH),
        big("cpuConsumptionTime", "used CPU seconds", required=True, default=0),
        word("cpuConsumptionUnit", 128, "CPU model / unit text"),
        word(
            "commandToPilot",
            250,
            "pending command handed to the pilot in the next heartbeat reply (tobekilled, debug, ...)",
        ),
        word("transExitCode", 128, "payload exit code"),
        number("pilotErrorCode", "set from pilot report", required=True, default=0),
        word("pilotErrorDiag", 500, "text"),
        number("exeErrorCode", "payload wrapper error", required=True, default=0),
        word("exeErrorDiag", 500, "text"),
        number("supErrorCode", "supervisor / worker manager error", required=True, default=0),
        word("supErrorDiag", 250, "text"),
        number("ddmErrorCode", "data service error", required=True, default=0),
        word("ddmErrorDiag", 700, "text"),
        number("brokerageErrorCode", "brokerage error", required=True, default=0),
        word("brokerageErrorDiag", 250, "text"),
        number("jobDispatcherErrorCode", "dispatcher / watcher error", required=True, default=0),
        word("jobDispatcherErrorDiag", 250, "text"),
        number("taskBufferErrorCode", "task buffer error (kill, expire, retry marks)", required=True, default=0),
        word("taskBufferErrorDiag", 300, "text"),
        word("computingSite", 128, "queue name"),
        word("computingElement", 128, "CE name / worker id string"),
        clob("jobParameters", "always NULL here; text is in JOBPARAMSTABLE"),
        clob("metadata", "always NULL here; text is in METATABLE"),
        word("prodDBlock", 255, "main input dataset"),
        word("dispatchDBlock", 255, "dispatch (dis) dataset"),
        word("destinationDBlock", 255, "main output dataset"),
        word("destinationSE", 250, "destination site name; 'local' and 'nucleus:' forms exist"),
        big("nEvents", "events processed", required=True, default=0),
        word("grid", 50, "grid flavour"),
        word("cloud", 50, "regional grouping"),
        decimal("cpuConversion", 9, 4, "core power factor from pilot"),
        word("sourceSite", 36, "legacy transfer source"),
        word("destinationSite", 36, "legacy"),
        word("transferType", 10, "input access mode (direct, ...)"),
        number("taskID", "legacy task id"),
        word("cmtConfig", 250, "platform tag"),
        time("stateChangeTime", "UTC; time of last status change", default=EPOCH),
        time("prodDBUpdateTime", "UTC; last push to task layer (legacy)", default=EPOCH),
        word("lockedby", 128, "owner layer; jedi for task-layer jobs"),
        number("relocationFlag", "2 marks secondary/forced placement; excluded from some recounts", default=0),
        big("jobExecutionID", "1 = may run in background; 0 otherwise (reused column)", default=0),
        word("VO", 32, "virtual organisation"),
        word("pilotTiming", 100, "pipe separated stage timings"),
        word("workingGroup", 20, "group/role for group production"),
        word("processingType", 64, "workload type"),
        word("prodUserName", 60, "normalised owner name"),
        number("nInputFiles", "input files used"),
        word("countryGroup", 20, "country of submitter"),
        word("batchID", 80, "batch id"),
        big("parentID", "PandaID of the job this one retries"),
        word("specialHandling", 80, "comma separated tags (see lifecycle doc)"),
        big("jobsetID", "set of related jobs of a user or event-service family"),
        number("coreCount", "requested cores; 0 means any"),
        number("nInputDataFiles", "number of data inputs (no lib/db files)"),
        word("inputFileType", 32, "data type of inputs"),
        word("inputFileProject", 64, "project part of input names"),
        big("inputFileBytes", "sum of input sizes"),
        number("nOutputDataFiles", "output count"),
        big("outputFileBytes", "sum of output sizes"),
        word("jobMetrics", 500, "space separated key=value metrics"),
        number("workQueue_ID", "JEDI work queue"),
        big("jediTaskID", "owning task or NULL"),
        word("jobSubStatus", 80, "finer state"),
        number("actualCoreCount", "cores really used"),
        number("reqID", "request id"),
        big("maxRSS", "memory kB from pilot monitor"),
        big("maxVMEM", "memory kB from pilot monitor"),
        big("maxSWAP", "memory kB from pilot monitor"),
        big("maxPSS", "memory kB from pilot monitor"),
        big("avgRSS", "memory kB from pilot monitor"),
        big("avgVMEM", "memory kB from pilot monitor"),
        big("avgSWAP", "memory kB from pilot monitor"),
        big("avgPSS", "memory kB from pilot monitor"),
        big("maxWalltime", "expected wall time s"),
        word("nucleus", 52, "destination nucleus"),
        number("eventService", "0/NULL none; 1 ES job; 2 ES merge; 3 job cloning; 4 jumbo; 5 co-jumbo; 6 fine-grained"),
        number("failedAttempt", "max failures of the inputs so far"),
        big("hs06sec", "benchmark-normalised CPU"),
        word("gshare", 32, "global share leaf name"),
        big("hs06", "core power x cores"),
        big("totRCHAR", "I/O counter from pilot monitor"),
        big("totWCHAR", "I/O counter from pilot monitor"),
        big("totRBYTES", "I/O counter from pilot monitor"),
        big("totWBYTES", "I/O counter from pilot monitor"),
        big("rateRCHAR", "I/O counter from pilot monitor"),
        big("rateWCHAR", "I/O counter from pilot monitor"),
        big("rateRBYTES", "I/O counter from pilot monitor"),
        big("rateWBYTES", "I/O counter from pilot monitor"),
        word("resource_type", 56, "name from RESOURCE_TYPES"),
        number("diskIO", "kB/s per job"),
        big("memory_leak", "kB/s"),
        decimal("memory_leak_x2", 14, 3, "fit quality"),
        word("container_name", 200, "image"),
        word("job_label", 20, "managed/user label when prodSourceLabel is a test label"),
        decimal("meanCoreCount", 8, 2, "average cores used"),
        decimal("gco2_regional", 10, 2, "g CO2 with regional mix"),
        decimal("gco2_global", 10, 2, "g CO2 with global mix"),
        word("cpu_architecture_level", 20, "e.g. x86_64-v3"),
        word("outputFileType", 32, "type of outputs"),
    ]


def _task_index(name: str) -> list[Index]:
    """Return the index that finds the jobs of a task; jobs without one are not in it where that can be said."""
    return [
        index(f"{name}_task_idx", "jediTaskID", on=PARTIAL, where="jeditaskid IS NOT NULL"),
        index(f"{name}_whole_task_idx", "jediTaskID", on=WHOLE),
    ]


jobsDefined4 = jobs_table(
    "jobsDefined4",
    "Jobs that are not ready for a pilot yet.",
    JobStatus.defined,
    index("jobsdefined4_status_site_idx", "jobStatus", "computingSite"),
    index("jobsdefined4_user_idx", "prodUserName"),
    *_task_index("jobsdefined4"),
)

#: Orders in which waiting jobs of one queue are claimed: share by share, whatever is left, the oldest.
DISPATCH_ORDERS: Final = {
    "share": ("computingSite", "gshare", "currentPriority DESC", "PandaID"),
    "any": ("computingSite", "currentPriority DESC", "PandaID"),
    "oldest": ("computingSite", "creationTime", "PandaID"),  # not PandaID alone: the primary key would seem to serve
}

#: Filters of a claim that an index answers without a visit to the row: 25 ms instead of 600 ms for a million misfits.
DISPATCH_FILTERS: Final = ("minRamCount", "maxDiskCount", "resource_type")


def _dispatch_indexes() -> list[Index]:
    """Return the indexes that serve claims: one for each order and group of jobs, so that a claim begins at its job."""
    found = [
        index(f"jobsactive4_{group}_{order}_idx", *columns, *DISPATCH_FILTERS, on=PARTIAL, where=condition)
        for group, condition in GROUPS.items()
        for order, columns in DISPATCH_ORDERS.items()
    ]
    by_priority = DISPATCH_ORDERS["any"]
    tests = f"{WAITING} AND {OF_SELECTION[Selection.test]}"
    others = f"{WAITING} AND {OTHER_LABELS}"
    found.append(index("jobsactive4_test_any_idx", *by_priority, on=PARTIAL, where=tests))
    found.append(
        index(
            "jobsactive4_other_any_idx", "computingSite", "prodSourceLabel", *by_priority[1:], on=PARTIAL, where=others
        )
    )
    return found + [
        index(f"jobsactive4_st_{order}_idx", "jobStatus", *columns, "prodSourceLabel", *DISPATCH_FILTERS, on=WHOLE)
        for order, columns in DISPATCH_ORDERS.items()
    ]


# No index holds a column that a heartbeat changes (modificationTime above all): the update then costs no index at all.
jobsActive4 = jobs_table(
    "jobsActive4",
    "Jobs from ready to the end of their output handling. The hottest table.",
    JobStatus.activated,
    *_dispatch_indexes(),
    # Without the waiting jobs, so that no planner is tempted to sort a whole queue by way of it.
    index("jobsactive4_begun_site_idx", "jobStatus", "computingSite", on=("postgresql",), where=f"NOT {WAITING}"),
    index("jobsactive4_status_site_idx", "jobStatus", "computingSite", on=("sqlite",)),
    # How long a user's queue is, for the priority of the user's next job.
    index("jobsactive4_user_idx", "prodUserName"),
    *_task_index("jobsactive4"),
    postgresql_with=QUEUE_STORAGE,
)

jobsArchived4 = jobs_table(
    "jobsArchived4",
    "Jobs that ended, for recent days.",
    JobStatus.finished,
    index("jobsarch4_mtimeprodslabel_idx", "modificationTime", "prodSourceLabel"),
    # What became of a submission, for the mail to its owner.
    index("jobsarchived4_submission_idx", "prodUserName", "jobDefinitionID", on=PARTIAL, where="jeditaskid IS NULL"),
    index("jobsarchived4_whole_submission_idx", "prodUserName", "jobDefinitionID", on=WHOLE),
    *_task_index("jobsarchived4"),
)

jobsWaiting4 = jobs_table(
    "jobsWaiting4",
    "Empty; monitors read it. Jobs that wait live in jobsDefined4.",
    JobStatus.waiting,
)

jobParamsTable = table(
    "ATLAS_PANDA.jobParamsTable",
    "Payload command line of each job.",
    big("PandaID", "job id", key=True),
    time("modificationTime", "UTC last change", required=True, default=EPOCH),
    clob("jobParameters", "payload arguments"),
)

metaTable = table(
    "ATLAS_PANDA.metaTable",
    "Report of the pilot, or metadata given at submission; one row a job.",
    big("PandaID", "job id", key=True),
    time("modificationTime", "UTC last change", required=True, default=EPOCH),
    clob("metadata", "pilot job report text"),
)

jobs_StatusLog = table(
    "ATLAS_PANDA.jobs_StatusLog",
    "History: one row for each recorded change of a status.",
    counted("statusLogID", "number of the row: unique, and rising within a job"),
    big("PandaID", "job id", required=True),
    time("modificationTime", "insert time UTC (not the job row time)", required=True),
    word("jobStatus", 15, "job status", required=True),
    word("prodSourceLabel", 20, "activity class"),
    word("cloud", 50, "regional grouping"),
    word("computingSite", 128, "queue name"),
    word("modificationHost", 128, "server that recorded it"),
    time("modiftime_extended", "insert time with sub-second precision"),
    index("jobs_statuslog_pandaid_idx", "PandaID"),
    sqlite_autoincrement=True,
)

Job_Output_Report = table(
    "ATLAS_PANDA.Job_Output_Report",
    "Final reports that wait for the Adder; a queue with lock columns.",
    big("PandaID", "job id", key=True),
    word("prodSourceLabel", 20, "activity class"),
    word("jobStatus", 15, "finished, failed or esregister", required=True),
    number("attemptNr", "attempt counter", key=True),
    clob("data", "raw pilot output report (XML or JSON)"),
    time("timeStamp", "UTC of insert/update", required=True),
    word("lockedBy", 56, "adder worker that took it"),
    time("lockedTime", "process lock time"),
    index("job_output_report_time_idx", "timeStamp"),
    postgresql_with=QUEUE_STORAGE,
)

jobsDebug = table(
    "ATLAS_PANDA.jobsDebug",
    "Tail of the payload log of jobs in debug mode.",
    big("PandaID", "job id", key=True),
    word("stdOut", 2048, "tail of payload log for debug mode"),
)
