"""Everybody who writes jobs, at the same time: actors for seconds of disorder, and what must hold when it is over."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import pairwise
from threading import Event, Lock, Thread
from time import monotonic
from typing import Any, Final

from pandaserver.brokerage.SiteMapper import SiteMapper
from pandaserver.dataservice.Adder import Adder
from pandaserver.dataservice.Expirer import expire
from pandaserver.dataservice.Killer import kill
from pandaserver.dataservice.Setupper import Setupper
from pandaserver.jobdispatcher.Watcher import Watcher
from pandaserver.srvcore.errors import Busy, LockLost
from pandaserver.taskbuffer.connection_settings import ConnectionSettings, OperationSettings
from pandaserver.taskbuffer.db_proxy_mods.job_reassign import ReassignRequest
from pandaserver.taskbuffer.expiry import EXPIRED, SET_UP_AGAIN, ExpiryRule
from pandaserver.taskbuffer.JobSpec import JobSpec
from pandaserver.taskbuffer.kill import Killer, KillRequest
from pandaserver.taskbuffer.local_bridge import LocalBridge
from pandaserver.taskbuffer.lost_jobs import LostRule
from pandaserver.taskbuffer.OraDBProxy import OraDBProxy
from pandaserver.taskbuffer.rebrokerage import QUEUED
from pandaserver.taskbuffer.requests import JobRequest, Selection, StatusReport
from pandaserver.taskbuffer.SiteSpec import SiteRows, SiteSpec
from pandaserver.taskbuffer.states import ACTIVE, FINAL, HOME, LIVE_TABLES, TRANSITIONS, JobStatus, initial_states
from pandaserver.taskbuffer.submission import Submission
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from pandaserver.taskbuffer.worker_reports import PILOT_REPORTS, WorkerUpdate
from tests.db.completion import put_dataset, read, reports
from tests.db.event_jobs import FILE, JANE, LOG, Plain, acquire, consumer, update
from tests.factories import make_job

SYSTEM: Final = Killer(is_system=True)

#: Jobs that are submitted, a set of three event-service consumers with every fifth.
JOBS: Final = 300

#: Codes of users, of a task layer, of rebrokerage and of expiry, with and without force.
CODES: Final = (None, 2, 9, 10, 50, 51, 52)

EVERYWHERE: Final = " UNION ALL ".join(
    f"SELECT PandaID, jobStatus, '{table}' FROM ATLAS_PANDA.{table}" for table in LIVE_TABLES
)
HISTORY: Final = "SELECT PandaID, jobStatus FROM ATLAS_PANDA.jobs_StatusLog ORDER BY PandaID, statusLogID"
FILES: Final = "SELECT PandaID, type, status FROM ATLAS_PANDA.filesTable4 WHERE type IN ('output', 'log')"
OPEN: Final = """
    SELECT d.name FROM ATLAS_PANDA.Datasets d WHERE d.status IN ('running', 'defined') AND NOT EXISTS (
        SELECT 1 FROM ATLAS_PANDA.filesTable4 f WHERE f.destinationDBlock = d.name AND f.status = 'unknown'
    )
