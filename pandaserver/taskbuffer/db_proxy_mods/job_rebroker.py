"""Finding jobs of tasks that would begin sooner elsewhere."""

from __future__ import annotations

from typing import Final

from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.rebrokerage import QUEUED, JobGroup, Waiting
from pandaserver.taskbuffer.transaction import Transaction

_IN_SHARES: Final = """(workQueue_ID IS NULL OR workQueue_ID NOT IN (
        SELECT q.queue_ID FROM ATLAS_PANDA.JEDI_Work_Queue q WHERE q.queue_function = 'Resource'
      ))"""

#: Jobs outside global shares are left alone, and queues whose number of slots is set for them.
COUNTS: Final = tuple(
    f"""
    SELECT computingSite, gshare, jobStatus, SUM(nJobs)
    FROM ATLAS_PANDA.{stats}
    WHERE jobStatus IN (:statuses[]) AND gshare IS NOT NULL AND computingSite IS NOT NULL AND {_IN_SHARES}
      AND computingSite NOT IN (
        SELECT h.pandaQueueName FROM ATLAS_PANDA.Harvester_Slots h
        WHERE h.expirationTime IS NULL OR h.expirationTime > CURRENT_TIMESTAMP
      )
    GROUP BY computingSite, gshare, jobStatus
"""
    for stats in ("JobsDefined_Share_Stats", "Jobs_Share_Stats")
)

#: The oldest of each table; which of them are the oldest of both is for the caller to see.
OLDEST: Final = tuple(
    f"""
    SELECT creationTime, PandaID FROM ATLAS_PANDA.{table}
    WHERE computingSite = :site AND gshare = :share AND jobStatus IN (:statuses[]) AND jediTaskID IS NOT NULL
      AND {_IN_SHARES}
    ORDER BY creationTime, PandaID FETCH FIRST :n ROWS ONLY
"""
    for table in ("jobsDefined4", "jobsActive4")
)

#: Since when the first job of each group could begin; the state's own time where the history does not tell.
WAITING_GROUPS: Final = """
    SELECT j.prodUserName, j.jobDefinitionID, j.computingSite, j.jediTaskID, MIN(j.workingGroup),
        MIN(COALESCE(l.modificationTime, j.stateChangeTime))
    FROM ATLAS_PANDA.jobsActive4 j
        LEFT JOIN ATLAS_PANDA.jobs_StatusLog l ON l.PandaID = j.PandaID AND l.jobStatus = 'activated'
    WHERE j.jobStatus = 'activated' AND j.prodSourceLabel IN ('user', 'panda') AND j.jediTaskID IS NOT NULL
      AND j.computingSite IS NOT NULL AND j.prodUserName IS NOT NULL
    GROUP BY j.prodUserName, j.jobDefinitionID, j.computingSite, j.jediTaskID
    UNION ALL
    SELECT j.prodUserName, j.jobDefinitionID, j.computingSite, j.jediTaskID, MIN(j.workingGroup), MIN(j.creationTime)
    FROM ATLAS_PANDA.jobsDefined4 j
    WHERE j.jobStatus IN ('defined', 'assigned') AND j.prodSourceLabel IN ('user', 'panda')
      AND j.jediTaskID IS NOT NULL AND j.computingSite IS NOT NULL AND j.prodUserName IS NOT NULL
    GROUP BY j.prodUserName, j.jobDefinitionID, j.computingSite, j.jediTaskID
"""

_OF_GROUP: Final = """jediTaskID = :task AND computingSite = :site AND prodUserName = :user_name
          AND COALESCE(jobDefinitionID, 0) = :definition"""

CHANGED: Final = tuple(
    f"""
    SELECT PandaID FROM ATLAS_PANDA.{table}
    WHERE {_OF_GROUP}
      AND jobStatus NOT IN ('closed', 'failed', 'starting')
      AND stateChangeTime > CURRENT_TIMESTAMP - :hours * INTERVAL '1' HOUR
    ORDER BY PandaID FETCH FIRST 1 ROWS ONLY
"""
    for table in ("jobsActive4", "jobsArchived4")
)

MEMBERS: Final = " UNION ALL ".join(
    f"""
    SELECT PandaID FROM ATLAS_PANDA.{table}
    WHERE {_OF_GROUP} AND jobStatus IN (:statuses[])
"""
    for table in ("jobsDefined4", "jobsActive4")
)


@operation(timeout=120, repeatable=True)
def count_waiting_by_share(tx: Transaction) -> list[Waiting]:
    """Return how many jobs of each share wait and run at each queue, as the share statistics have it."""
    queued: dict[tuple[str, str], int] = {}
    running: dict[tuple[str, str], int] = {}
    statuses = [*map(str, QUEUED), "running"]
    for text in COUNTS:
        for site, share, status, jobs in tx.rows(text, statuses=statuses):
            counts = running if status == "running" else queued
            counts[site, share] = counts.get((site, share), 0) + int(jobs or 0)
    keys = sorted(queued.keys() | running.keys())
    return [Waiting(site, share, queued.get((site, share), 0), running.get((site, share), 0)) for site, share in keys]


@operation(timeout=120, repeatable=True)
def find_oldest_waiting(tx: Transaction, site: str, share: str, limit: int) -> list[int]:
    """Return jobs of tasks that wait at a queue in that share, the oldest first."""
    statuses = [str(status) for status in QUEUED]
    found = (row for text in OLDEST for row in tx.rows(text, site=site, share=share, statuses=statuses, n=limit))
    return [job_id for _, job_id in sorted(found)[:limit]]


@operation(timeout=300, repeatable=True)
def find_waiting_groups(tx: Transaction, hours: float) -> list[JobGroup]:
    """Return groups of users' jobs of tasks the first of which could begin more than ``hours`` ago."""
    now = tx.now()
    first: dict[tuple[str, int | None, str, int], tuple[str | None, float]] = {}
    for user, definition, site, task, group, since in tx.rows(WAITING_GROUPS):
        waited = (now - since).total_seconds() / 3600
        known = first.get((user, definition, site, task))
        if known is None or known[1] < waited:
            first[user, definition, site, task] = (group or (known[0] if known else None), waited)
    return [JobGroup(*key, group, waited) for key, (group, waited) in first.items() if waited > hours]


@operation(timeout=60, repeatable=True)
def find_stuck_members(tx: Transaction, group: JobGroup, hours: float) -> list[int]:
    """Return the jobs of a group that wait, the highest number first; none if any changed its state in ``hours``."""
    which = {
        "task": group.task,
        "site": group.site,
        "user_name": group.user,
        "definition": group.job_definition_id or 0,
    }
    if any(tx.one(text, **which, hours=hours) for text in CHANGED):
        return []
    return sorted((row[0] for row in tx.rows(MEMBERS, **which, statuses=[str(s) for s in QUEUED])), reverse=True)
