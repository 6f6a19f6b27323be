"""Workers: what runs pilots, as pilots see it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pandaserver.taskbuffer.db_proxy_mods.remembered import remembered
from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.requests import WorkerStatus
from pandaserver.taskbuffer.transaction import Transaction
from pandaserver.taskbuffer.worker_reports import STICKY_HOURS
from pandaserver.taskbuffer.WorkerSpec import WORKER_TEXT_LIMITS

#: Seconds for which a connection trusts its list of registered harvester instances.
INSTANCES_LIFETIME: Final = 60.0
_INSTANCES: Final = "harvester instances"

INSTANCES: Final = "SELECT harvester_ID FROM ATLAS_PANDA.Harvester_Instances"

#: A pilot that asks for a job proves that its worker runs, unless its harvester has just seen the worker's end.
AT_WORK: Final = """
    UPDATE ATLAS_PANDA.Harvester_Workers
    SET status = CASE WHEN status IN ('finished', 'failed', 'cancelled', 'missed')
                           AND lastUpdate > CURRENT_TIMESTAMP - :hours * INTERVAL '1' HOUR
                      THEN status ELSE 'running' END,
        computingSite = :site, nJobs = :n_jobs, lastUpdate = CURRENT_TIMESTAMP
    WHERE harvesterID = :harvesterID AND workerID = :workerID
"""

UNLINK: Final = """
    DELETE FROM ATLAS_PANDA.Harvester_Rel_Jobs_Workers
    WHERE harvesterID = :harvesterID AND workerID = :workerID AND PandaID IN (:ids[])
"""

TOUCH_LINK: Final = """
    UPDATE ATLAS_PANDA.Harvester_Rel_Jobs_Workers SET lastUpdate = CURRENT_TIMESTAMP WHERE PandaID = :PandaID
"""

ELEMENT_OF: Final = """
    SELECT w.computingElement
    FROM ATLAS_PANDA.Harvester_Rel_Jobs_Workers r
    JOIN ATLAS_PANDA.Harvester_Workers w ON w.harvesterID = r.harvesterID AND w.workerID = r.workerID
    WHERE r.PandaID = :PandaID AND w.computingElement IS NOT NULL
    ORDER BY r.lastUpdate DESC
    FETCH FIRST 1 ROWS ONLY
"""

#: Columns that a pilot's word changes, by its status.
PILOT_SAYS: Final = {
    status: f"""
    UPDATE ATLAS_PANDA.Harvester_Workers
    SET pilotStatus = :status, nodeID = COALESCE(:nodeID, nodeID), {column} = CURRENT_TIMESTAMP
    WHERE harvesterID = :harvesterID AND workerID = :workerID AND (:anywhere = 1 OR computingSite = :queue)
"""
    for status, column in (("started", "pilotStartTime"), ("finished", "pilotEndTime"))
}


def link_jobs(tx: Transaction, harvester_id: str, worker_id: int, site: str, ids: Sequence[int]) -> None:
    """Record that a worker runs those jobs; the link is kept only for instances that have registered."""
    now = tx.now()
    key = {"harvesterID": harvester_id, "workerID": worker_id}
    if not tx.change(AT_WORK, **key, site=site, n_jobs=len(ids), hours=STICKY_HOURS):
        new = {"status": "running", "computingSite": site, "nJobs": len(ids), "lastUpdate": now}
        tx.upsert("ATLAS_PANDA.Harvester_Workers", key, new)
    if not _is_registered(tx, harvester_id):
        return
    tx.change_later(UNLINK, harvesterID=harvester_id, workerID=worker_id, ids=list(ids))
    tx.insert(
        "ATLAS_PANDA.Harvester_Rel_Jobs_Workers",
        [{"harvesterID": harvester_id, "workerID": worker_id, "PandaID": pid, "lastUpdate": now} for pid in ids],
    )


def touch_link(tx: Transaction, panda_id: int) -> None:
    """Renew the time of the links of a job that has just begun to run."""
    tx.change_later(TOUCH_LINK, PandaID=panda_id)


def element_of(tx: Transaction, panda_id: int) -> str | None:
    """Return the computing element of the worker that runs a job, if it is known."""
    element: str | None = tx.value(ELEMENT_OF, PandaID=panda_id)
    return element


@operation(timeout=60)
def update_worker_pilot_status(tx: Transaction, said: WorkerStatus) -> bool:
    """Record the beginning or end of a pilot on its worker; return whether that worker is known."""
    changed = tx.change(
        PILOT_SAYS[said.status],
        status=said.status,
        nodeID=said.node_id and said.node_id[: WORKER_TEXT_LIMITS["nodeID"]],
        harvesterID=said.harvester_id,
        workerID=said.worker_id,
        anywhere=int(said.queue is None),
        queue=said.queue or "",
    )
    return changed > 0


def _is_registered(tx: Transaction, harvester_id: str) -> bool:
    """Tell whether an instance is known; one that has registered since the last look is found by a new one."""
    if harvester_id in remembered(tx, _INSTANCES, INSTANCES_LIFETIME, _read_instances):
        return True
    del tx.memory[_INSTANCES]
    return harvester_id in remembered(tx, _INSTANCES, INSTANCES_LIFETIME, _read_instances)


def _read_instances(tx: Transaction) -> frozenset[str]:
    return frozenset(row[0] for row in tx.rows(INSTANCES))
