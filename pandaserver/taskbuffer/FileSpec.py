"""A file of a job as plain data: input, output or log.

Field order is wire order (see :mod:`pandaserver.taskbuffer.JobSpec`); the last four are known to servers only.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any, Final


@dataclass(slots=True, eq=False)
class FileSpec:
    """One file of one job attempt."""

    row_ID: int | None = None  # server row id
    PandaID: int | None = None  # owner job
    GUID: str | None = None  # file GUID
    lfn: str | None = None  # logical file name
    type: str | None = None  # input, pseudo_input, output, log
    dataset: str | None = None  # dataset/container the file belongs to
    status: str | None = None  # unknown, ready, cached, pending, transferring, merging, failed, finished
    prodDBlock: str | None = None  # input dataset block
    prodDBlockToken: str | None = None  # input token (local, ...)
    dispatchDBlock: str | None = None  # dispatch block
    dispatchDBlockToken: str | None = None  # token; word an = output may be missing; TOMERGE marks merge input
    destinationDBlock: str | None = None  # output dataset (sub dataset)
    destinationDBlockToken: str | None = None  # output token; TOMERGE marks pre-merge output
    destinationSE: str | None = None  # output storage/site
    fsize: int | None = None  # bytes
    md5sum: str | None = None
    checksum: str | None = None  # ad:<adler32> or md:<md5>
    scope: str | None = None  # DDM scope
    jediTaskID: int | None = None  # server only
    datasetID: int | None = None  # server only
    fileID: int | None = None  # server only
    attemptNr: int | None = None  # server only

    def dump_to_json_serializable(self) -> list[Any]:
        """Return the values in wire order; the last place is that of the job, as the client library has it."""
        return [*_values_of(self), None]

    def __reduce__(self) -> tuple[Any, ...]:
        return FileSpec, _values_of(self)


#: Attribute names in wire order; also the columns of filesTable4 that a specification carries.
FILE_ATTRIBUTES: Final = tuple(f.name for f in fields(FileSpec))
_values_of: Final = attrgetter(*FILE_ATTRIBUTES)

#: Longest text that each column takes, in characters.
FILE_TEXT_LIMITS: Final[dict[str, int]] = {
    "GUID": 64,
    "lfn": 4000,
    "type": 20,
    "dataset": 255,
    "status": 64,
    "prodDBlock": 255,
    "prodDBlockToken": 250,
    "dispatchDBlock": 255,
    "dispatchDBlockToken": 250,
    "destinationDBlock": 255,
    "destinationDBlockToken": 250,
    "destinationSE": 250,
    "md5sum": 36,
    "checksum": 36,
    "scope": 30,
}
