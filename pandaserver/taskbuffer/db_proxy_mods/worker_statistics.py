"""How many workers each instance has at each queue, as it says itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.transaction import Transaction

#: Hours for which a report is shown.
SHOWN_HOURS: Final = 4

FORGET: Final = """
    DELETE FROM ATLAS_PANDA.Harvester_Worker_Stats
    WHERE harvester_ID = :harvester_ID AND computingSite = :computingSite
"""

SHOWN: Final = """
    SELECT computingSite, harvester_ID, jobType, resourceType, status, n_workers
    FROM ATLAS_PANDA.Harvester_Worker_Stats
    WHERE lastUpdate > CURRENT_TIMESTAMP - :hours * INTERVAL '1' HOUR
"""

_KEY: Final = ("harvester_ID", "computingSite", "resourceType", "status", "jobType")


@operation(timeout=60)
def report_worker_statistics(
    tx: Transaction, harvester_id: str, queue: str, counts: Sequence[tuple[str, str, str, int]]
) -> None:
    """Make (job type, resource type, status, workers) all that is known of an instance at a queue."""
    now = tx.now()
    tx.change(FORGET, harvester_ID=harvester_id, computingSite=queue)
    rows = {
        (job_type, kind, status): {
            "harvester_ID": harvester_id,
            "computingSite": queue,
            "resourceType": kind,
            "status": status,
            "jobType": job_type,
            "n_workers": number,
            "lastUpdate": now,
        }
        for job_type, kind, status, number in counts
    }
    tx.upsert_many("ATLAS_PANDA.Harvester_Worker_Stats", _KEY, [rows[key] for key in sorted(rows)])


@operation(timeout=60, repeatable=True)
def get_worker_statistics(tx: Transaction) -> dict[str, dict[str, dict[str, dict[str, dict[str, int]]]]]:
    """Return workers by queue, instance, job type, resource type and status, out of reports of the last hours."""
    found: dict[str, Any] = {}
    for *path, status, number in tx.rows(SHOWN, hours=SHOWN_HOURS):
        level = found
        for name in path:
            level = level.setdefault(name, {})
        level[status] = int(number or 0)
    return found
