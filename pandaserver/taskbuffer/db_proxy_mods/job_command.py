"""What a job's next heartbeat is answered: debug mode, and commands to its pilot."""

from __future__ import annotations

from typing import Final

from pandaserver.taskbuffer.db_proxy_mods import audit
from pandaserver.taskbuffer.db_proxy_mods.job_move import touch_locked
from pandaserver.taskbuffer.debugging import SUCCEEDED, Allowance, DebugTarget, allowance, refusal_of_status
from pandaserver.taskbuffer.job_flags import with_flag
from pandaserver.taskbuffer.JobSpec import JOB_TEXT_LIMITS
from pandaserver.taskbuffer.kill import TO_BE_KILLED, Killer
from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.states import ACTIVE, DEFINED
from pandaserver.taskbuffer.transaction import Transaction

_FACTS: Final = "PandaID, jobStatus, prodUserID, prodUserName, workingGroup, specialHandling"

#: Where jobs are that a pilot has, or will have; in the order in which a job comes through them, so none is missed.
_TABLES: Final = (DEFINED, ACTIVE)

LOCK_JOB: Final = {
    table: f"SELECT {_FACTS} FROM ATLAS_PANDA.{table} WHERE PandaID = :PandaID FOR UPDATE" for table in _TABLES
}

LOCK_COMMAND: Final = {
    table: f"SELECT commandToPilot FROM ATLAS_PANDA.{table} WHERE PandaID = :PandaID FOR UPDATE" for table in _TABLES
}

#: The two words of the flag; other flags contain the letters of the shorter one.
_IN_DEBUG_MODE: Final = """(
        specialHandling LIKE '%debug%' OR specialHandling = 'dm' OR specialHandling LIKE 'dm,%'
        OR specialHandling LIKE '%,dm' OR specialHandling LIKE '%,dm,%'
    )"""

#: Jobs in debug mode of one user, of whom there is an index.
DEBUGGED_OF_USER: Final = " UNION ALL ".join(
    f"""
    SELECT PandaID FROM ATLAS_PANDA.{table}
    WHERE prodUserName = :whose AND PandaID <> :PandaID AND {_IN_DEBUG_MODE}
"""
    for table in _TABLES
)

#: Jobs in debug mode of one working group: those whose output is kept, or will be.
DEBUGGED_OF_GROUP: Final = " UNION ALL ".join(
    f"""
    SELECT j.PandaID FROM ATLAS_PANDA.jobsDebug d
    JOIN ATLAS_PANDA.{table} j ON j.PandaID = d.PandaID
    WHERE j.workingGroup = :whose AND j.PandaID <> :PandaID AND {_IN_DEBUG_MODE}
"""
    for table in _TABLES
)

FORGET_OUTPUT: Final = "DELETE FROM ATLAS_PANDA.jobsDebug WHERE PandaID = :PandaID"


@operation(timeout=60)
def set_debug_mode(tx: Transaction, panda_id: int, mode: bool, caller: Killer) -> str:
    """Switch the debug mode of a job and return ``Succeeded``, or a sentence that tells why not.

    The pilot learns of it by its next heartbeat, or with the job. Switched off, the end of the job's output goes.
    """
    table, job = _locked(tx, panda_id)
    if job is None:
        return f"there is no job at work with PandaID={panda_id}"
    allowed = allowance(caller, job)
    if allowed is None:
        return f"permission denied: PandaID={panda_id} is debugged by its owner, its working group, or production"
    if refusal := refusal_of_status(job):
        return refusal
    if mode and not job.is_debugged and (refusal := _too_many(tx, panda_id, allowed)):
        return refusal
    if mode != job.is_debugged:
        flags = with_flag(job.specialHandling, "debug", mode)
        if len(flags or "") > JOB_TEXT_LIMITS["specialHandling"]:
            return f"PandaID={panda_id} has too many other flags: {job.specialHandling}"
        touch_locked(tx, table, panda_id, specialHandling=flags)
        audit.record(tx, caller.name, "setDebugMode", "job", str(panda_id), mode=mode)
    if mode:
        tx.upsert("ATLAS_PANDA.jobsDebug", {"PandaID": panda_id}, {})
    else:
        tx.change_later(FORGET_OUTPUT, PandaID=panda_id)
    return SUCCEEDED


@operation(timeout=60)
def send_command_to_job(tx: Transaction, panda_id: int, command: str, caller: str) -> tuple[bool, str]:
    """Leave a command for the pilot of a job, in place of one that waits there; return whether it was taken and a note.

    A job that is being killed takes none.
    """
    for table in _TABLES:
        row = tx.one(LOCK_COMMAND[table], PandaID=panda_id)
        if row is None:
            continue
        if TO_BE_KILLED in (row[0] or ""):
            return False, "job is being killed"
        touch_locked(tx, table, panda_id, commandToPilot=command)
        audit.record(tx, caller, "send_command_to_job", "job", str(panda_id), command=command)
        return True, "command received"
    return False, f"no active job with PandaID={panda_id}"


def _locked(tx: Transaction, panda_id: int) -> tuple[str, DebugTarget | None]:
    for table in _TABLES:
        row = tx.one(LOCK_JOB[table], PandaID=panda_id)
        if row is not None:
            return table, DebugTarget(*row)
    return "", None


def _too_many(tx: Transaction, panda_id: int, allowed: Allowance) -> str | None:
    """Return why no further job may be debugged, None if one may.

    Two callers at the same moment may both find room: the limit protects the server, and one more does no harm.
    """
    text, whose = (DEBUGGED_OF_USER, allowed.user) if allowed.user else (DEBUGGED_OF_GROUP, allowed.group)
    if not whose:
        return None
    jobs = [row[0] for row in tx.rows(text, whose=whose, PandaID=panda_id)]
    if len(jobs) < allowed.limit:
        return None
    return (
        f"{whose} has {len(jobs)} jobs in debug mode already, and {allowed.limit} may be: "
        f"{', '.join(str(job) for job in sorted(jobs)[: allowed.limit])}"
    )
