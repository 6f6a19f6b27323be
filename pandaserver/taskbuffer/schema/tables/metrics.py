"""Aggregates: snapshots that daemon scripts replace."""

from __future__ import annotations

from pandaserver.taskbuffer.schema.declare import NOW_UTC, big, clob, decimal, index, number, table, time, word

Jobs_Share_Stats = table(
    "ATLAS_PANDA.Jobs_Share_Stats",
    "Active jobs and their HS06 for each share, queue and status; a snapshot that a daemon script replaces.",
    time("ts", "refresh time"),
    word("gshare", 32, "global share"),
    word("computingSite", 128, "queue name"),
    word("jobStatus", 15, "job status", required=True),
    big("maxPriority", "max currentPriority"),
    decimal("prorated_diskio_avg", 11, 2),
    decimal("prorated_mem_avg", 11, 2),
    big("nJobs", "count"),
    big("hs", "jobs x cores x core power"),
    word("VO", 32, "virtual organisation"),
    number("workQueue_ID", "work queue"),
    word("resource_type", 56, "resource type name"),
    word("nucleus", 52, "nucleus"),
    index("jobs_share_stats_compsite_idx", "computingSite"),
)

JobsDefined_Share_Stats = table(
    "ATLAS_PANDA.JobsDefined_Share_Stats",
    "The same of jobs that are not active yet.",
    time("ts", "refresh time"),
    word("gshare", 32, "global share"),
    word("computingSite", 128, "queue name"),
    word("jobStatus", 15, "job status", required=True),
    big("maxPriority", "max currentPriority"),
    decimal("prorated_diskio_avg", 11, 2),
    decimal("prorated_mem_avg", 11, 2),
    big("nJobs", "count"),
    big("hs", "jobs x cores x core power"),
    word("VO", 32, "virtual organisation"),
    number("workQueue_ID", "work queue"),
    word("resource_type", 56, "resource type name"),
    word("nucleus", 52, "nucleus"),
)

SiteData = table(
    "ATLAS_PANDAMETA.SiteData",
    "Activity of each queue in a window of hours.",
    word("site", 60, key=True),
    word("flag", 30, "production or analysis/'pandaserver host' rows", key=True),
    number("hours", "window length; 3", key=True),
    number("nWN"),
    number("memMin"),
    number("memMax"),
    number("si2000Min"),
    number("si2000Max"),
    word("os", 30),
    word("space", 30),
    number("minJobs"),
    number("maxJobs"),
    time("lastStart"),
    time("lastEnd"),
    time("lastFail"),
    time("lastPilot"),
    number("lastPID"),
    number("nStart", required=True, default=0),
    number("finished", required=True, default=0),
    number("failed", required=True, default=0),
    number("defined", required=True, default=0),
    number("assigned", required=True, default=0),
    number("waiting", required=True, default=0),
    number("activated", required=True, default=0),
    number("holding", required=True, default=0),
    number("running", required=True, default=0),
    number("transferring", required=True, default=0),
    number("getJob", "getJob calls in window", required=True, default=0),
    number("updateJob", "updateJob calls in window", required=True, default=0),
    time("lastMod", required=True, default=NOW_UTC),
    number("nCPU"),
    number("nSlot"),
    number("noJob"),
    big("getJobAbs"),
    big("updateJobAbs"),
    big("noJobAbs"),
)

Metrics = table(
    "ATLAS_PANDA.Metrics",
    "Metrics that brokerage reads, for a queue, a share, both or neither; a daemon script replaces them.",
    word("computingSite", 128, "queue name; the text NULL: of no queue", key=True),
    word("gshare", 32, "global share; the text NULL: of no share", key=True),
    word("metric", 128, "name", key=True),
    clob("value_json", "JSON"),
    time("timestamp", "when it was computed"),
)

Task_Evaluation = table(
    "ATLAS_PANDA.Task_Evaluation",
    "What a task is worth to brokerage, by metric.",
    big("jediTaskID", "task", key=True),
    word("metric", 128, "name", key=True),
    clob("value_json", "JSON"),
    time("timestamp", "when it was computed"),
)
