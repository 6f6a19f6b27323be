"""Datasets."""

from __future__ import annotations

from pandaserver.taskbuffer.schema.declare import big, index, number, table, time, word

Datasets = table(
    "ATLAS_PANDA.Datasets",
    "Datasets that the server handles: input, dispatch (dis), sub and top output.",
    word("vuid", 40, "uuid", key=True),
    word("name", 255, "dataset name", required=True),
    word("version", 10, "attempt marker for some scans"),
    word("type", 20, "input, output, log, dispatch"),
    word("status", 10, "defined, running, tobeclosed, closed, cleanup, ..."),
    number("numberFiles", "expected files"),
    number("currentFiles", "dispatch: set to size in MB at creation, then used as a flag that some job failed"),
    time("creationDate", "UTC"),
    time("modificationDate", "UTC; pushed into the future to reserve a row", required=True),
    big("moverID", "legacy", required=True, default=0),
    number(
        "transferStatus",
        "bit map of reached destinations; also a 0-9 lock counter in bulk scans",
        required=True,
        default=0,
    ),
    word("subType", 5, "dis (name ends _dis<n>), sub (_sub<n>), else top"),
    index("datasets_name_idx", "name"),
)
