"""Another attempt of the same job, because its pilot failed and not its payload."""

from __future__ import annotations

import re
import uuid
from typing import Any, Final

from pandaserver.taskbuffer.db_proxy_mods.job_move import move_jobs
from pandaserver.taskbuffer.heartbeats import BY_PILOT, JobRow
from pandaserver.taskbuffer.states import JobStatus
from pandaserver.taskbuffer.transaction import Transaction

#: Lost at each repetition, so that a job that always fails does not stay at the head of the queue.
PRIORITY_STEP: Final = 10

#: A library tarball is the input of other jobs, so it keeps its name.
LIBRARY_SUFFIX: Final = ".lib.tgz"

_ERROR_SOURCES: Final = ("pilot", "exe", "sup", "ddm", "brokerage", "jobDispatcher", "taskBuffer")

#: Columns that a new attempt begins with.
CLEAN: Final[dict[str, Any]] = {
    **dict.fromkeys(("startTime", "endTime", "transExitCode", "batchID", "jobSubStatus")),
    **{f"{source}ErrorCode": 0 for source in _ERROR_SOURCES},
    **{f"{source}ErrorDiag": None for source in _ERROR_SOURCES},
}

OUTPUTS: Final = """
    SELECT row_ID, lfn, type, GUID FROM ATLAS_PANDA.filesTable4
    WHERE PandaID = :PandaID AND type IN ('output', 'log')
    ORDER BY row_ID
"""

RENAME: Final = "UPDATE ATLAS_PANDA.filesTable4 SET lfn = :lfn, GUID = :GUID WHERE row_ID = :row_ID"

PARAMETERS: Final = "SELECT jobParameters FROM ATLAS_PANDA.jobParamsTable WHERE PandaID = :PandaID"

SET_PARAMETERS: Final = "UPDATE ATLAS_PANDA.jobParamsTable SET jobParameters = :jobParameters WHERE PandaID = :PandaID"


def repeat(tx: Transaction, row: JobRow) -> None:
    """Make a job that the caller has locked wait for a pilot again, under new names for its outputs."""
    attempt = row.attemptNr + 1
    move_jobs(
        tx,
        [row.PandaID],
        JobStatus.activated,
        by=BY_PILOT,
        locked=True,
        attemptNr=attempt,
        currentPriority=row.currentPriority - PRIORITY_STEP,
        **CLEAN,
    )
    rename_outputs(tx, row.PandaID, attempt)


def rename_outputs(tx: Transaction, panda_id: int, attempt: int) -> None:
    """Give the outputs of a job the names of another attempt, in the command line, too."""
    outputs = tx.rows(OUTPUTS, PandaID=panda_id)
    names = new_names([lfn for _, lfn, _, _ in outputs], attempt)
    tx.change_many(
        RENAME,
        [
            {"row_ID": row_id, "lfn": names.get(lfn, lfn), "GUID": str(uuid.uuid4()) if kind == "log" else guid}
            for row_id, lfn, kind, guid in outputs
        ],
    )
    parameters = tx.value(PARAMETERS, PandaID=panda_id)
    if parameters and (changed := renamed(parameters, names)) != parameters:
        tx.change_later(SET_PARAMETERS, PandaID=panda_id, jobParameters=changed)


def new_names(lfns: list[str], attempt: int) -> dict[str, str]:
    """Return the names of outputs of an attempt: the number is appended, so no other job can have made that name."""
    return {lfn: f"{lfn}.{attempt}" for lfn in lfns if not lfn.endswith(LIBRARY_SUFFIX)}


def renamed(parameters: str, names: dict[str, str]) -> str:
    """Replace file names in a command line where they stand for themselves, not inside longer names."""
    if not names:
        return parameters
    longest_first = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    return re.sub(rf"(?<![\w.-])(?:{longest_first})(?![\w-]|\.\w)", lambda match: names[match[0]], parameters)
