"""Random lives of sets of event ranges against a model of what may become of each range, on a real database.

After each step: every range is there once; it is processed successfully once at most; whoever has it is at work, or it
waits; a set that has ended has nothing left to do; and every job's history is made of steps that the table of states
allows, beginning at submission and ending where the job is.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pandaserver.jobdispatcher.Watcher import Watcher
from pandaserver.taskbuffer import schema
from pandaserver.taskbuffer.connection_settings import ConnectionSettings, OperationSettings
from pandaserver.taskbuffer.event_rules import E
from pandaserver.taskbuffer.kill import Killer, KillRequest
from pandaserver.taskbuffer.local_bridge import LocalBridge
from pandaserver.taskbuffer.lost_jobs import heartbeat_rules
from pandaserver.taskbuffer.states import FINAL, TRANSITIONS, JobStatus
from pandaserver.taskbuffer.TaskBuffer import TaskBuffer
from tests.db.completion import age, history, job_of, read
from tests.db.event_jobs import FILE, acquire, begin, consumer, end, family, submit, update

LEGAL = {(t.source, t.target) for t in TRANSITIONS}
AT_WORK = ("sent", "starting", "running")
MOST_ACCIDENTS = 3

RANGES = "SELECT rangeID, jobsetID, PandaID, status, attemptNr, job_processID FROM ATLAS_PANDA.JEDI_Events"


class EventMachine(RuleBasedStateMachine):
    """Steps of pilots, Adder, Watcher and operators, in any order."""

    def __init__(self, connection: ConnectionSettings) -> None:
        super().__init__()
        schema.empty_all(connection)
        self.tbuf = TaskBuffer(LocalBridge(connection, OperationSettings()))
        self.submitted: dict[int, int] = {}  # ranges of each set
        self.held: dict[int, list[str]] = {}  # what pilots were given and have not reported yet, job by job
        self.accepted: Counter[tuple[int, int]] = Counter()  # successes by set and first event
        self.accidents = 0  # kills and lost heartbeats: many of them, and nothing is ever merged

    def teardown(self) -> None:
        self.tbuf.close()

    def in_status(self, *statuses: str, kinds: tuple[int, ...] = (1, 2)) -> list[int]:
        found = family(self.tbuf)
        return [pid for pid, (kind, status, _, _) in found.items() if status in statuses and kind in kinds]

    def pick(self, data: st.DataObject, *kinds: int) -> int:
        return data.draw(st.sampled_from(self.in_status(*AT_WORK, kinds=kinds)))

    def known(self) -> list[tuple[int, str]]:
        return [(job_id, key) for job_id, keys in self.held.items() for key in keys]

    @initialize(ranges=st.integers(1, 5), consumers=st.integers(1, 3), attempts=st.integers(1, 3))
    def begin(self, ranges: int, consumers: int, attempts: int) -> None:
        self.submit(ranges, consumers, attempts, 4)

    @precondition(lambda self: len(self.submitted) < 3)
    @rule(ranges=st.integers(1, 5), consumers=st.integers(1, 3), attempts=st.integers(1, 3), most=st.integers(0, 2))
    def submit(self, ranges: int, consumers: int, attempts: int, most: int) -> None:
        group = f"g{len(self.submitted)}"
        split = f"es:{group}:{FILE}/1/{ranges}/1/{attempts}"
        jobs = [consumer(split if n == 0 else f"es:{group}:", maxAttempt=most or -1) for n in range(consumers)]
        (jobset,) = {job_of(self.tbuf, pid).jobsetID for pid in submit(self.tbuf, *jobs)}
        self.submitted[jobset or 0] = ranges

    @precondition(lambda self: not self.in_status(*AT_WORK, "activated") and len(self.submitted) >= 3)
    @rule()
    def rest(self) -> None:
        """Do nothing: everything has ended."""

    @precondition(lambda self: self.in_status("activated"))
    @rule(n=st.integers(1, 3))
    def dispatch(self, n: int) -> None:
        begin(self.tbuf, n)

    @precondition(lambda self: self.in_status(*AT_WORK, kinds=(1,)))
    @rule(data=st.data(), n=st.integers(1, 4))
    def acquire(self, data: st.DataObject, n: int) -> None:
        job_id = self.pick(data, 1)
        self.held.setdefault(job_id, []).extend(acquire(self.tbuf, job_id, n))

    @precondition(lambda self: self.known())
    @rule(data=st.data(), word=st.sampled_from(["finished", "running", "failed", "fatal"]))
    def report(self, data: st.DataObject, word: str) -> None:
        job_id, key = data.draw(st.sampled_from(self.known()))
        self.tell(job_id, [key], word)

    @precondition(lambda self: self.in_status(*AT_WORK, kinds=(1,)))
    @rule(data=st.data(), n=st.integers(1, 4))
    def work(self, data: st.DataObject, n: int) -> None:
        job_id = self.pick(data, 1)
        got = acquire(self.tbuf, job_id, n)
        if got:
            self.held.setdefault(job_id, []).extend(got)
            self.tell(job_id, got, "finished")

    @precondition(lambda self: self.known())
    @rule(data=st.data())
    def report_all(self, data: st.DataObject) -> None:
        job_id = data.draw(st.sampled_from(sorted({job_id for job_id, _ in self.known()})))
        self.tell(job_id, self.held[job_id], "finished")

    def tell(self, job_id: int, keys: list[str], word: str) -> None:
        status = job_of(self.tbuf, job_id).jobStatus
        before = {row[0]: row for row in read(self.tbuf, RANGES)}
        answers = update(self.tbuf, keys, word).returns
        after = {row[0]: row for row in read(self.tbuf, RANGES)}
        if status not in AT_WORK:
            assert set(answers) == {False}, "a job that is not at work was believed"
        if set(answers) == {False}:
            assert before == after, "what was refused has changed something"
        for n, row in after.items():
            if row[3] == E.finished and before[n][3] != E.finished:
                self.accepted[row[1], row[5]] += 1

    @precondition(lambda self: self.in_status(*AT_WORK))
    @rule(data=st.data(), status=st.sampled_from(["finished", "finished", "failed"]))
    def end(self, data: st.DataObject, status: str) -> None:
        end(self.tbuf, self.pick(data, 1, 2), status)

    @precondition(lambda self: self.accidents < MOST_ACCIDENTS and self.in_status(*AT_WORK))
    @rule(data=st.data())
    def lose_heartbeat(self, data: st.DataObject) -> None:
        self.accidents += 1
        age(self.tbuf, "jobsActive4", self.pick(data, 1, 2), modificationTime=300)
        assert Watcher(self.tbuf).run(heartbeat_rules(2.0, 48.0)) == 1

    @precondition(lambda self: self.accidents < MOST_ACCIDENTS and self.in_status(*AT_WORK, "activated"))
    @rule(data=st.data(), keep=st.booleans())
    def kill(self, data: st.DataObject, keep: bool) -> None:
        self.accidents += 1
        job_id = data.draw(st.sampled_from(self.in_status(*AT_WORK, "activated")))
        request = KillRequest((job_id,), Killer(is_system=True), 9, keep_unmerged=keep)
        assert self.tbuf.killJobs(request) == [True]

    @invariant()
    def ranges_are_neither_lost_nor_doubled(self) -> None:
        rows = read(self.tbuf, RANGES)
        assert Counter(row[1] for row in rows) == self.submitted
        assert max(self.accepted.values(), default=0) <= 1, "a range was processed twice"
        found = family(self.tbuf)
        for _, jobset, owner, status, attempts, _ in rows:
            assert attempts >= 0
            if status in (E.sent, E.running, E.failed):
                assert found[owner][1] in AT_WORK, "nobody works on a range that is in somebody's hands"
            elif status == E.ready:
                assert owner == jobset
                assert attempts > 0

    @invariant()
    def sets_go_on_or_have_ended(self) -> None:
        found = family(self.tbuf)
        members: dict[int, list[tuple[Any, ...]]] = {}
        for pid, facts in found.items():
            members.setdefault(job_of(self.tbuf, pid).jobsetID or 0, []).append(facts)
        states: dict[int, Counter[int]] = {jobset: Counter() for jobset in self.submitted}
        for _, jobset, _, status, _, _ in read(self.tbuf, RANGES):
            states[jobset][status] += 1
        for jobset, jobs in members.items():
            live = [status for _, status, _, _ in jobs if status not in FINAL]
            merges = [status for kind, status, _, _ in jobs if kind == 2 and status not in FINAL]
            assert len(merges) <= 1, "two jobs merge one set"
            if set(live) == {"merging"}:
                raise AssertionError("a set waits for nobody")
            if not live:
                left = states[jobset].keys() - {E.cancelled, E.discarded, E.done, E.fatal, E.corrupted}
                assert not left, f"a set has ended and left {left}"

    @invariant()
    def histories_are_legal(self) -> None:
        for pid, (_, status, _, _) in family(self.tbuf).items():
            told = [JobStatus(word) for word in history(self.tbuf, pid)]
            assert told[-1] == status
            for source, target in zip([None, *told], told, strict=False):
                assert (source, target) in LEGAL, f"PandaID {pid} went from {source} to {target}"
