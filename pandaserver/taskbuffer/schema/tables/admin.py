"""Policy, parameters, locks and the version of the schema."""

from __future__ import annotations

from pandaserver.taskbuffer.schema.declare import big, clob, flag, number, table, time, word

Config = table(
    "ATLAS_PANDA.Config",
    "Typed parameters that operators change while the server runs.",
    word("app", 64, "pandaserver or jedi", key=True),
    word("component", 64, "module group", key=True),
    word("key", 64, "parameter name", key=True),
    word("value", 256, "string; cast with TYPE", required=True),
    word("type", 64, "int,float,str,bool,json", required=True),
    word("VO", 32, "VO that the value is for", key=True),
    word("descr", 256, "free text", required=True),
    clob("value_json", "used when TYPE=json; JSON"),
)

Global_Shares = table(
    "ATLAS_PANDA.Global_Shares",
    "Tree of shares with the rules that give jobs to its leaves.",
    word("name", 32, "share name", key=True),
    number("value", "weight among siblings", required=True),
    word("parent", 32, "parent share; NULL at top"),
    word("prodSourceLabel", 100, "regex"),
    word("workingGroup", 100, "regex"),
    word("campaign", 100, "regex"),
    word("processingType", 100, "regex"),
    word("VO", 32, "owner VO"),
    number("queue_ID", "rule order / work queue"),
    flag("throttled", "Y or N"),
    word("transPath", 128, "regex"),
    word("rtype", 32, "regex on resource type"),
)

Resource_Types = table(
    "ATLAS_PANDA.Resource_Types",
    "Bounds of cores and memory; the first row that fits names the resource type of a job.",
    word("resource_name", 56, "name", key=True),
    number("minCore", "NULL=no bound"),
    number("maxCore", "NULL=no bound"),
    number("minRamPerCore", "MB; NULL=no bound"),
    number("maxRamPerCore", "MB; NULL=no bound"),
)

RetryActions = table(
    "ATLAS_PANDA.RetryActions",
    "What the retry module can do.",
    big("retryAction_ID", "RETRYACTIONS_ID_SEQ", key=True),
    word("retry_action", 50, "action name", required=True),
    flag("active", "Y/N; N means log only", required=True, default="Y"),
    word("retry_description", 250),
)

RetryErrors = table(
    "ATLAS_PANDA.RetryErrors",
    "Which error leads to which retry action.",
    big("retryError_ID", "RETRYERRORS_ID_SEQ", key=True),
    word("errorSource", 256, "job error column name, e.g. pilotErrorCode", required=True),
    big("errorCode", "integer code", required=True),
    flag("active", "Y/N", required=True, default="Y"),
    big("retryAction", "refers RETRYACTIONS", required=True),
    word("errorDiag", 256, "regex on diag"),
    word("parameters", 256, "k=v pairs joined with &, e.g. maxAttempt=5"),
    word("architecture", 256, "limit to cmtConfig"),
    word("release", 64, "limit to release"),
    number("workQueue_ID", "work queue"),
    word("description", 250),
    time("expiration_date", "rule ignored after"),
)

JEDI_Process_Lock = table(
    "ATLAS_PANDA.JEDI_Process_Lock",
    "Named locks of the cluster.",
    word("VO", 32, "virtual organisation", key=True),
    word("prodSourceLabel", 20, "activity class", key=True),
    number("workQueue_ID", "work queue", key=True),
    word("cloud", 10, "regional grouping", key=True),
    word("lockedBy", 56, "process lock owner"),
    time("lockedTime", "process lock time"),
    word("resource_type", 56, "resource type name", key=True),
    word("component", 56, "name of the lock, e.g. pandaD.<script>", key=True),
)

PandaDB_Version = table(
    "ATLAS_PANDA.PandaDB_Version",
    "Version of the schema that stands in this database.",
    word("component", 100, "PanDA; earlier servers had rows SERVER and JEDI", key=True),
    number("major", "version part", required=True),
    number("minor", "version part", required=True),
    number("patch", "version part", required=True),
)
