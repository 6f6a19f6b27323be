"""Jobs in great number through a real instance: submission, pilots without payloads, and the books at the end."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
import uuid
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path
from time import monotonic, sleep
from types import TracebackType
from typing import Any

from pandaserver.jobdispatcher.Watcher import Watcher
from pandaserver.taskbuffer.client_jobs import job_as_state
from pandaserver.taskbuffer.ErrorCode import EC_SendError
from pandaserver.taskbuffer.lost_jobs import LostRule
from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.states import FINAL, JobStatus
from pandaserver.taskbuffer.transaction import Transaction
from pandaserver.testing.development_issuer import VO
from pandaserver.testing.pilot import Pilot
from pandaserver.testing.pilot_transport import patiently
from pandaserver.testing.sample_site import QUEUE
from tests.chaos.web_rig import Rig, wait_until
from tests.factories import make_job

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
    UPDATE ATLAS_PANDA.Job_Output_Report SET lockedTime = CURRENT_TIMESTAMP - :n * INTERVAL '1' HOUR
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
def chaos_books(tx: Transaction, tag: str) -> Books:
    """Return the books of the jobs whose names begin with a tag."""
    rows: defaultdict[int, list[Entry]] = defaultdict(list)
    for table, sql in STATES.items():
        for panda_id, status, name, code in tx.rows(sql):
            if name.startswith(f"{tag}."):
                rows[panda_id].append(Entry(table, status, name, code or 0))
    steps: defaultdict[int, list[str]] = defaultdict(list)
    for panda_id, status in tx.rows(HISTORY):
        if panda_id in rows:
            steps[panda_id].append(status)
    reports = {panda_id: owner for panda_id, owner in tx.rows(WAITING_REPORTS) if panda_id in rows}
    return Books(rows, {panda_id: tuple(found) for panda_id, found in steps.items()}, reports)


@operation(timeout=60, repeatable=True)
def chaos_lock_holder(tx: Transaction) -> int | None:
    """Return the process that is settling reports, None if there is none."""
    owners = [owner for _, owner in tx.rows(WAITING_REPORTS) if owner]
    return int(owners[0].split("-")[-2]) if owners else None


@operation(timeout=60)
def chaos_age_locks(tx: Transaction) -> int:
    """Make as much time pass for the locks of Adders as is needed until those of a dead one are forgotten."""
    return tx.change(AGE_LOCKS, n=1)


def books(rig: Rig, tag: str) -> Books:
    """Return the books of the jobs whose names begin with a tag."""
    with rig.task_buffer() as tbuf:
        found: Books = tbuf.caller.call(chaos_books, (tag,), {})
        return found


class User:
    """Somebody who submits through v1, and tries again until there is an answer."""

    def __init__(self, rig: Rig, name: str = "Jane Doe", url: str = "") -> None:
        self._url = f"{url or rig.http}/api/v1"
        self._headers = {
            "Content-Type": "application/json",
            "Authorization": f"Bearer {rig.token(name)}",
            "Origin": VO,
        }
        self.retries = 0

    def submit(self, jobs: str, key: str = "", *, seconds: float = 60.0) -> list[int]:
        """Submit jobs and return their PandaIDs. Without a key an unknown outcome is an error."""
        deadline = monotonic() + seconds
        while True:
            status, reply = self.ask("job/submit", {"jobs": jobs}, **({"Idempotency-Key": key} if key else {}))
            if status == HTTPStatus.OK:
                assert reply["success"], reply
                return [row[0] for row in reply["data"]]
            assert key, f"{status}: {reply}"
            assert monotonic() < deadline, f"{status}: {reply}"
            self.retries += 1
            sleep(0.05)

    def ask(self, method: str, parameters: Mapping[str, Any], **headers: str) -> tuple[int, Any]:
        """Ask once and return status and reply; status 0 if there was no reply."""
        body = json.dumps(parameters).encode()
        request = urllib.request.Request(f"{self._url}/{method}", body, self._headers | headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as reply:
                return reply.status, json.loads(reply.read())
        except urllib.error.HTTPError as error:
            return error.code, text_of(error)
        except (OSError, HTTPException) as error:
            return 0, str(error)


def text_of(error: urllib.error.HTTPError) -> str:
    """Return what came with an error, as far as it came."""
    try:
        return error.read().decode(errors="replace")
    except (OSError, HTTPException) as broken:
        return str(broken)


def submission(count: int, tag: str, **attributes: Any) -> str:
    """Return jobs as v1 takes them, with names of their own."""
    jobs = [make_job(inputs=0, jobName=f"{tag}.{n}", maxAttempt=1, **attributes) for n in range(count)]
    for n, job in enumerate(jobs):
        for file in job.Files:
            file.lfn = f"{tag}.{n}.{file.type}"
    return json.dumps([job_as_state(job) for job in jobs])


class Crew:
    """Pilots that skip the payload, each a thread that carries jobs to their final report and asks for more.

    They ask again when there is no answer, and nothing else is forgiven.
    """

    def __init__(self, rig: Rig, count: int, url: str = "") -> None:
        self._rig = rig
        self._ask = patiently(rig.pilot_server(url), give_up_after=60, pause=0.05)
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=(number,)) for number in range(count)]
        self.given: list[int] = []
        self.reported: list[int] = []
        self.troubles: list[BaseException] = []

    def __enter__(self) -> Crew:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, reports: int, seconds: float = 60.0) -> None:
        """Wait until that many jobs have been reported."""
        wait_until(lambda: len(self.reported) >= reports or self.troubles, seconds, f"report {reports}")
        assert self.troubles == []

    def settle(self, tag: str, seconds: float = 60.0) -> None:
        """Wait until pilots and Adders have nothing left to do: what is unfinished is lost in `sent`."""
        with self._rig.task_buffer() as tbuf:

            def is_settled() -> bool:
                found: Books = tbuf.caller.call(chaos_books, (tag,), {})
                return found.unfinished == found.count("sent") or bool(self.troubles)

            wait_until(is_settled, seconds, f"the end of {tag}")
        assert self.troubles == []

    def _work(self, number: int) -> None:
        pilot = Pilot(self._ask, _no_download, queue=QUEUE, work=Path(), store=Path(), name=f"crew-{number}")
        try:
            while not self._stopping.is_set():
                job = pilot.get_job()
                if job is None:
                    self._stopping.wait(0.05)
                else:
                    self._carry(pilot, job)
        except BaseException as trouble:
            self.troubles.append(trouble)

    def _carry(self, pilot: Pilot, job: Mapping[str, Any]) -> None:
        self.given.append(int(job["PandaID"]))
        pilot.update(job, "starting")
        pilot.update(job, "running")
        pilot.update(job, "finished", xml=report_of(job), pilotErrorCode=0, transExitCode=0)
        self.reported.append(int(job["PandaID"]))


def report_of(job: Mapping[str, Any]) -> str:
    """Return a report in which every output is there."""
    facts = {"fsize": 1, "adler32": "00000001", "surl": "", "endpoint": ""}
    names = {*str(job["outFiles"]).split(","), str(job["logFile"])}
    return json.dumps({name: facts | {"guid": str(uuid.uuid4())} for name in names})


def _no_download(url: str, target: Path) -> None:
    raise AssertionError(f"nobody runs payloads here: {url}")


def forget_locks(rig: Rig) -> None:
    """Make the locks of Adders old that were lost on the way."""
    with rig.task_buffer() as tbuf:
        tbuf.caller.call(chaos_age_locks, (), {})


def fail_lost(rig: Rig) -> int:
    """Apply the Watcher's rule about jobs in `sent` as if its half hour were over."""
    with rig.task_buffer() as tbuf:
        return Watcher(tbuf).run([LostRule("sent", (JobStatus.sent,), 0)])


def assert_in_order(found: Books, jobs: int, lost: int) -> None:
    """Hold the books against what was promised: every job once, final, its history whole; at most ``lost`` failed."""
    assert len(found.rows) == jobs
    assert [entries for entries in found.rows.values() if len(entries) != 1] == []
    single = {panda_id: entries[0] for panda_id, entries in found.rows.items()}
    assert {entry.table for entry in single.values()} == {"jobsArchived4"}
    failed = {panda_id for panda_id, entry in single.items() if entry.status == "failed"}
    assert {single[panda_id].dispatcher_code for panda_id in failed} <= {EC_SendError}
    assert {panda_id: steps for panda_id, steps in found.steps.items() if steps != _expected(panda_id, failed)} == {}
    assert {entry.status for entry in single.values()} <= {"finished", "failed"}
    assert len(failed) <= lost
    assert found.reports == {}


def _expected(panda_id: int, failed: set[int]) -> tuple[str, ...]:
    return LOST_ON_THE_WAY if panda_id in failed else STRAIGHT
