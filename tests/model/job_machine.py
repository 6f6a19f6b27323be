"""Random lives of jobs against a model of what each step may do, on a real database.

The model knows the rules in its own words. After each step every job is in exactly one table, the home of the status
that the model expects, and its history is every status that it went through, once and in order.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pandaserver.brokerage.SiteMapper import SiteMapper
from pandaserver.dataservice.Adder import Adder
from pandaserver.dataservice.AdderPluginBase import AdderPluginBase
from pandaserver.dataservice.Expirer import expire
from pandaserver.dataservice.Finisher import Finisher
from pandaserver.jobdispatcher.Watcher import Watcher
from pandaserver.taskbuffer import schema
from pandaserver.taskbuffer.connection_settings import ConnectionSettings, OperationSettings
from pandaserver.taskbuffer.db_proxy_mods.job_reassign import ReassignRequest
from pandaserver.taskbuffer.expiry import SET_UP_AGAIN, ExpiryRule
from pandaserver.taskbuffer.kill import Killer, KillRequest
from pandaserver.taskbuffer.local_bridge import LocalBridge
from pandaserver.taskbuffer.lost_jobs import heartbeat_rules
from pandaserver.taskbuffer.operation import operation
from pandaserver.taskbuffer.requests import JobRequest, Selection, StatusReport
from pandaserver.taskbuffer.setup import PREPARED_COLUMNS, Prepared, PreparedFile
from pandaserver.taskbuffer.SiteSpec import SiteRows, SiteSpec
from pandaserver.taskbuffer.states import HOME, LIVE_TABLES, JobStatus
from pandaserver.taskbuffer.submission import Submission, Submitter
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from pandaserver.taskbuffer.transaction import Transaction
from tests.factories import make_job

JANE = Submitter(dn="/CN=Jane Doe", name="Jane Doe")
SYSTEM = Killer(is_system=True)
MAX_ATTEMPT = 3

#: What a pilot may say -> the states from which that moves a job, and the state that follows.
STEPS = {
    "starting": (("sent",), "starting"),
    "running": (("sent", "starting"), "running"),
    "holding": (("sent", "starting", "running", "transferring"), "holding"),
    "transferring": (("sent", "starting", "running"), "transferring"),
    "finished": (("sent", "starting", "running", "transferring"), "holding"),
    "failed": (("sent", "starting", "running", "transferring"), "holding"),
}
WITH_PILOT = ("sent", "starting", "running")
ENDED = ("finished", "failed", "cancelled", "closed")

OLD = "creationTime < CURRENT_TIMESTAMP - :minutes * INTERVAL '1' MINUTE"

EVERYWHERE = " UNION ALL ".join(
    f"SELECT PandaID, jobStatus, '{table}' FROM ATLAS_PANDA.{table}" for table in LIVE_TABLES
)
HISTORY = "SELECT PandaID, jobStatus FROM ATLAS_PANDA.jobs_StatusLog ORDER BY statusLogID"
ARRIVE = "UPDATE ATLAS_PANDA.filesTable4 SET status = 'ready' WHERE PandaID = :PandaID AND status = 'transferring'"


@operation(timeout=60)
def look_for_model(tx: Transaction) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    return tx.rows(EVERYWHERE), tx.rows(HISTORY)


@operation(timeout=60)
def arrive_for_model(tx: Transaction, job_id: int) -> None:
    tx.change(ARRIVE, PandaID=job_id)


class Plain(AdderPluginBase):
    """Has nothing to do."""

    def execute(self) -> None:
        """Leave the outputs where they are."""


class Moving(AdderPluginBase):
    """Moves outputs, once."""

    def execute(self) -> None:
        if self.job.jobStatus != "transferring":
            self.result.transferringFiles = [spec.lfn or "" for spec in self.job.Files if spec.type != "input"]


class Merging(AdderPluginBase):
    """Has outputs merged."""

    def execute(self) -> None:
        if self.job.jobStatus != "transferring":
            self.result.mergingFiles = [spec.lfn or "" for spec in self.job.Files if spec.type == "output"]


AFTER = {Plain: "finished", Moving: "transferring", Merging: "merging"}


@dataclass
class Expected:
    """What the model knows of one job."""

    status: str
    history: list[str]
    attempt: int = 0
    told: bool = False  # a kill waits to be noticed
    declared: bool = False  # the pilot itself set holding or transferring
    moves: bool = False  # the outputs are under way
    reports: dict[int, str] = field(default_factory=dict)  # by attempt

    def become(self, status: str) -> None:
        self.status = status
        self.history.append(status)


class JobMachine(RuleBasedStateMachine):
    """Steps of all actors, in any order."""

    def __init__(self, connection: ConnectionSettings) -> None:
        super().__init__()
        schema.empty_all(connection)
        self.tbuf = TaskBuffer(LocalBridge(connection, OperationSettings()))
        self.sites = SiteMapper(SiteRows, SiteSpec("default"))
        self.jobs: dict[int, Expected] = {}

    def teardown(self) -> None:
        self.tbuf.close()

    def in_status(self, *statuses: str) -> list[int]:
        return [pid for pid, job in self.jobs.items() if job.status in statuses]

    def any_of(self, data: st.DataObject, ids: Iterable[int]) -> int:
        return data.draw(st.sampled_from(sorted(ids)))

    # -- submission and set-up

    @precondition(lambda self: len(self.jobs) < 12)
    @rule(n=st.integers(1, 3), ready=st.booleans())
    def submit(self, n: int, ready: bool) -> None:
        jobs = [make_job(maxAttempt=MAX_ATTEMPT) for _ in range(n)]
        stored = self.tbuf.storeJobs(Submission(jobs, JANE, nothing_to_prepare={"any": ready}))
        for job in stored.jobs:
            self.jobs[job.PandaID] = Expected("defined", ["defined"])
            if ready:
                self.jobs[job.PandaID].become("activated")

    @precondition(lambda self: self.in_status("defined"))
    @rule(data=st.data(), outcome=st.sampled_from(["activated", "assigned", "waiting", "failed"]))
    def set_up(self, data: st.DataObject, outcome: str) -> None:
        pid = self.any_of(data, self.in_status("defined"))
        files = (self.awaited_file(pid),) if outcome == "assigned" else ()
        self.tbuf.applySetup([Prepared(pid, JobStatus(outcome), files=files)])
        self.jobs[pid].become(outcome)

    @precondition(lambda self: self.in_status("waiting"))
    @rule(data=st.data())
    def find_queue(self, data: st.DataObject) -> None:
        pid = self.any_of(data, self.in_status("waiting"))
        self.tbuf.applySetup([Prepared(pid, JobStatus.activated, was_waiting=True)])
        self.jobs[pid].become("defined")
        self.jobs[pid].become("activated")

    @precondition(lambda self: self.in_status("assigned"))
    @rule(data=st.data())
    def input_arrives(self, data: st.DataObject) -> None:
        pid = self.any_of(data, self.in_status("assigned"))
        self.tbuf.dispatchArrived(f"dis{pid}")
        self.jobs[pid].become("activated")

    def awaited_file(self, pid: int) -> PreparedFile:
        job = self.tbuf.peekJobs([pid])[0]
        assert job is not None
        spec = job.Files[0]
        values = {name: getattr(spec, name) for name in PREPARED_COLUMNS}
        return PreparedFile(row_ID=spec.row_ID or 0, **values | {"dispatchDBlock": f"dis{pid}", "status": "pending"})

    # -- pilots

    @precondition(lambda self: self.in_status("activated"))
    @rule(n=st.integers(1, 3))
    def get_jobs(self, n: int) -> None:
        waiting = self.in_status("activated")
        got = [job.PandaID for job in self.tbuf.getJobs(JobRequest("TEST_PQ", n, Selection.user)).jobs]
        assert len(got) == min(n, len(waiting))
        assert set(got) <= set(waiting)
        for pid in got:
            self.jobs[pid or 0].become("sent")

    @precondition(lambda self: self.in_status(*WITH_PILOT))
    @rule(data=st.data(), said=st.sampled_from(sorted(STEPS)), retry=st.booleans())
    def heartbeat(self, data: st.DataObject, said: str, retry: bool) -> None:
        self.hear(self.any_of(data, self.in_status(*WITH_PILOT)), said, retry)

    @precondition(lambda self: self.in_status(*WITH_PILOT))
    @rule(data=st.data())
    def payload_ends_well(self, data: st.DataObject) -> None:
        self.hear(self.any_of(data, self.in_status(*WITH_PILOT)), "finished", False)

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), said=st.sampled_from(sorted(STEPS)), stale=st.booleans())
    def heartbeat_of_anybody(self, data: st.DataObject, said: str, stale: bool) -> None:
        self.hear(self.any_of(data, self.jobs), said, False, stale)

    def hear(self, pid: int, said: str, retry: bool, stale: bool = False) -> None:
        job, spec = self.jobs[pid], self.tbuf.peekJobs([pid])[0]
        assert spec is not None
        files = {f.lfn: {"guid": "g", "fsize": 1, "adler32": "00"} for f in spec.Files if f.type != "input"}
        attempt = job.attempt + 1 if stale else job.attempt
        columns = {"pilotErrorCode": 1305} if said == "failed" else {}
        text = json.dumps(files) if said == "finished" else ""
        self.tbuf.updateJobStatus(
            StatusReport(pid, said, attempt, columns, text, asks_retry=retry and said == "failed")
        )
        if not stale:
            heard(job, said, retry and said == "failed")

    # -- users and operators

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def kill(self, data: st.DataObject) -> None:
        pid = self.any_of(data, self.jobs)
        job = self.jobs[pid]
        self.tbuf.killJobs(KillRequest((pid,), SYSTEM))
        if job.status in ENDED or (job.told and job.status != "merging"):
            return
        job.told = True
        if job.status != "running":
            job.become("cancelled")

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def begin_again(self, data: st.DataObject) -> None:
        pid = self.any_of(data, self.jobs)
        self.tbuf.reassignJobs(ReassignRequest((pid,), SYSTEM))
        job = self.jobs[pid]
        if job.status in ("waiting", "assigned", "activated"):
            job.become("defined")

    # -- daemons

    @precondition(lambda self: self.in_status("starting"))
    @rule()
    def set_up_again_what_does_not_start(self) -> None:
        expire(self.tbuf, [ExpiryRule("all", "jobsActive4", 0, SET_UP_AGAIN, (OLD, "jobStatus = 'starting'"))])
        for job in self.jobs.values():
            if job.status == "starting":
                job.attempt += 1
                job.declared = False
                job.become("defined")

    @precondition(lambda self: any(job.reports for job in self.jobs.values()))
    @rule(plugin=st.sampled_from([Plain, Moving, Plain, Moving, Merging]))
    def settle_reports(self, plugin: type[AdderPluginBase]) -> None:
        adder = Adder(self.tbuf, self.sites, lambda _vo: plugin, "model")
        while adder.run(limit=2, grace=0.0):
            pass
        for job in self.jobs.values():
            said = job.reports.get(job.attempt)
            job.reports.clear()
            if said is None or job.status in (*ENDED, "merging"):
                continue
            if said == "failed":
                job.become("cancelled" if job.told else "failed")
                continue
            job.become("finished" if job.status == "transferring" else AFTER[plugin])
            job.moves = job.status == "transferring"
            job.declared = job.declared and job.status == "transferring"

    @precondition(lambda self: any(job.moves for job in self.jobs.values()))
    @rule(data=st.data())
    def outputs_arrive(self, data: st.DataObject) -> None:
        pid = self.any_of(data, [pid for pid, job in self.jobs.items() if job.moves])
        self.tbuf.caller.call(arrive_for_model, (pid,), {})
        Finisher(self.tbuf).run()
        job = self.jobs[pid]
        job.moves = False
        if job.status == "transferring":
            job.reports.setdefault(job.attempt, "finished")

    @precondition(lambda self: self.in_status(*WITH_PILOT, "holding", "transferring"))
    @rule(status=st.sampled_from(["sent", "starting", "running", "holding", "transferring"]))
    def lose_heartbeats(self, status: str) -> None:
        rules = [replace(r, minutes=0) for r in heartbeat_rules(2, 48) if status in r.statuses]
        Watcher(self.tbuf).run([replace(r, statuses=(JobStatus(status),)) for r in rules])
        for job in self.jobs.values():
            if job.status == status and not (status in ("holding", "transferring") and job.reports):
                job.become("failed")

    @rule(status=st.sampled_from([status for status in HOME if status not in ENDED]))
    def expire(self, status: JobStatus) -> None:
        not_told = "(jobStatus <> 'running' OR commandToPilot IS NULL)"
        conditions = (OLD, not_told, f"jobStatus = '{status}'")
        expire(self.tbuf, [ExpiryRule("everything", HOME[status], 0, 2, conditions)])
        for job in self.jobs.values():
            if job.status == status:
                job.told = True
                if status != "running":
                    job.become("closed")

    # -- what always holds

    @invariant()
    def every_job_is_where_and_what_it_should_be(self) -> None:
        rows, history = self.tbuf.caller.call(look_for_model, (), {})
        found: dict[int, list[tuple[str, str]]] = {}
        for pid, status, table in rows:
            found.setdefault(pid, []).append((status, table))
        expected = {pid: [(job.status, HOME[JobStatus(job.status)])] for pid, job in self.jobs.items()}
        assert found == expected, "jobs are not where the model has them"
        steps: dict[int, list[str]] = {}
        for pid, status in history:
            steps.setdefault(pid, []).append(status)
        assert steps == {pid: job.history for pid, job in self.jobs.items()}, "the history tells another story"


def heard(job: Expected, said: str, retry: bool) -> None:
    """Do to the model what a heartbeat of the present attempt does."""
    final = said in ("finished", "failed")
    sources, target = STEPS[said]
    if job.status not in (*WITH_PILOT, "holding", "transferring"):
        return
    if job.status == "holding" and not (final and job.declared):
        return
    if job.status == "transferring" and (said in ("starting", "running") or (target == "holding" and not job.declared)):
        return
    if retry and job.status in WITH_PILOT and job.attempt < MAX_ATTEMPT and not job.told:
        job.attempt += 1
        job.declared = False
        job.become("activated")
        return
    if job.status in sources:
        job.become(target)
    elif job.status == "running" and said == "starting":
        return
    if final:
        job.declared = False
        job.reports.setdefault(job.attempt, said)
    elif target in ("holding", "transferring"):
        job.declared = True
