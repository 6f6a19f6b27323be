"""Stock pilots of several releases and identities, each at a queue of its own with one job, all at the same time."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from pandaserver.taskbuffer.transaction import Transaction
from pandaserver.testing import sample_job
from pandaserver.testing.demo import FINAL
from pandaserver.testing.development_issuer import VO
from pandaserver.testing.processes import end
from pandaserver.testing.sample_site import QUEUE, QUEUE_DATA
from pandaserver.testing.stock_client import ClientJob, StockClient
from pandaserver.testing.stock_pilot import SCRIPT_BASE, CertificateIdentity, StockPilot, TokenIdentity
from pandaserver.testing.stock_pilot_release import FORMER, NEWEST, fetched
from tests.chaos.web_rig import SCRIPTS, Rig, directory
from tests.db.crowd import query

HARVESTER: Final = "hv1"
EXIT_CODE: Final = 17
#: Seconds that a payload takes which is not meant to reach its end.
ENDLESS: Final = 900

#: The pilot's own settings: how often it tells that it lives.
CHANGES: Final = {"Pilot": {"heartbeat": "5", "debug_heartbeat": "5"}}
#: Seconds between two attempts to tell something; the former release does not wait.
NEWER_CHANGES: Final = {"Pilot": {**CHANGES["Pilot"], "update_sleep": "5"}}

#: Seconds for everything; a failed job of the stock pilot waits 115 s before it says so.
PATIENCE: Final = 400.0

_DAEMONS: Final[Mapping[str, Mapping[str, Any]]] = {
    "add_main": {"module": f"{SCRIPTS}.add_main", "period": 1, "loop": True},
    "setup_lost_jobs": {"module": f"{SCRIPTS}.setup_lost_jobs", "period": 2},
}

#: In the output of a pilot: the last heartbeat, and that it has to be sent again.
_FAILED_END: Final = re.compile(r"'state': 'finished'.*server update attempt 2", re.DOTALL)

OLD_HEARTBEAT: Final = """
    UPDATE ATLAS_PANDA.jobsActive4
    SET modificationTime = CURRENT_TIMESTAMP - :hours * INTERVAL '1' HOUR
    WHERE PandaID = :PandaID
"""


WORKER: Final = """
    SELECT pilotStatus FROM ATLAS_PANDA.Harvester_Workers WHERE harvesterID = :harvesterID AND workerID = :workerID
"""

HISTORY: Final = """
    SELECT jobStatus FROM ATLAS_PANDA.jobs_StatusLog WHERE PandaID = :PandaID ORDER BY statusLogID
