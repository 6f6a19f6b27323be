"""Whatever happens to workers and scripts, no script runs twice at a time, too early, or never again."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pandaserver.config.values import DaemonSpec
from pandaserver.daemons.schedule import Schedule, State

SPECS = tuple(DaemonSpec(name, name, period, loop=name == "c") for name, period in (("a", 2), ("b", 7), ("c", 30)))


class AnyHistory(RuleBasedStateMachine):
    """Time passes, workers become free, scripts end, are skipped, or the configuration is read again."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        self.schedule = Schedule(SPECS, self.now)
        self.running: dict[str, float] = {}
        self.starts: dict[str, float] = {}

    @rule(seconds=st.floats(min_value=0.0, max_value=50.0))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def due_scripts_are_queued(self) -> None:
        for spec in self.schedule.queue_due(self.now):
            assert spec.name not in self.running
            assert self.now >= self.starts.get(spec.name, 0.0) + spec.period - 1e-6

    @rule()
    def a_worker_is_free(self) -> None:
        spec = self.schedule.start_next(self.now)
        if spec is not None:
            assert spec.name not in self.running
            self.running[spec.name] = self.now

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def a_run_ends(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.running)))
        self.starts[name] = self.running.pop(name)
        self.schedule.ended(name)

    @precondition(lambda self: self.running)
    @rule(data=st.data(), seconds=st.floats(min_value=0.0, max_value=20.0))
    def a_run_is_postponed(self, data: st.DataObject, seconds: float) -> None:
        name = data.draw(st.sampled_from(sorted(self.running)))
        del self.running[name]
        self.starts.pop(name, None)  # another machine's start counts now, and only it knows that
        self.schedule.postponed(name, self.now + seconds)

    @rule(name=st.sampled_from(["a", "b", "c", "unknown"]))
    def an_end_that_nobody_waits_for(self, name: str) -> None:
        if name not in self.running:
            self.schedule.ended(name)

    @rule()
    def the_configuration_is_read_again(self) -> None:
        self.schedule.reload(SPECS, self.now)

    @invariant()
    def the_schedule_knows_what_runs(self) -> None:
        believed = {entry.spec.name for entry in self.schedule if entry.state is State.running}
        assert believed == set(self.running)

    @invariant()
    def nobody_is_forgotten(self) -> None:
        waiting = [entry for entry in self.schedule if entry.state is State.idle]
        assert all(self.schedule.next_event() <= entry.due < float("inf") for entry in waiting)
        queued = [entry for entry in self.schedule if entry.state is State.queued]
        assert len(queued) == len(self.schedule._queue)


TestAnyHistory = AnyHistory.TestCase
TestAnyHistory.settings = settings(deadline=None)  # a loaded machine may take long
