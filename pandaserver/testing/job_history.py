"""How long each job was in each state, read from the history table.

Run as a program with PandaIDs it prints JSON; an instance runs it as its own account, which may open the database.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from pandaserver.config.panda_config import connection_settings, load, operation_settings
from pandaserver.taskbuffer.local_bridge import LocalBridge
from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.transaction import Transaction

#: (state, seconds spent in it); None for the state that a job is in now.
Stay = tuple[str, float | None]

CHANGES: Final = """
    SELECT PandaID, jobStatus, modificationTime, modiftime_extended FROM ATLAS_PANDA.jobs_StatusLog
    WHERE PandaID IN (:ids[]) ORDER BY statusLogID
"""


@operation(timeout=60, repeatable=True)
def job_stays(tx: Transaction, ids: Sequence[int]) -> dict[int, list[Stay]]:
    """Return the states of each job in their order, with the time spent in each."""
    changes: dict[int, list[tuple[str, float]]] = {}
    for panda_id, status, coarse, fine in tx.rows(CHANGES, ids=list(ids)):
        changes.setdefault(panda_id, []).append((status, (fine or coarse).timestamp()))
    return {panda_id: _stays(points) for panda_id, points in changes.items()}


def _stays(points: Sequence[tuple[str, float]]) -> list[Stay]:
    past: list[Stay] = [(status, end - start) for (status, start), (_, end) in pairwise(points)]
    return [*past, (points[-1][0], None)]


def main() -> None:
    """Print the stays of the jobs named on the command line."""
    server = load(os.environ).server
    bridge = LocalBridge(connection_settings(server), operation_settings(server))
    try:
        print(json.dumps(bridge.call(job_stays, ([int(word) for word in sys.argv[1:]],), {}, None)))
    finally:
        bridge.close()


if __name__ == "__main__":
    main()
