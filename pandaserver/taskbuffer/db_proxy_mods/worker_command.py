"""Commands to harvester instances: how many workers to submit, and which workers are further than they say."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from pandaserver.taskbuffer.db_proxy_mods.share import all_leaves_in_order
from pandaserver.taskbuffer.db_proxy_mods.site_config import RESOURCE_TYPES
from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.provisioning import (
    StreamedQueue,
    WaitingJobs,
    Workers,
    new_workers,
    serving_instances,
    shared_out,
)
from pandaserver.taskbuffer.sharing import resource_types
from pandaserver.taskbuffer.transaction import Transaction

#: Minutes for which a report about workers counts.
STATISTICS_MINUTES: Final = 60

COMMAND: Final = "SET_N_WORKERS_JOBTYPE"
#: Job type under which all numbers are sent: a harvester heeds only one number for each resource type.
JOB_TYPE: Final = "managed"

#: Workers that one command names at most.
SHARD: Final = 100
#: Minutes that a pilot must be ahead of its worker, and after which a harvester is told again.
AHEAD_MINUTES: Final = 60
#: Days since which the worker must have been updated, and submitted.
UPDATED_DAYS: Final = 7
SUBMITTED_DAYS: Final = 14

_RUNNING: Final = ("running",)
#: Not ``to_submit``: what an instance has not submitted yet, it forgets for the number that it is told now.
_QUEUED: Final = ("submitted", "ready")

STATISTICS: Final = """
    SELECT harvester_ID, resourceType, status, SUM(n_workers)
    FROM ATLAS_PANDA.Harvester_Worker_Stats
    WHERE computingSite = :site AND lastUpdate > CURRENT_TIMESTAMP - :minutes * INTERVAL '1' MINUTE
    GROUP BY harvester_ID, resourceType, status
"""

WAITING: Final = """
    SELECT gshare, currentPriority, resource_type, COUNT(*)
    FROM ATLAS_PANDA.jobsActive4
    WHERE computingSite = :site AND jobStatus = 'activated' AND resource_type IS NOT NULL
    GROUP BY gshare, currentPriority, resource_type
"""

#: Instances that understand only the older of the two commands, by their own word.
ANNOUNCED: Final = """
    SELECT harvester_ID FROM ATLAS_PANDA.Harvester_Command_Lock
    WHERE computingSite = :site AND command IN ('SET_N_WORKERS', 'SET_N_WORKERS_JOBTYPE')
    GROUP BY harvester_ID HAVING MAX(command) = 'SET_N_WORKERS'
"""

FORGET_COMMAND: Final = """
    DELETE FROM ATLAS_PANDA.Harvester_Commands WHERE harvester_ID = :harvester_ID AND command = :command
"""

#: What has been fetched, and what nobody fetched until it was time to say it again.
FORGET_OLD_SHARDS: Final = """
    DELETE FROM ATLAS_PANDA.Harvester_Commands
    WHERE harvester_ID = :harvester_ID AND command = :command
      AND (status <> 'new' OR creation_date < CURRENT_TIMESTAMP - :minutes * INTERVAL '1' MINUTE)
"""

#: Command -> the workers that it is about: those whose pilot has been further than they are for a while.
BEHIND: Final = {
    command: f"""
    SELECT harvesterID, workerID FROM ATLAS_PANDA.Harvester_Workers
    WHERE status IN ({statuses}) AND pilotStatus IN ({said})
      AND {since} < CURRENT_TIMESTAMP - :ahead * INTERVAL '1' MINUTE
      AND lastUpdate > CURRENT_TIMESTAMP - :updated * INTERVAL '1' DAY
      AND submitTime > CURRENT_TIMESTAMP - :submitted * INTERVAL '1' DAY
      AND (pilotStatusSyncTime IS NULL OR pilotStatusSyncTime < CURRENT_TIMESTAMP - :ahead * INTERVAL '1' MINUTE)
    ORDER BY harvesterID, workerID FETCH FIRST :n ROWS ONLY
"""
    for command, statuses, said, since in (
        ("SYNC_WORKERS_ACTIVATE", "'submitted', 'ready'", "'started', 'running'", "pilotStartTime"),
        ("SYNC_WORKERS_KILL", "'submitted', 'ready', 'running', 'idle'", "'finished'", "pilotEndTime"),
    )
}

TOLD: Final = """
    UPDATE ATLAS_PANDA.Harvester_Workers SET pilotStatusSyncTime = CURRENT_TIMESTAMP
    WHERE harvesterID = :harvesterID AND workerID IN (:ids[])
