"""Harvester instances: that they are alive, what they complain about, how their machines are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from pandaserver.srvcore.errors import DuplicateKey, LockLost
from pandaserver.taskbuffer.db_proxy_mods import audit
from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.transaction import Transaction
from pandaserver.taskbuffer.worker_reports import InstanceBeat

#: Age of the locks of commands that have just been announced: old enough to be taken at once.
UNTOUCHED: Final = timedelta(days=1)

ALIVE: Final = """
    UPDATE ATLAS_PANDA.Harvester_Instances
    SET owner = CASE WHEN :may_take_over = 1 OR owner IS NULL THEN :owner ELSE owner END,
        hostName = :hostName, lastUpdate = CURRENT_TIMESTAMP,
        startTime = COALESCE(:startTime, startTime), sw_version = COALESCE(:sw_version, sw_version),
        commit_stamp = COALESCE(:commit_stamp, commit_stamp)
    WHERE harvester_ID = :harvester_ID
"""

ANNOUNCED: Final = """
    SELECT computingSite, resourceType, command FROM ATLAS_PANDA.Harvester_Command_Lock
    WHERE harvester_ID = :harvester_ID
"""

FORGET_DIALOGS: Final = """
    DELETE FROM ATLAS_PANDA.Harvester_Dialogs WHERE harvester_ID = :harvester_ID AND diagID IN (:ids[])
"""

OWNER: Final = "SELECT owner FROM ATLAS_PANDA.Harvester_Instances WHERE harvester_ID = :harvester_ID"

LAST_WORKER: Final = "SELECT MAX(workerID) FROM ATLAS_PANDA.Harvester_Workers WHERE harvesterID = :harvesterID"


@operation(timeout=60)
def harvester_is_alive(tx: Transaction, beat: InstanceBeat) -> bool:
    """Record a sign of life of an instance and the commands that it announces; return whether it was known before.

    Taking over what somebody else owns leaves an audit row.
    """
    if beat.may_take_over:
        _record_takeover(tx, beat)
    values = {
        "owner": beat.owner,
        "hostName": beat.host,
        "startTime": beat.start_time,
        "sw_version": beat.sw_version,
        "commit_stamp": beat.commit_stamp,
    }
    takes_over = int(beat.may_take_over)
    known = tx.change(ALIVE, harvester_ID=beat.harvester_id, may_take_over=takes_over, **values) > 0
    if not known:
        first = {**values, "description": "automatic", "lastUpdate": tx.now()}
        tx.upsert("ATLAS_PANDA.Harvester_Instances", {"harvester_ID": beat.harvester_id}, first)
    if beat.commands:
        _announce(tx, beat.harvester_id, beat.commands)
    return known


def _record_takeover(tx: Transaction, beat: InstanceBeat) -> None:
    before = tx.value(OWNER, harvester_ID=beat.harvester_id)
    if before not in (None, beat.owner):
        audit.record(tx, beat.owner, "takeOverHarvester", "harvester", beat.harvester_id, before=before)


def _announce(tx: Transaction, harvester_id: str, commands: Sequence[tuple[str, str, str]]) -> None:
    """Make a lock for each command that is new; who holds the others is left as it is."""
    known = set(tx.rows(ANNOUNCED, harvester_ID=harvester_id))
    rows = [
        {
            "harvester_ID": harvester_id,
            "computingSite": site,
            "resourceType": kind,
            "command": command,
            "lockedTime": tx.now() - UNTOUCHED,
        }
        for site, kind, command in sorted(set(commands) - known)
    ]
    try:
        tx.insert("ATLAS_PANDA.Harvester_Command_Lock", rows)
    except DuplicateKey as error:  # another process of that name announced the same: running again finds them
        raise LockLost(error.message) from error


@operation(timeout=60)
def add_harvester_dialogs(tx: Transaction, harvester_id: str, dialogs: Sequence[Mapping[str, Any]]) -> None:
    """Store at most a thousand complaints; one with the number of an earlier one replaces it."""
    latest = {dialog["diagID"]: dialog for dialog in dialogs}
    ids = sorted(latest)
    tx.change(FORGET_DIALOGS, harvester_ID=harvester_id, ids=ids)
    tx.insert("ATLAS_PANDA.Harvester_Dialogs", [{"harvester_ID": harvester_id, **latest[n]} for n in ids])


@operation(timeout=60)
def update_service_metrics(tx: Transaction, harvester_id: str, metrics: Sequence[Mapping[str, Any]]) -> None:
    """Store measurements of an instance's machines."""
    tx.insert("ATLAS_PANDA.Harvester_Metrics", [{"harvester_ID": harvester_id, **metric} for metric in metrics])


@operation(timeout=60, repeatable=True)
def get_max_worker_id(tx: Transaction, harvester_id: str) -> int | None:
    """Return the highest number that a worker of an instance has, None without workers."""
    number: int | None = tx.value(LAST_WORKER, harvesterID=harvester_id)
    return number
