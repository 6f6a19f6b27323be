"""Jobs in great number through a real instance: submission, pilots without payloads, and the books at the end."""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import sleep
from typing import Any

from pandaserver.testing.pilot import Pilot
from pandaserver.testing.pilot_transport import Ask, Unreachable, patiently
from pandaserver.testing.sample_site import QUEUE
from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.states import FINAL
from pandaserver.taskbuffer.transaction import Transaction
from tests.chaos.web_rig import Rig
from tests.factories import make_job

TABLES = ("jobsDefined4", "jobsActive4", "jobsArchived4")
#: What a job goes through that nothing disturbs.
STRAIGHT = ("defined", "activated", "sent", "starting", "running", "holding", "finished")
#: What it goes through when the reply was lost that gave it to a pilot.
LOST_ON_THE_WAY = ("defined", "activated", "sent", "failed")

STATES = {
    "jobsDefined4": "SELECT PandaID, jobStatus, jobName, jobDispatcherErrorCode FROM ATLAS_PANDA.jobsDefined4",
    "jobsActive4": "SELECT PandaID, jobStatus, jobName, jobDispatcherErrorCode FROM ATLAS_PANDA.jobsActive4",
    "jobsArchived4": "SELECT PandaID, jobStatus, jobName, jobDispatcherErrorCode FROM ATLAS_PANDA.jobsArchived4",
}
HISTORY = "SELECT PandaID, jobStatus FROM ATLAS_PANDA.jobs_StatusLog ORDER BY PandaID, statusLogID"
WAITING_REPORTS = "SELECT PandaID, lockedBy FROM ATLAS_PANDA.Job_Output_Report"
AGE_LOCKS = """
    UPDATE ATLAS_PANDA.Job_Output_Report SET lockedTime = lockedTime - :n * INTERVAL '1' HOUR
    WHERE lockedBy IS NOT NULL
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of a job."""

    table: str
    status: str
    name: str
    dispatcher_code: int


@dataclass(frozen=True, slots=True)
class Books:
    """Every row of every job, every step of it, and the reports that nobody has settled."""

    rows: Mapping[int, Sequence[Entry]]
    steps: Mapping[int, tuple[str, ...]]
    reports: Mapping[int, str | None]

    def count(self, *states: str) -> int:
        """Return how many jobs are in one of the states."""
        return sum(entry.status in states for entries in self.rows.values() for entry in entries)

    @property
    def unfinished(self) -> int:
        """How many jobs have something to do still."""
        return sum(entry.status not in FINAL for entries in self.rows.values() for entry in entries)


@operation(timeout=60, repeatable=True)
def chaos_books(tx: Transaction) -> Books:
    rows: defaultdict[int, list[Entry]] = defaultdict(list)
    for table in TABLES:
        for panda_id, status, name, code in tx.rows(STATES[table]):
            rows[panda_id].append(Entry(table, status, name, code or 0))
    steps: defaultdict[int, list[str]] = defaultdict(list)
    for panda_id, status in tx.rows(HISTORY):
        steps[panda_id].append(status)
    return Books(rows, {panda_id: tuple(found) for panda_id, found in steps.items()}, dict(tx.rows(WAITING_REPORTS)))


@operation(timeout=60)
def chaos_age_locks(tx: Transaction) -> int:
    """Make as much time pass for the locks of Adders as one that has died needs to be forgotten."""
    return tx.change(AGE_LOCKS, n=1)


def books(rig: Rig) -> Books:
    """Return the books of an instance."""
    with rig.task_buffer() as tbuf:
        found: Books = tbuf.caller.call(chaos_books, (), {})
        return found


def store_jobs(rig: Rig, count: int, tag: str) -> list[int]:
    """Submit jobs through the front door and return their PandaIDs."""
    reply = submitter(rig)("job/submit", {"jobs": submission(count, tag)})
    assert reply["success"], reply
    return [row[0] for row in reply["data"]]


def submission(count: int, tag: str) -> str:
    """Return jobs as v1 takes them, with names of their own."""
    from pandaserver.taskbuffer.client_jobs import job_as_state

    jobs = [make_job(inputs=0, jobName=f"{tag}.{n}", maxAttempt=1) for n in range(count)]
    for n, job in enumerate(jobs):
        for file in job.Files:
            file.lfn = f"{tag}.{n}.{file.type}"
    return json.dumps([job_as_state(job) for job in jobs])