"""


@dataclass(frozen=True, slots=True)
class Case:
    """One pilot and what happens to its job."""

    version: str
    identity: str  # token or x509
    fate: str  # one of FATES, or outage

    @property
    def queue(self) -> str:
        """The queue that only this pilot serves."""
        return f"{QUEUE}_{self.version}_{self.identity}_{self.fate}"

    @property
    def tag(self) -> str:
        """What makes its names unique."""
        return f"{self.version}.{self.identity}.{self.fate}".replace("_", "")

    @property
    def finishes(self) -> bool:
        """Whether nothing goes wrong."""
        return self.fate in ("finished", "with_input", "outage")

    def job(self) -> ClientJob:
        """Return its job."""
        if self.fate == "payload_fails":
            made = sample_job.failing_job(SCRIPT_BASE, tag=self.tag, exit_code=EXIT_CODE)
        else:
            seconds = ENDLESS if self.fate in ("killed", "lost") else 8  # some heartbeats
            with_input = self.fate == "with_input"
            made = sample_job.counting_job(SCRIPT_BASE, 1, tag=self.tag, seconds=seconds, with_input=with_input)
        files = [
            {**file, **({"destinationSE": self.queue} if "destinationSE" in file else {})} for file in made["Files"]
        ]
        return {**made, "computingSite": self.queue, "destinationSE": self.queue, "Files": files}


FATES: Final = ("finished", "with_input", "payload_fails", "killed", "lost")
EVERY: Final = tuple(Case(v, i, f) for v in (NEWEST, FORMER) for i in ("token", "x509") for f in FATES)
#: Each release, identity and fate, and each fate with either release or identity of the two.
DIAGONAL: Final = (
    Case(NEWEST, "token", "finished"),
    Case(FORMER, "x509", "with_input"),
    Case(NEWEST, "x509", "payload_fails"),
    Case(FORMER, "token", "payload_fails"),
    Case(NEWEST, "token", "killed"),
    Case(FORMER, "x509", "killed"),
    Case(FORMER, "token", "lost"),
    Case(NEWEST, "x509", "lost"),
)


@dataclass(frozen=True, slots=True)
class Result:
    """How it ended: the job as the client sees it, its history, and what the pilot said and left."""

    job: Any
    history: tuple[str, ...]
    output: str
    worker: str | None  # what the pilot has said of its worker last
    kept: tuple[bool, ...]  # whether output and log are where the pilot puts them


class PilotRig(Rig):
    """An instance with a queue for each case, which is what pilots and the server read from its beginning."""

    def __init__(self, home: Path, cases: Sequence[Case], server: Mapping[str, object]) -> None:
        super().__init__(home, "sqlite", daemons=_DAEMONS, server=server)
        self._cases = cases

    def _start_apache(self) -> None:
        """Describe the queues first: the server notices a new one within minutes only."""
        owner = "/O=PanDA Development/OU=Users/CN=Pat Pilot"
        queues = [
            {
                **QUEUE_DATA,
                **{"nickname": c.queue, "siteid": c.queue, "panda_resource": c.queue, "dn": owner},
                "maxwdir": 14336,  # without, a pilot fails every job that takes more than a minute
            }
            for c in self._cases
        ]
        path = self.layout.work / "queues.json"
        path.write_text(json.dumps(queues))
        path.chmod(0o644)
        self.admin("queue", "set", str(path))
        self.admin("script", "cache_schedconfig")
        super()._start_apache()

    def pilot(self, case: Case) -> StockPilot:
        """Return the pilot of a case, with a directory of its own."""
        home = self.layout.home / "stock" / case.queue
        home.mkdir(parents=True)
        with_token = case.identity == "token"
        identity = (
            TokenIdentity(self.token("Pilot", f"{VO}/pilot"), f"{VO}.pilot")
            if with_token
            else CertificateIdentity(self.certificate("Pat Pilot"), self.layout.ca / "certificates")
        )
        return StockPilot(
            home / "pilot",
            home / "store",
            http=self.http,
            server=self.http if with_token else self.https,
            identity=identity,
            release=fetched(case.version),
            changes=CHANGES if case.version == FORMER else NEWER_CHANGES,
            site_data=f"{self.http}/cache/schedconfig",
        )


def run(
    cases: Sequence[Case], *, patient: bool = False, server: Mapping[str, object] | None = None
) -> dict[Case, Result]:
    """Run all cases at once and return how each ended; ``server`` are further settings of the server.

    Pilots of jobs that did not finish take another half minute to end; only who is ``patient`` waits for them.
    """
    with directory() as home, PilotRig(home / "var", cases, server or {}) as rig:
        sample_job.publish_scripts(rig.layout.trf / "user")
        assert isinstance(rig, PilotRig)
        with StockClient(rig, certificate=rig.certificate("Jane Doe")) as client, rig.task_buffer() as tbuf:
            return _Course(rig, client, tbuf, cases).run(patient)


class _Course:
    """Everything from submission until all jobs and pilots have ended."""

    def __init__(self, rig: PilotRig, client: StockClient, tbuf: TaskBuffer, cases: Sequence[Case]) -> None:
        self._rig = rig
        self._client = client
        self._tbuf = tbuf
        self._cases = cases
        self._ids = dict(zip(cases, client.submit([case.job() for case in cases]), strict=True))
        self._pilots: dict[Case, StockPilot] = {}
        self._processes: dict[Case, subprocess.Popen[bytes]] = {}
        self._done: set[Case] = set()  # cases whose harm is done
        self._outage: sqlite3.Connection | None = None

    def run(self, patient: bool) -> dict[Case, Result]:
        """Wait for the jobs, and for those pilots whose end counts."""
        with self._started():
            deadline = time.monotonic() + PATIENCE
            while True:
                jobs = self._jobs()
                self._interfere(jobs)
                running = [
                    case
                    for case, process in self._processes.items()
                    if process.poll() is None and (patient or case.finishes)
                ]
                unfinished = [case for case, job in jobs.items() if job.jobStatus not in FINAL]
                if not running and not unfinished:
                    return {case: self._result(case, job) for case, job in jobs.items()}
                assert time.monotonic() < deadline, self._told(running, unfinished)
                time.sleep(0.5)

    @contextmanager
    def _started(self) -> Iterator[None]:
        try:
            for number, case in enumerate(self._cases, 1):
                pilot = self._pilots[case] = self._rig.pilot(case)
                pilot.provide(sample_job.write_input(self._rig.layout.work), sample_job.INPUT_SCOPE)
                self._processes[case] = pilot.start(self._log_of(case), case.queue, (HARVESTER, number))
            yield
        finally:
            for process in self._processes.values():
                end(process, patience=2)

    def _jobs(self) -> dict[Case, Any]:
        return dict(zip(self._ids, self._client.jobs(list(self._ids.values())), strict=True))

    def _interfere(self, jobs: Mapping[Case, Any]) -> None:
        """Kill jobs that run, and pilots; the jobs of dead pilots grow old at once."""
        running = [case for case, job in jobs.items() if job.jobStatus == "running"]
        for case in running:
            if case.fate == "killed" and case not in self._done:
                assert self._client.kill([self._ids[case]]) == [True], case
            elif case.fate == "lost":  # again, if a heartbeat was under way
                self._processes[case].kill()  # and with it everything in its namespace
                self._processes[case].wait()
                self._tbuf.caller.call(silence_for_test, (self._ids[case], 3), {})
        self._done.update(running)
        if any(case.fate == "lost" for case in running):
            self._rig.admin("script", "copyArchive")
        if any(case.fate == "outage" for case in self._cases):
            self._break_database()

    def _break_database(self) -> None:
        """Keep everybody from writing from when all payloads run until all pilots have failed to tell their end."""
        if self._done.issuperset(self._cases) and self._outage is None:
            assert self._rig.connection is not None
            self._outage = sqlite3.connect(self._rig.connection.name, isolation_level=None)
            self._outage.execute("BEGIN IMMEDIATE")
        if self._outage and all(_FAILED_END.search(self._log_of(case).read_text()) for case in self._cases):
            self._outage.close()

    def _result(self, case: Case, job: Any) -> Result:
        panda_id = self._ids[case]
        return Result(
            job,
            tuple(status for (status,) in query(self._tbuf, HISTORY, PandaID=panda_id)),
            self._log_of(case).read_text(errors="replace"),
            self._worker_of(case),
            tuple(self._pilots[case].has_kept(file.scope, file.lfn) for file in job.Files if file.type != "input"),
        )

    def _worker_of(self, case: Case) -> str | None:
        rows = query(self._tbuf, WORKER, harvesterID=HARVESTER, workerID=self._cases.index(case) + 1)
        return rows[0][0] if rows else None

    def _log_of(self, case: Case) -> Path:
        return self._rig.layout.log / f"{case.queue}.out"

    def _told(self, running: Iterable[Case], unfinished: Iterable[Case]) -> str:
        texts = [
            f"{case}: {self._log_of(case).read_text(errors='replace')[-2000:]}" for case in {*running, *unfinished}
        ]
        return "\n\n".join([f"running: {running}, unfinished: {unfinished}", *texts])


@operation(timeout=60)
def silence_for_test(tx: Transaction, panda_id: int, hours: int) -> int:
    """Make the last heartbeat of a job that old."""
    return tx.change(OLD_HEARTBEAT, PandaID=panda_id, hours=hours)
