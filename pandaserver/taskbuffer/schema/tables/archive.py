"""The archive: jobs that ended a while ago, and what belongs to them. A daemon script moves them here."""

from __future__ import annotations

from pandaserver.taskbuffer.schema.declare import EPOCH, big, clob, index, number, table, time, word
from pandaserver.taskbuffer.schema.tables.jobs import jobs_table
from pandaserver.taskbuffer.states import ARCHIVED, JobStatus

jobsArchived = jobs_table(
    "jobsArchived",
    "All jobs that ended, except those of recent days, which are in jobsArchived4.",
    JobStatus.finished,
    index("jobsarchived_time_idx", "modificationTime"),
    index("jobs_jeditaskid_pandaid_idx", "jediTaskID", "PandaID"),
    schema="ATLAS_PANDAARCH",
    states_like=ARCHIVED,
)

filesTable_ARCH = table(
    "ATLAS_PANDAARCH.filesTable_ARCH",
    "Files of archived jobs.",
    big("row_ID", "as in filesTable4", key=True),
    big("PandaID", "job id", required=True, default=0),
    time("modificationTime", "UTC last change", required=True, default=EPOCH),
    time("creationTime", "when the job was created"),
    word("GUID", 64, "file guid"),
    word("lfn", 4000, "logical name"),
    word("type", 20, "input, pseudo_input, output, log, zipinput"),
    big("fsize", "bytes", default=0),
    word("dataset", 255, "dataset/container the file belongs to"),
    word("status", 64, "as it was when the job ended"),
    word("md5sum", 40, "legacy"),
    word("checksum", 40, "ad:<adler32> or md:<md5>"),
    word("prodDBlock", 255, "input dataset"),
    word("prodDBlockToken", 250, "access hint for input"),
    word("dispatchDBlock", 255, "dispatch dataset"),
    word("dispatchDBlockToken", 250, "flags or space token"),
    word("destinationDBlock", 255, "sub dataset for outputs"),
    word("destinationDBlockToken", 250, "endpoint/space token list"),
    word("destinationSE", 250, "destination site"),
    word("scope", 30, "DDM scope"),
    big("jediTaskID", "task id"),
    big("datasetID", "dataset id inside the task layer"),
    big("fileID", "file id inside the task layer"),
    number("attemptNr", "attempt counter"),
    index("filestable_arch_pandaid_idx", "PandaID"),
)

jobParamsTable_ARCH = table(
    "ATLAS_PANDAARCH.jobParamsTable_ARCH",
    "Payload command lines of archived jobs.",
    big("PandaID", "job id", key=True),
    time("modificationTime", "UTC last change", required=True, default=EPOCH),
    clob("jobParameters", "payload arguments"),
)

metaTable_ARCH = table(
    "ATLAS_PANDAARCH.metaTable_ARCH",
    "Reports of the pilots of archived jobs.",
    big("PandaID", "job id", key=True),
    time("modificationTime", "UTC last change", required=True, default=EPOCH),
    clob("metadata", "pilot job report text"),
)
