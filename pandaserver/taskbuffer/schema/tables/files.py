"""Files of jobs."""

from __future__ import annotations

from pandaserver.taskbuffer.schema.declare import EPOCH, big, index, number, table, time, word

filesTable4 = table(
    "ATLAS_PANDA.filesTable4",
    "Every input, output and log file of every job attempt.",
    big("row_ID", "FILESTABLE4_ROW_ID_SEQ", key=True),
    big("PandaID", "job id", required=True, default=0),
    time("modificationTime", "UTC last change", required=True, default=EPOCH),
    word("GUID", 64, "file guid"),
    word("lfn", 4000, "logical name"),
    word(
        "type",
        20,
        "input, pseudo_input, output, log, zipinput; a library is output of the build job",
    ),
    word("dataset", 255, "dataset/container the file belongs to"),
    word("status", 64, "unknown, ready, pending, transferring, merging, failed, finished"),
    word("prodDBlock", 255, "input dataset"),
    word("prodDBlockToken", 250, "access hint for input (e.g. local, source endpoint)"),
    word("dispatchDBlock", 255, "dispatch dataset"),
    word("dispatchDBlockToken", 250, "flags (TOMERGE, an=no output allowed) / space token"),
    word("destinationDBlock", 255, "sub dataset for outputs"),
    word("destinationDBlockToken", 250, "endpoint/space token list; TOMERGE; ddd:; dst: prefixes"),
    word("destinationSE", 250, "destination site"),
    big("fsize", "bytes", required=True, default=0),
    word("md5sum", 36, "legacy"),
    word("checksum", 36, "ad:<adler32> or md:<md5>"),
    word("scope", 30, "DDM scope"),
    big("jediTaskID", "task id"),
    big("datasetID", "dataset id inside the task layer"),
    big("fileID", "file id inside the task layer"),
    number("attemptNr", "attempt counter"),
    index("filestable4_pandaid_idx", "PandaID"),
    index("filestable4_dispdblock_idx", "dispatchDBlock"),
    index("filestable4_destdblock_idx", "destinationDBlock"),
)