"""
RANGES: Final = "SELECT jobsetID, status, COUNT(*) FROM ATLAS_PANDA.JEDI_Events GROUP BY jobsetID, status"

#: What files of ended jobs may be; the log of a job that failed is kept.
_FILES_OF_FINISHED: Final = ("ready", "finished")
_FILES_OF_OTHERS: Final = {"output": ("failed", "cancelled"), "log": ("failed", "cancelled", "ready")}

_OLD: Final = "creationTime < CURRENT_TIMESTAMP"
_ARROWS: Final = {(t.source, t.target) for t in TRANSITIONS}

Act = Callable[[TaskBuffer, random.Random], object]


class Everybody:
    """Pilots, users, daemons and harvesters, each on a connection of its own, for some seconds."""

    def __init__(self, database: ConnectionSettings) -> None:
        self._database = database
        self._lock = Lock()
        self._stop = Event()
        self.ids: list[int] = []
        self.lost: Counter[str] = Counter()  # lock races by what the database said
        self.acted: Counter[str] = Counter()
        self.failures: list[BaseException] = []

    def submit(self, tbuf: TaskBuffer) -> None:
        """Store what everybody will work on."""
        put_dataset(tbuf, "user.jane.out")
        put_dataset(tbuf, "user.jane.log")
        jobs: list[JobSpec] = []
        for n in range(JOBS):
            jobs.append(make_job(jobDefinitionID=n, maxAttempt=5))
            if n % 5 == 0:
                jobs += [consumer(f"es:s{n}:{FILE}/1/12/2"), consumer(f"es:s{n}:"), consumer(f"es:s{n}:")]
        stored = tbuf.storeJobs(Submission(jobs, JANE, nothing_to_prepare={"any": True}))
        self.ids = [job.PandaID for job in stored.jobs]

    def act(self, seconds: float, actors: Iterable[tuple[str, Act]]) -> None:
        """Let everybody act until the time is over, and raise what one of them met."""
        threads = [Thread(target=self._go_on, args=(n, *actor)) for n, actor in enumerate(actors)]
        for thread in threads:
            thread.start()
        self._stop.wait(seconds)
        self._stop.set()
        for thread in threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in threads)
        if self.failures:
            raise self.failures[0]

    def _go_on(self, number: int, name: str, act: Act) -> None:
        bridge = LocalBridge(self._database, OperationSettings(hostname=f"h{number}", record_statuschange=True))
        dice = random.Random(number)
        try:
            while not self._stop.is_set():
                try:
                    act(TaskBuffer(bridge), dice)
                except Busy as busy:
                    self._note(f"{name} busy: {busy}")
                self.acted[name] += 1
        except BaseException as error:
            self.failures.append(error)
            self._stop.set()
        finally:
            bridge.close()

    def _note(self, what: str) -> None:
        with self._lock:
            self.lost[what] += 1

    def count_lost_races(self) -> Callable[..., Any]:
        """Return what counts lost lock races in the place of the proxy's attempt to run an operation."""
        run_once = OraDBProxy._run_once

        def counting(proxy: OraDBProxy, deadline: float, operation: Any, *args: Any) -> Any:
            try:
                return run_once(proxy, deadline, operation, *args)
            except LockLost as lost:
                self._note(f"{operation.name}: {lost}")
                raise

        return counting

    # -- actors -------------------------------------------------------------------------------------------------------

    def some(self, dice: random.Random, n: int) -> list[int]:
        """Return some of the jobs, in any order."""
        return dice.sample(self.ids, n)

    def pilot(self, tbuf: TaskBuffer, dice: random.Random) -> None:
        """Take jobs, run them, and end them well or badly; now and then die with them."""
        worker = dice.randrange(1000)
        wanted = JobRequest("TEST_PQ", dice.choice((1, 3)), Selection.unified, harvester_id="h", worker_id=worker)
        jobs = list(tbuf.getJobs(wanted).jobs)
        if not jobs or dice.random() < 0.1:
            return
        for status in ("starting", "running"):
            beats = [StatusReport(job.PandaID or 0, status, job.attemptNr) for job in jobs]
            dice.shuffle(beats)
            tbuf.updateJobsInBulk(beats)
        for job in jobs:
            if job.eventService == 1:
                given = acquire(tbuf, job.PandaID or 0, dice.choice((2, 10)))
                update(tbuf, given[: dice.choice((1, 10))], dice.choice(("finished", "finished", "failed")))
            good = dice.random() < 0.7
            tbuf.updateJobStatus(
                StatusReport(
                    job.PandaID or 0,
                    "finished" if good else "failed",
                    job.attemptNr,
                    {} if good else {"pilotErrorCode": 1234},
                    output_report=_report(job, good),
                    asks_retry=not good and dice.random() < 0.3,
                )
            )

    def adder(self, tbuf: TaskBuffer, dice: random.Random) -> None:
        """Settle a batch of reports."""
        owner = f"adder{dice.randrange(1_000_000)}"
        Adder(tbuf, SiteMapper(SiteRows, SiteSpec("default")), lambda _: Plain, owner, lease=1.0).run(grace=0.0)

    def killer(self, tbuf: TaskBuffer, dice: random.Random) -> None:
        """Kill some jobs for any reason."""
        ids = tuple(self.some(dice, dice.choice((1, 2, 4))))
        kill(tbuf, KillRequest(ids, SYSTEM, dice.choice(CODES), keep_unmerged=dice.random() < 0.5))
        self._stop.wait(0.02)

    def rebroker(self, tbuf: TaskBuffer, dice: random.Random) -> None:
        """Take back jobs that wait, and set up others again."""
        tbuf.killJobs(KillRequest(tuple(self.some(dice, 1)), SYSTEM, 10, statuses=frozenset(QUEUED)))
        done = tbuf.reassignJobs(ReassignRequest(tuple(self.some(dice, 30)), SYSTEM))
        sites = SiteMapper(tbuf.loadSites, SiteSpec("DEFAULT"))
        Setupper(tbuf, sites, lambda _: None).set_up(done.defined)
        self._stop.wait(0.02)

    def copy_archive(self, tbuf: TaskBuffer, dice: random.Random) -> None:
        """Give up jobs that nobody moves, with no patience at all."""
        lost = LostRule("lost", (JobStatus.sent, JobStatus.running), 0.0, (f"MOD(PandaID, 11) = {dice.randrange(40)}",))
        Watcher(tbuf).run([lost])
        some = (_OLD, f"MOD(PandaID, 7) = {dice.randrange(20)}")
        rules = (
            ExpiryRule("again", ACTIVE, 0, SET_UP_AGAIN, (*some, "jobStatus = 'starting'")),
            ExpiryRule("old", ACTIVE, 0, EXPIRED, (*some, "jobStatus IN ('activated', 'merging')"), keep_unmerged=True),
        )
        sites = SiteMapper(tbuf.loadSites, SiteSpec("DEFAULT"))
        expire(tbuf, rules, Setupper(tbuf, sites, lambda _: None).set_up)
        self._stop.wait(0.05)

    def harvester(self, tbuf: TaskBuffer, dice: random.Random) -> None:
        """Tell that workers have ended, in any order."""
        workers = dice.sample(range(1000), 20)
        tbuf.updateWorkers("h", [WorkerUpdate(w, {"status": "failed"}, sync_level=PILOT_REPORTS) for w in workers])
        self._stop.wait(0.02)

    def everyone(self) -> list[tuple[str, Act]]:
        """Return all actors with their names."""
        one = (self.killer, self.rebroker, self.copy_archive, self.harvester)
        many = (*[self.pilot] * 3, *[self.adder] * 2, *one)
        return [(act.__name__, act) for act in many]

    # -- the end ------------------------------------------------------------------------------------------------------

    def tidy_up(self, tbuf: TaskBuffer) -> None:
        """End what still lives, and settle what was reported."""
        deadline = monotonic() + 60
        while live := [row[0] for row in read(tbuf, EVERYWHERE) if row[2] != HOME[JobStatus.finished]]:
            assert monotonic() < deadline, f"jobs that nothing ends: {live}"
            for start in range(0, len(live), 100):
                kill(tbuf, KillRequest(tuple(live[start : start + 100]), SYSTEM, 99))
        while reports(tbuf):
            assert monotonic() < deadline, "reports that nobody settles"
            self.adder(tbuf, random.Random(1))

    def problems(self, tbuf: TaskBuffer) -> list[str]:
        """Return what is wrong with jobs, their histories, their files and datasets, and ranges."""
        rows = read(tbuf, EVERYWHERE)
        status = {pid: JobStatus(found) for pid, found, _ in rows}
        found = [f"{pid} is in several tables" for pid, n in Counter(row[0] for row in rows).items() if n > 1]
        found += [f"{pid} is lost" for pid in self.ids if pid not in status]
        found += [f"{pid} {state} is in {table}" for pid, state, table in rows if HOME[JobStatus(state)] != table]
        history = read(tbuf, HISTORY)
        found += _wrong_histories(history, status)
        waited = {pid for pid, state in history if state == JobStatus.merging}
        for pid, kind, state in read(tbuf, FILES):
            good = _FILES_OF_FINISHED if status[pid] is JobStatus.finished else _FILES_OF_OTHERS[kind]
            # A consumer that was lost finishes with its merge all the same; its log does not.
            if state not in good and not (kind == "log" and pid in waited and state == "failed"):
                found.append(f"{kind} of {pid}, which is {status[pid]}, is {state}")
        found += [f"dataset {name} is still open" for (name,) in read(tbuf, OPEN)]
        found += [f"{n} ranges of set {s} are {state}" for s, state, n in read(tbuf, RANGES) if state in (0, 1, 2, 7)]
        return found


def _wrong_histories(rows: Iterable[tuple[Any, ...]], status: dict[int, JobStatus]) -> list[str]:
    lives: dict[int, list[JobStatus]] = {pid: [] for pid in status}
    for pid, state in rows:
        lives[pid].append(JobStatus(state))
    found = []
    for pid, life in lives.items():
        illegal = [(a, b) for a, b in pairwise(life) if (a, b) not in _ARROWS]
        if illegal or not life or life[0] not in initial_states() or life[-1] is not status[pid]:
            found.append(f"history of {pid}, which is {status[pid]}: {' '.join(life)}")
        elif sum(state in FINAL for state in life) > 1:
            found.append(f"{pid} ended twice: {' '.join(life)}")
    return found


def _report(job: JobSpec, good: bool) -> str:
    """Return what the pilot of a job says about its outputs."""
    kinds = ("log",) if job.eventService == 1 or not good else ("output", "log")
    return json.dumps({spec.lfn: LOG for spec in job.Files if spec.type in kinds})
