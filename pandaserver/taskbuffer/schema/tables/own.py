"""Tables and sequences that are our own: no earlier server knows them."""

from __future__ import annotations

from pandaserver.taskbuffer.schema.declare import big, clob, counted, index, number, sequence, table, time, word

panda_messages = table(
    "ATLAS_PANDA.panda_messages",
    "Outgoing messages. Written by the transaction that they announce; a daemon script sends them.",
    counted("id", "number of the row: unique and rising"),
    word("topic", 64, "kind of message, e.g. panda_jobstatus; configuration maps it to a destination", required=True),
    time("creationTime", "when the announced thing happened", required=True),
    clob("payload", "JSON object as sent", required=True),
    number("attempts", "how often sending failed", required=True, default=0),
    sqlite_autoincrement=True,
)

panda_idempotency = table(
    "ATLAS_PANDA.panda_idempotency",
    "What a request with an idempotency key did and was answered, so that its repetition does nothing. Kept for a day.",
    word("owner", 250, "bare DN of the caller; another caller's key is another key", key=True),
    word("key", 128, "as the caller chose it", key=True),
    word("operation", 64, "what made the change, in whose transaction the row is written; or: answer", key=True),
    number("step", "which call of that operation within the request, from 1", key=True),
    word("requestHash", 64, "SHA-256 of what was asked: the same key with another request is refused", required=True),
    clob("result", "JSON, compressed if long; - if too long to be kept; NULL only inside of the transaction"),
    time("creationTime", required=True),
    index("panda_idempotency_time_idx", "creationTime"),
)

panda_audit = table(
    "ATLAS_PANDA.panda_audit",
    "Who did what to which object, and when. Written by the transaction that did it; never changed.",
    counted("id", "number of the row: unique and rising"),
    time("creationTime", required=True),
    word("actor", 250, "name of the caller", required=True),
    word("action", 64, "name of the operation", required=True),
    word("objectType", 32, "job, task, queue, user, ...", required=True),
    word("objectID", 255, "identifier or name of the object", required=True),
    clob("details", "JSON: what changed, and why if the caller told"),
    word("requestID", 64, "request under which the logs tell more"),
    word("remoteAddress", 64, "address that the caller came from; NULL for daemons and panda-admin"),
    sqlite_autoincrement=True,
)

panda_share_counters = table(
    "ATLAS_PANDA.panda_share_counters",
    "How many jobs each share has in each queue and state. Jobs without a share count as Undefined.",
    word("computingSite", 128, "queue", key=True),
    word("gshare", 32, "leaf of the share tree", key=True),
    word("jobStatus", 15, "see states", key=True),
    big("nJobs", "jobs", required=True, default=0),
    big("nCores", "cores that they ask for", required=True, default=0),
    big("hs", "jobs x cores x core power", required=True, default=0),
    time("modificationTime", "last change or refresh", required=True),
)

panda_job_counts = table(
    "ATLAS_PANDA.panda_job_counts",
    "Jobs that have not ended, counted for statistics; whoever asks when it is old replaces all of it.",
    time("ts", "when they were counted", required=True),
    word("computingSite", 128, "queue"),
    word("cloud", 50),
    word("prodSourceLabel", 20),
    word("processingType", 64),
    word("resource_type", 56, "resource type name"),
    word("jobStatus", 15, "see states", required=True),
    big("nJobs", "jobs", required=True),
)

panda_leases = table(
    "ATLAS_PANDA.panda_leases",
    "Exclusive runs of daemon scripts across machines.",
    word("component", 64, "what runs, e.g. pandaD.<script>", key=True),
    word("owner", 128, "host, process and script that holds or held the lease", required=True),
    big("token", "fencing token: rises with each holder; a commit under an old one is refused", required=True),
    time("leaseUntil", "the holder renews it before; NULL: free"),
    time("lastStart", "when the last run began: the period counts from here"),
)

panda_pilot_tokens = table(
    "ATLAS_PANDA.panda_pilot_tokens",
    "Tokens that old pilots ask for and show again when they ask for jobs. Kept until they expire.",
    word("token", 64, "SHA-256 of the token in hexadecimal digits: reading this table gives nobody a token", key=True),
    word("owner", 250, "DN of who asked for it", required=True),
    word("schedulerID", 250, "who submits the pilots", required=True),
    word("hostName", 128, "machine for which it was asked"),
    time("creationTime", required=True),
    time("expirationTime", "not valid from then on", required=True),
    index("panda_pilot_tokens_exp_idx", "expirationTime"),
)

panda_sequences = table(
    "ATLAS_PANDA.panda_sequences",
    "Counters for backends without sequences (SQLite, MySQL): one row for each sequence.",
    word("name", 64, "name of the sequence without schema, in lower case", key=True),
    big("value", "the last value given out", required=True, default=0),
)

# Row identifiers are drawn by the hundred and their order means nothing, so sessions may keep some in hand. PandaIDs
# are not: among jobs of one priority the lower one is dispatched first.
sequence("ATLAS_PANDA.JOBSDEFINED4_PANDAID_SEQ")
sequence("ATLAS_PANDA.FILESTABLE4_ROW_ID_SEQ", cache=20)
sequence("ATLAS_PANDA.GROUP_JOBID_SEQ")
sequence("ATLAS_PANDA.SUBCOUNTER_SUBID_SEQ", maxvalue=9_999_999, cycle=True)
sequence("ATLAS_PANDA.JEDI_WORK_QUEUE_ID_SEQ")
sequence("ATLAS_PANDA.RETRYACTIONS_ID_SEQ")
sequence("ATLAS_PANDA.RETRYERRORS_ID_SEQ")
sequence("ATLAS_PANDAMETA.USERS_ID_SEQ")
sequence("ATLAS_PANDAMETA.PROXYKEY_ID_SEQ")
sequence("ATLAS_DEFT.PRODSYS2_TASK_ID_SEQ")
