"""Harvester instances and their workers."""

from __future__ import annotations

from pandaserver.taskbuffer.schema.declare import NOW_UTC, big, clob, index, number, sequence, table, time, word

Harvester_Instances = table(
    "ATLAS_PANDA.Harvester_Instances",
    "Registered instances of Harvester; data of others is dropped.",
    word("harvester_ID", 50, "harvester instance", key=True),
    word("description", 200),
    time("startTime", "UTC"),
    word("owner", 100, "identity"),
    word("hostName", 100, "host"),
    time("lastUpdate", "UTC alive time"),
    word("sw_version", 50),
    word("commit_stamp", 100),
)

Harvester_Workers = table(
    "ATLAS_PANDA.Harvester_Workers",
    "One row for each worker.",
    word("harvesterID", 50, "harvester instance", key=True),
    big("workerID", "worker id, unique per harvester", key=True),
    time("lastUpdate", "UTC", required=True),
    word("status", 80, "missed, submitted, ready, running, idle, finished, failed, cancelled", required=True),
    word("batchID", 80, "id in batch system"),
    word("nodeID", 80, "host"),
    word("queueName", 80, "batch queue"),
    word("computingSite", 128, "queue name"),
    time("submitTime", "UTC"),
    time("startTime", "UTC"),
    time("endTime", "UTC"),
    number("nCore", "cores"),
    number("errorCode", "worker error"),
    word("stdOut", 250, "URL"),
    word("stdErr", 250, "URL"),
    word("batchLog", 250, "URL"),
    word("resourceType", 56, "resource type name"),
    number("nativeExitCode", "batch exit code"),
    word("nativeStatus", 80, "batch status"),
    word("diagMessage", 500, "error text"),
    word("computingElement", 128, "CE host"),
    number("nJobs", "jobs seen"),
    word("submissionHost", 128, "schedd host"),
    word("harvesterHost", 128, "instance host"),
    word("jdl", 250, "URL or name"),
    word("jobType", 52, "managed/user/ANY"),
    time("pilotStartTime", "UTC, set when pilot says started"),
    time("pilotEndTime", "UTC, set when pilot says finished"),
    word("pilotStatus", 80, "starting, running, finished as told by the pilot"),
    time("pilotStatusSyncTime", "UTC of last sync command"),
    number("minRamCount", "MB"),
    index("harvester_workers_status_idx", "status", "pilotStatus"),
)

Harvester_Rel_Jobs_Workers = table(
    "ATLAS_PANDA.Harvester_Rel_Jobs_Workers",
    "Which worker ran which job.",
    word("harvesterID", 50, "harvester instance", key=True),
    big("workerID", "worker id, unique per harvester", key=True),
    big("PandaID", "job id", key=True),
    time("lastUpdate", "UTC", required=True),
    index("harvrel_jobworkers_pandaid_idx", "PandaID"),
)

Harvester_Slots = table(
    "ATLAS_PANDA.Harvester_Slots",
    "Wanted slots of a queue, with an expiry.",
    word("pandaQueueName", 128, "queue", required=True),
    word("gshare", 32, "global share"),
    word("resourceType", 56, "resource type name"),
    big("numSlots", "slot cap", required=True),
    time("modificationTime", "UTC last change", required=True),
    time("expirationTime", "ignored after"),
)

Harvester_Worker_Stats = table(
    "ATLAS_PANDA.Harvester_Worker_Stats",
    "How many workers each instance has at each queue, as it last reported.",
    word("harvester_ID", 50, "harvester instance", key=True),
    word("computingSite", 128, "queue name", key=True),
    word("resourceType", 56, "resource type name", key=True),
    word("status", 80, "status", key=True),
    word("jobType", 52, "managed, user, ANY", key=True),
    number("n_workers", "count"),
    time("lastUpdate", "UTC", required=True),
)

Harvester_Commands = table(
    "ATLAS_PANDA.Harvester_Commands",
    "Commands that instances fetch.",
    big("command_id", "HARVESTER_COMMAND_ID_SEQ", key=True),
    word("command", 200, "e.g. SET_N_WORKERS_JOBTYPE:<queue>, SYNC_WORKERS_KILL, KILL_WORKERS"),
    word("harvester_ID", 50, "harvester instance"),
    number("ack_requested", "0/1"),
    time("creation_date", "UTC"),
    word("status", 32, "new, retrieved, acknowledged"),
    time("status_date", "UTC"),
    clob("params", "JSON"),
    index("harvester_commands_id_idx", "harvester_ID", "status"),
)

Harvester_Command_Lock = table(
    "ATLAS_PANDA.Harvester_Command_Lock",
    "Commands that an instance announced to understand, one row for each queue and resource type.",
    word("harvester_ID", 50, "harvester instance", key=True),
    word("computingSite", 128, "queue name", key=True),
    word("resourceType", 56, "resource type name", key=True),
    word("command", 200, key=True),
    time("lockedTime", "process lock time"),
    word("lockedBy", 56, "process lock owner"),
)

sequence("ATLAS_PANDA.HARVESTER_COMMAND_ID_SEQ")

Harvester_Dialogs = table(
    "ATLAS_PANDA.Harvester_Dialogs",
    "What instances complain about; kept for a week.",
    word("harvester_ID", 50, "harvester instance", required=True),
    big("diagID", "id per instance", required=True),
    word("moduleName", 100, "part of the harvester"),
    word("identifier", 100),
    time("creationTime", "UTC creation", required=True),
    word("messageLevel", 10, "log level"),
    word("diagMessage", 500, "log line"),
    index("harv_dialogs_harv_diagid_idx", "harvester_ID", "diagID"),
)

Harvester_Metrics = table(
    "ATLAS_PANDA.Harvester_Metrics",
    "How the machines of instances are; kept for a week.",
    word("harvester_ID", 50, "harvester instance", required=True),
    time("creation_time", "UTC", required=True, default=NOW_UTC),
    word("harvester_host", 100, "machine"),
    word("metrics", 4000, "JSON"),
)