"""


@operation(timeout=60)
def stream_pilots(tx: Transaction, queue: StreamedQueue) -> dict[str, dict[str, int]]:
    """Tell the instances that serve a queue how many workers to submit; return what each was told."""
    workers = list(_workers(tx.rows(STATISTICS, site=queue.name, minutes=STATISTICS_MINUTES)))
    instances = serving_instances(queue, workers)
    if not instances:
        return {}
    types = resource_types(tx.dicts(RESOURCE_TYPES))
    # Jobs wait for whoever comes, so the workers of all instances count, also where only one is told.
    told = shared_out(new_workers(queue, workers, _waiting(tx, queue.name), types), instances)
    old = {row[0] for row in tx.rows(ANNOUNCED, site=queue.name)}
    for instance, numbers in told.items():
        name, params = ("SET_N_WORKERS", numbers) if instance in old else (COMMAND, {JOB_TYPE: numbers})
        command = f"{name}:{queue.name}"
        replace_command(tx, instance, command, params)
    return told


def _workers(rows: Iterable[tuple[Any, ...]]) -> Iterator[Workers]:
    counts: defaultdict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    for harvester, kind, status, number in rows:
        counts[harvester, kind][status] = int(number or 0)
    for (harvester, kind), by_status in sorted(counts.items()):
        running, queued = (sum(by_status.get(s, 0) for s in wanted) for wanted in (_RUNNING, _QUEUED))
        yield Workers(harvester, kind, running, queued)


def _waiting(tx: Transaction, site: str) -> list[WaitingJobs]:
    """Return the waiting jobs as dispatch would take them: by share, then by priority."""
    rank = {leaf: place for place, leaf in enumerate(all_leaves_in_order(tx))}

    def turn(row: tuple[Any, ...]) -> tuple[int, str, int, str]:
        share, priority, kind, _ = row
        return rank.get(share, len(rank)), share or "", -(priority or 0), kind

    return [WaitingJobs(kind, int(jobs)) for _, _, kind, jobs in sorted(tx.rows(WAITING, site=site), key=turn)]


@operation(timeout=60)
def synchronize_workers(tx: Transaction, limit: int) -> dict[str, int]:
    """Tell harvesters about workers that are behind their pilots, at most ``limit``; return how many by command."""
    told: dict[str, int] = {}
    for command, behind in BEHIND.items():
        rows = tx.rows(behind, ahead=AHEAD_MINUTES, updated=UPDATED_DAYS, submitted=SUBMITTED_DAYS, n=limit)
        by_instance: defaultdict[str, list[int]] = defaultdict(list)
        for instance, worker in rows:
            by_instance[instance].append(worker)
        for instance, ids in by_instance.items():
            tx.change(FORGET_OLD_SHARDS, harvester_ID=instance, command=command, minutes=AHEAD_MINUTES)
            shards = [ids[start : start + SHARD] for start in range(0, len(ids), SHARD)]
            queue_commands(tx, instance, command, shards)
            for shard in shards:
                tx.change(TOLD, harvesterID=instance, ids=shard)
        told[command] = len(rows)
    return told


def replace_command(
    tx: Transaction,
    instance: str,
    command: str,
    params: Mapping[str, Any] | list[int] | None,
    *,
    ack_requested: bool = False,
) -> None:
    """Queue a command in place of the last one of that text."""
    tx.change(FORGET_COMMAND, harvester_ID=instance, command=command)
    queue_commands(tx, instance, command, [params], ack_requested=ack_requested)


def queue_commands(
    tx: Transaction,
    instance: str,
    command: str,
    params: Sequence[Mapping[str, Any] | list[int] | None],
    *,
    ack_requested: bool = False,
) -> None:
    """Queue commands of the same text; harvesters take the oldest, that is the lowest number, first."""
    now = tx.now()
    tx.insert(
        "ATLAS_PANDA.Harvester_Commands",
        [
            {
                "command_id": number,
                "command": command,
                "harvester_ID": instance,
                "ack_requested": int(ack_requested),
                "creation_date": now,
                "status": "new",
                "status_date": now,
                "params": None if each is None else json.dumps(each),
            }
            for number, each in zip(
                tx.next_ids("ATLAS_PANDA.HARVESTER_COMMAND_ID_SEQ", len(params)), params, strict=True
            )
        ],
    )
