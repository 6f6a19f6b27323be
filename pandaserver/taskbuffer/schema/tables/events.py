"""Ranges of events, and the jobs that work on them."""

from __future__ import annotations

from pandaserver.taskbuffer.schema.declare import big, flag, index, number, sequence, table, word

JEDI_Events = table(
    "ATLAS_PANDA.JEDI_Events",
    "Event ranges: one row for each from its submission on, whoever works on it.",
    big("jediTaskID", "task; 0 without a task layer", key=True),
    big("PandaID", "job that has the range; the job set while nobody has it", key=True),
    big("fileID", "input file: its number in the task layer, else its row", key=True),
    big("job_processID", "first event number of the range", key=True),
    big("datasetID", "dataset of the file in the task layer, else 0", required=True),
    number("status", "see event_rules.EventStatus", required=True),
    big("def_min_eventID", "first event"),
    big("def_max_eventID", "last event"),
    big("processed_upto_eventID", "progress; -1 marks dynamic-event records"),
    number("attemptNr", "attempts left"),
    big("objStore_ID", "object store that has the output"),
    big("event_offset", "events of the dataset before those of the file"),
    number("is_jumbo", "1: taken by a jumbo job"),
    big("zipRow_ID", "filesTable4.row_ID of the archive that has the output"),
    flag("file_not_deleted", "Y: the output is still in its store"),
    number("error_code", "why the last attempt failed"),
    number("path_convention", "how the output is named in its store"),
    word("error_diag", 500, "the same in words"),
    big("jobsetID", "job set whose work it is, whoever has it; ours", required=True),
    big("rangeID", "number of the row, which it keeps while the key changes hands; ours", required=True),
    index("jedi_events_range_idx", "rangeID", unique=True),
    index("jedi_events_pandaid_status_idx", "PandaID", "status", "rangeID"),
    index("jedi_events_fileid_idx", "fileID"),
    index("jedi_events_file_notdel_idx", "file_not_deleted"),
    index("jedi_events_jobset_idx", "jobsetID", "status"),
)

panda_event_jobs = table(
    "ATLAS_PANDA.panda_event_jobs",
    "Which jobs belong to which set of event ranges. Whoever decides about a set holds its rows.",
    big("jobsetID", "the set", key=True),
    big("PandaID", "the job", key=True),
    number("eventService", "kind of the job, as in the job itself", required=True),
    big("jediTaskID", "task; 0 without a task layer", required=True),
    index("panda_event_jobs_job_idx", "PandaID"),
    index("panda_event_jobs_task_idx", "jediTaskID", "eventService"),
)

PANDA_EVENT_RANGE_ID_SEQ = sequence("ATLAS_PANDA.PANDA_EVENT_RANGE_ID_SEQ", cache=1000)
