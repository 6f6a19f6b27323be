"""What travels between the Setupper and the database: jobs taken, preparations returned."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Final

from pandaserver.taskbuffer.states import JobStatus


@dataclass(frozen=True, slots=True)
class PreparedFile:
    """One file row after preparation: all columns that a plug-in may change."""

    row_ID: int
    GUID: str | None
    lfn: str | None
    status: str | None
    dispatchDBlock: str | None
    dispatchDBlockToken: str | None
    destinationDBlock: str | None
    destinationDBlockToken: str | None
    destinationSE: str | None
    fsize: int
    md5sum: str | None
    checksum: str | None
    scope: str | None


#: Columns of a file that preparation may change.
PREPARED_COLUMNS: Final = tuple(f.name for f in fields(PreparedFile) if f.name != "row_ID")


@dataclass(frozen=True, slots=True)
class Prepared:
    """What the Setupper decided about one job: its next status, changed columns, changed files."""

    PandaID: int
    target: JobStatus
    changes: dict[str, Any] = field(default_factory=dict)
    files: tuple[PreparedFile, ...] = ()
    jobParameters: str | None = None  # None: unchanged
    was_waiting: bool = False  # released from ``waiting``, because a queue was found
